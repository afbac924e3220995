package eio

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// fuzzSession is a session that a fuzzer drives: without a network, so that it is quick.
type fuzzSession struct {
	t      *testing.T
	s      *Server
	owner  *owner
	query  string
	peers  []net.Conn
	wg     sync.WaitGroup
	cancel context.CancelFunc
	ctx    context.Context
}

// request makes a request in the background.
func (z *fuzzSession) request(method, body string) {
	r := httptest.NewRequestWithContext(z.ctx, method, "/engine.io/?"+z.query, strings.NewReader(body))
	z.wg.Go(func() { z.s.ServeHTTP(httptest.NewRecorder(), r) })
}

// hijacker is a ResponseWriter whose connection is a pipe.
type hijacker struct {
	*httptest.ResponseRecorder
	nc    net.Conn
	taken bool
}

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	h.taken = true
	return h.nc, bufio.NewReadWriter(bufio.NewReader(h.nc), bufio.NewWriter(h.nc)), nil
}

// dial opens a WebSocket for the session over a pipe, whose other end takes all that is sent to it.
func (z *fuzzSession) dial() {
	server, client := net.Pipe()
	z.peers = append(z.peers, client)
	r := httptest.NewRequestWithContext(z.ctx, http.MethodGet,
		"/engine.io/?"+strings.Replace(z.query, "polling", "websocket", 1), nil)
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "websocket")
	r.Header.Set("Sec-WebSocket-Version", "13")
	r.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
	z.wg.Go(func() {
		buf := make([]byte, 4096)
		for {
			if _, err := client.Read(buf); err != nil {
				return
			}
		}
	})
	h := &hijacker{ResponseRecorder: httptest.NewRecorder(), nc: server}
	z.s.ServeHTTP(h, r)
	if !h.taken { // refused: nobody reads from it
		server.Close()
	}
}

// write sends raw bytes on the newest WebSocket.
func (z *fuzzSession) write(b []byte) {
	if len(z.peers) == 0 {
		return
	}
	nc := z.peers[len(z.peers)-1]
	_ = nc.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)) // a server that has closed does not read
	_, _ = nc.Write(b)
}

// FuzzSession drives a session through polls, POSTs, probes, upgrades and closes in any order. The owner checks that it
// is called in order; the session must end, and leave nothing behind.
func FuzzSession(f *testing.F) {
	f.Add([]byte("gug"), []byte("4x"))
	f.Add([]byte("wrusp"), []byte("x"))
	f.Add([]byte("gwrgus3mC"), []byte("4hello\x1e1"))
	f.Add([]byte("wruC"), []byte{0x81, 0x80, 0, 0, 0, 0})
	f.Add([]byte("sgpgpD"), []byte("4a\x1e4b"))
	f.Add([]byte("wwrurx"), []byte("2probe"))
	f.Fuzz(func(t *testing.T, ops, data []byte) {
		if len(ops) > 40 {
			return
		}
		z := &fuzzSession{t: t, query: "EIO=4&transport=polling"}
		z.ctx, z.cancel = context.WithCancel(t.Context())
		fx := &fixture{t: t, owners: make(chan *owner, 1), onMsg: echo}
		var err error
		z.s, err = NewServer(Config{MaxHTTPBufferSize: 1000, DisablePoller: true, Flushers: 1},
			func(h *Handshake) (Handler, *Conn, error) {
				o := &owner{f: fx, closed: make(chan closing, 2)}
				return o, &o.Conn, nil
			})
		if err != nil {
			t.Fatal(err)
		}
		z.s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/engine.io/?"+z.query, nil))
		z.owner = <-fx.owners
		z.query += "&sid=" + z.owner.ID()
		for _, op := range ops {
			z.step(op, data)
		}
		for _, p := range z.peers {
			p.Close()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
		defer cancel()
		if err := z.s.Shutdown(ctx); err != nil {
			buf := make([]byte, 1<<20)
			t.Fatalf("%v\n%s", err, buf[:runtime.Stack(buf, true)])
		}
		z.cancel()
		z.wg.Wait()
		if z.owner.closes.Load() != 1 || z.s.budget.Load() != 0 || z.s.conns.Len() != 0 {
			t.Fatalf("closed %d times, budget %d, %d sessions", z.owner.closes.Load(), z.s.budget.Load(),
				z.s.conns.Len())
		}
	})
}

func (z *fuzzSession) step(op byte, data []byte) {
	switch op {
	case 'g':
		z.request(http.MethodGet, "")
	case 'p':
		z.request(http.MethodPost, string(data))
	case 'm':
		z.request(http.MethodPost, "4message")
	case 'l':
		z.request(http.MethodPost, "1")
	case 'w':
		if len(z.peers) < 4 {
			z.dial()
		}
	case 'r':
		z.write(maskedFrame(0x81, []byte("2probe")))
	case 'u':
		z.write(maskedFrame(0x81, []byte("5")))
	case 't':
		z.write(maskedFrame(0x81, data))
	case 'x':
		z.write(data)
	case 'c':
		z.write(maskedFrame(0x88, nil))
	case 's':
		z.owner.Send(TextFrame(data), BinaryFrame(data))
	case 'v':
		z.owner.SendVolatile(TextFrame(data))
	case '3':
		z.request(http.MethodPost, "3")
	case 'C':
		z.owner.Close(false)
	case 'D':
		z.owner.Close(true)
	}
}
