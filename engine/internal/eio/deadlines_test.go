package eio

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/architus/guildcast/internal/test/wait"
)

// impatient cuts within a fraction of a second.
var impatient = Config{
	StallTimeout: 100 * time.Millisecond, PingInterval: 300 * time.Millisecond, PingTimeout: 100 * time.Millisecond,
}

// expectCut wants the server to close a connection, whatever it answers before.
func (f *fixture) expectCut(nc net.Conn) {
	f.t.Helper()
	_ = nc.SetReadDeadline(time.Now().Add(patience))
	_, err := io.Copy(io.Discard, nc)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		f.t.Error("the connection does not end")
	}
}

// connect opens a plain connection to the server, closed at the end of the test.
func (f *fixture) connect() net.Conn {
	f.t.Helper()
	nc, err := net.Dial("tcp", f.http.Listener.Addr().String())
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { nc.Close() })
	return nc
}

// Whatever is asked for, a body that trickles in and never ends is cut.
func TestBodiesThatNeverEnd(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, request string }{
		{"unknown transport", "POST ?EIO=4&transport=pigeon"},
		{"handshake", "POST ?EIO=4&transport=polling"},
		{"unknown session", "POST ?EIO=4&transport=polling&sid=x"},
		{"session", "POST ?EIO=4&transport=polling&sid=SID"},
		{"other protocol", "POST ?EIO=3&transport=polling&sid=SID"},
		{"other transport", "POST ?EIO=4&transport=websocket&sid=SID"},
		{"other method", "PUT ?EIO=4&transport=polling&sid=SID"},
		{"opening poll", "GET ?EIO=4&transport=polling"},
		{"poll", "GET ?EIO=4&transport=polling&sid=SID"},
	} {
		for _, length := range []string{"Content-Length: 100000", "Transfer-Encoding: chunked"} {
			t.Run(c.name+" "+length[:3], func(t *testing.T) {
				f := newFixture(t, plain, impatient)
				query, _ := f.openPolling()
				_, sid, _ := strings.Cut(query, "sid=")
				method, url, _ := strings.Cut(strings.Replace(c.request, "SID", sid, 1), " ")
				nc := f.connect()
				fmt.Fprintf(nc, "%s /engine.io/%s HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n", method, url, length)
				go func() {
					for {
						if _, err := nc.Write([]byte("1\r\n4\r\n")); err != nil { // a chunk, or six bytes
							return
						}
						time.Sleep(10 * time.Millisecond) // the pace of a client that trickles
					}
				}()
				f.expectCut(nc)
			})
		}
	}
}

// The first of two POSTs that overlap is cut, with the session that it was for.
func TestOverlappedPostIsCut(t *testing.T) {
	f := newFixture(t, plain, Config{}) // the deadlines are far away
	query, o := f.openPolling()
	nc := f.connect()
	fmt.Fprintf(nc, "POST /engine.io/?%s HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n4", query)
	wait.Until(t, "its body is being read", func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.poll.body != nil
	})
	if a := f.post(query, "4a"); a.status != 400 {
		t.Errorf("second POST: %d", a.status)
	}
	o.expectClose(ReasonTransportError)
	f.expectCut(nc)
}

// A client that sends requests and never reads the answers is cut. That is seen at the server: with its window shut,
// the client may not notice.
func TestAnswersThatNobodyReads(t *testing.T) {
	closed := make(chan struct{}, 1)
	watched := driver{noPoller: true, transport: func(h http.Handler) *httptest.Server {
		s := httptest.NewUnstartedServer(h)
		s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateClosed {
				closed <- struct{}{}
			}
		}
		s.Start()
		return s
	}}
	f := newFixture(t, watched, impatient)
	nc := f.connect()
	requests := []byte(strings.Repeat("GET /engine.io/?EIO=4&transport=pigeon HTTP/1.1\r\nHost: x\r\n\r\n", 1000))
	go func() {
		for {
			if _, err := nc.Write(requests); err != nil { // at the end of the test at the latest
				return
			}
		}
	}()
	select {
	case <-closed:
	case <-time.After(patience):
		t.Error("the connection is held")
	}
}

// A poll waits past all of these deadlines, and the session is none the worse for it.
func TestDeadlinesSparePolls(t *testing.T) {
	f := newFixture(t, plain, Config{
		StallTimeout: 20 * time.Millisecond, PingInterval: 200 * time.Millisecond, PingTimeout: patience,
	})
	query, o := f.openPolling()
	for range 2 {
		if a := f.get(query); a.body != "2" { // after PingInterval
			t.Errorf("poll: %d %q", a.status, a.body)
		}
		if a := f.post(query, "3\x1e4hello"); a.status != 200 {
			t.Errorf("POST: %d", a.status)
		}
		o.expectMessage("hello")
	}
}
