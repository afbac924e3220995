package forward

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// bufferSize is that of the buffers through which answers and WebSockets are copied, in bytes. There are two for each
// WebSocket.
const bufferSize = 4 << 10

// buffers is a httputil.BufferPool.
var buffers = bufferPool{sync.Pool{New: func() any { return new([bufferSize]byte) }}}

type bufferPool struct{ sync.Pool }

func (p *bufferPool) Get() []byte  { return p.Pool.Get().(*[bufferSize]byte)[:] }
func (p *bufferPool) Put(b []byte) { p.Pool.Put((*[bufferSize]byte)(b)) }

// tunnelWriter is the writer of a request that is passed on. If it becomes a WebSocket, that is remembered.
type tunnelWriter struct {
	http.ResponseWriter
	tunnels *tunnels
}

// Unwrap is for http.ResponseController.
func (w *tunnelWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Hijack implements http.Hijacker.
func (w *tunnelWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	return w.tunnels.add(nc), rw, nil
}

// tunnels are the WebSockets of clients that lead to other nodes.
type tunnels struct {
	mu    sync.Mutex
	conns map[*tunnel]struct{} // guarded by mu
}

// tunnel is a client's connection that leads to another node.
type tunnel struct {
	net.Conn
	all   *tunnels
	since time.Time
}

func (s *tunnels) add(nc net.Conn) *tunnel {
	t := &tunnel{nc, s, time.Now()}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		s.conns = map[*tunnel]struct{}{}
	}
	s.conns[t] = struct{}{}
	return t
}

// Close implements net.Conn.
func (t *tunnel) Close() error {
	t.all.mu.Lock()
	delete(t.all.conns, t)
	t.all.mu.Unlock()
	return t.Conn.Close()
}

// ReadFrom implements io.ReaderFrom, with a smaller buffer than io.Copy has.
func (t *tunnel) ReadFrom(r io.Reader) (int64, error) { return transfer(t.Conn, r) }

// WriteTo implements io.WriterTo.
func (t *tunnel) WriteTo(w io.Writer) (int64, error) { return transfer(w, t.Conn) }

func transfer(w io.Writer, r io.Reader) (int64, error) {
	b := buffers.Get()
	defer buffers.Put(b)
	return io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, b) // neither knows a shorter way
}

func (s *tunnels) open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// settle is the age below which a tunnel is closed at the end of a drain only: its client may be upgrading.
const settle = 2 * time.Second

// some returns up to n of those that were there at a time, the oldest first.
func (s *tunnels) some(n int, at time.Time) []*tunnel {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := make([]*tunnel, 0, len(s.conns))
	for t := range s.conns {
		if !t.since.After(at) {
			old = append(old, t)
		}
	}
	slices.SortFunc(old, func(a, b *tunnel) int { return a.since.Compare(b.since) })
	return old[:min(n, len(old))]
}

// close closes up to n of those that were there at a time, the oldest first.
func (s *tunnels) close(n int, at time.Time) {
	for _, t := range s.some(n, at) {
		_ = t.Close()
	}
}
