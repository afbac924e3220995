package proxyproto

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	loopback  = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	elsewhere = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
)

// serve serves the address of whoever asks, and returns where.
func serve(t *testing.T, o Options) string {
	t.Helper()
	below, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := NewListener(below, o)
	server := &http.Server{
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if _, plain := c.(*net.TCPConn); !plain {
				t.Errorf("the server gets a %T", c)
			}
			return l.ConnContext(ctx, c)
		},
		Handler: l.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, r.RemoteAddr)
		})),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return below.Addr().String()
}

// send opens a connection that begins with a header.
func send(t *testing.T, addr, header string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(c, header); err != nil {
		t.Fatal(err)
	}
	return c
}

// ask requests a page, and returns its status and text.
func ask(t *testing.T, c net.Conn) (int, string) {
	t.Helper()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

const line = "PROXY TCP4 203.0.113.7 192.0.2.1 51331 443\r\n"

func TestListener(t *testing.T) {
	addr := serve(t, Options{Trusted: loopback})
	for header, want := range map[string]string{
		line: "203.0.113.7:51331", signature + v6: "[2001:db8::7]:51331",
		Local: "127.0.0.1:", "PROXY UNKNOWN\r\n": "127.0.0.1:",
	} {
		c := send(t, addr, header)
		for range 2 { // the second request has the same client
			if status, text := ask(t, c); status != http.StatusOK || !strings.HasPrefix(text, want) {
				t.Errorf("%q: %d, %s", header, status, text)
			}
		}
	}
}

// A stranger's header is a bad request, and a stranger without one is served.
func TestStranger(t *testing.T) {
	addr := serve(t, Options{Trusted: elsewhere})
	for _, header := range []string{line, signature + v4} {
		if status, text := ask(t, send(t, addr, header)); status != http.StatusBadRequest {
			t.Errorf("%q: %d, %s", header, status, text)
		}
	}
	if status, text := ask(t, send(t, addr, "")); status != http.StatusOK || !strings.HasPrefix(text, "127.0.0.1:") {
		t.Errorf("%d, %s", status, text)
	}
}

// Connections without a header are closed, at once or when its time is over, and hold up nobody.
func TestNoHeader(t *testing.T) {
	refused := make(chan string, 10)
	addr := serve(t, Options{Trusted: loopback, Time: 50 * time.Millisecond, Refused: func(peer string, err error) {
		refused <- fmt.Sprint(peer, " ", err)
	}})
	for header, want := range map[string]string{
		"GET / HTTP/1.1\r\n\r\n": "no PROXY header", "": "i/o timeout", line[:20]: "i/o timeout",
	} {
		c := send(t, addr, header)
		if status, _ := ask(t, send(t, addr, line)); status != http.StatusOK {
			t.Errorf("beside %q: %d", header, status)
		}
		if n, err := c.Read(make([]byte, 1)); err == nil {
			t.Errorf("%q: got %d bytes", header, n)
		}
		if got := <-refused; !strings.HasPrefix(got, "127.0.0.1:") || !strings.Contains(got, want) {
			t.Errorf("%q: refused with %s", header, got)
		}
	}
}

// A listener that is closed ends connections whose header has not come.
func TestClose(t *testing.T) {
	below, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := NewListener(below, Options{Trusted: loopback, Time: time.Hour})
	c := send(t, below.Addr().String(), line[:20])
	whole := send(t, below.Addr().String(), line) // nobody accepts it
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept: %v", err)
	}
	for _, c := range []net.Conn{c, whole} {
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a connection is open")
		}
	}
}

func TestDial(t *testing.T) {
	for _, trusted := range [][]netip.Prefix{nil, loopback, elsewhere} {
		addr := serve(t, Options{Trusted: trusted})
		c, err := Dial(new(net.Dialer), trusted)(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if status, text := ask(t, c); status != http.StatusOK || !strings.HasPrefix(text, "127.0.0.1:") {
			t.Errorf("%v: %d, %s", trusted, status, text)
		}
		_ = c.Close()
	}
}
