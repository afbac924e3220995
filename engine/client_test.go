package engine

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zishang520/socket.io/v2/socket"
)

const testTimeout = time.Minute

// testServer is a server with an HTTP front, shut down at the end of the test.
type testServer struct {
	*socket.Server
	handler *Handler
	http    *httptest.Server
	stop    func()
}

// serve starts a server. on gets every socket of the main namespace.
func serve(t testing.TB, opts *socket.ServerOptions, o Options, on func(*socket.Socket)) *testServer {
	t.Helper()
	if opts == nil {
		opts = socket.DefaultServerOptions()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(testWriter{t}, nil))
	}
	io, h := NewServer(opts, o)
	if on != nil {
		onConnection(io.Sockets(), on)
	}
	s := &testServer{Server: io, handler: h, http: httptest.NewServer(h)}
	s.stop = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		defer cancel()
		if err := h.srv.eio.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		io.Close(nil)
		s.http.Close()
	})
	t.Cleanup(s.stop)
	return s
}

func onConnection(nsp socket.Namespace, on func(*socket.Socket)) {
	_ = nsp.On("connection", func(args ...any) { on(args[0].(*socket.Socket)) })
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Logf("%s", b)
	return len(b), nil
}

// wire is a WebSocket client that speaks Engine.IO packets.
type wire struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
	auto bool // answer pings

	patience time.Duration // of a read
}

func (s *testServer) addr() string { return strings.TrimPrefix(s.http.URL, "http://") }

// dial opens a WebSocket session and reads the open packet.
func (s *testServer) dial(t testing.TB, query string) *wire {
	t.Helper()
	w := s.webSocket(t, query)
	if open := w.read(); !strings.HasPrefix(open, "0{") {
		t.Fatalf("open packet %q", open)
	}
	return w
}

// webSocket opens a WebSocket: a session, or with a sid in the query one that is to replace polling.
func (s *testServer) webSocket(t testing.TB, query string, header ...string) *wire {
	t.Helper()
	c, err := net.Dial("tcp", s.addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	w := &wire{t: t, conn: c, r: bufio.NewReader(c), auto: true, patience: testTimeout}
	fmt.Fprintf(c, "GET /socket.io/?transport=websocket&%s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\n"+
		"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"+
		"User-Agent: test\r\n%s\r\n", query, s.addr(), strings.Join(header, "\r\n"))
	_ = c.SetReadDeadline(time.Now().Add(testTimeout))
	res, err := http.ReadResponse(w.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("status %s", res.Status)
	}
	return w
}

// connect opens a session and connects it to the main namespace, with an auth payload or "".
func (s *testServer) connect(t testing.TB, auth string) *wire {
	t.Helper()
	w := s.dial(t, "EIO=4")
	w.send("40" + auth)
	w.expectPrefix(`40{"sid":"`)
	return w
}

func (w *wire) send(packets ...string) {
	for _, p := range packets {
		w.frame(1, []byte(p))
	}
}

func (w *wire) sendBinary(b []byte) { w.frame(2, b) }

// frame sends a frame. op is its first byte, without FIN.
func (w *wire) frame(op byte, b []byte) { w.raw(frame(0x80|op, b)) }

// raw sends bytes as they are.
func (w *wire) raw(b []byte) {
	if _, err := w.conn.Write(b); err != nil && !errors.Is(err, net.ErrClosed) {
		w.t.Logf("send: %v", err)
	}
}

// frame returns a frame as clients send it.
func frame(first byte, b []byte) []byte {
	head := []byte{first}
	switch n := len(b); {
	case n < 126:
		head = append(head, 0x80|byte(n))
	case n < 1<<16:
		head = binary.BigEndian.AppendUint16(append(head, 0x80|126), uint16(n))
	default:
		head = binary.BigEndian.AppendUint64(append(head, 0x80|127), uint64(n))
	}
	head = append(head, 0, 0, 0, 0) // a mask of zeros
	return append(head, b...)
}

// next reads a message and reports whether it is text. At the end of the connection it returns an error.
func (w *wire) next() (string, bool, error) {
	for {
		_ = w.conn.SetReadDeadline(time.Now().Add(w.patience))
		var head [2]byte
		if _, err := io.ReadFull(w.r, head[:]); err != nil {
			return "", false, err
		}
		n := uint64(head[1] & 0x7f)
		switch n {
		case 126:
			var b [2]byte
			_, _ = io.ReadFull(w.r, b[:])
			n = uint64(binary.BigEndian.Uint16(b[:]))
		case 127:
			var b [8]byte
			_, _ = io.ReadFull(w.r, b[:])
			n = binary.BigEndian.Uint64(b[:])
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(w.r, b); err != nil {
			return "", false, err
		}
		switch op := head[0] & 0xf; {
		case op == 8:
			w.frame(8, b)
			w.close()
			return "", false, io.EOF
		case op == 1 && string(b) == "2" && w.auto:
			w.send("3")
		default:
			return string(b), op == 1, nil
		}
	}
}

func (w *wire) read() string {
	w.t.Helper()
	m, _, err := w.next()
	if err != nil {
		w.t.Fatalf("read: %v", err)
	}
	return m
}

func (w *wire) expect(want string) {
	w.t.Helper()
	if got := w.read(); got != want {
		w.t.Fatalf("got %q, want %q", got, want)
	}
}

func (w *wire) expectPrefix(want string) string {
	w.t.Helper()
	got := w.read()
	if !strings.HasPrefix(got, want) {
		w.t.Fatalf("got %q, want prefix %q", got, want)
	}
	return got
}

// expectClosed reads until the server has closed the connection.
func (w *wire) expectClosed() {
	w.t.Helper()
	for {
		if _, _, err := w.next(); err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				w.t.Fatal("the connection is not closed")
			}
			return
		}
	}
}

func (w *wire) close() { _ = w.conn.Close() }

// receive waits for a value on a channel.
func receive[T any](t testing.TB, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(testTimeout):
		t.Fatalf("no %s", what)
		panic("unreachable")
	}
}

func toJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
