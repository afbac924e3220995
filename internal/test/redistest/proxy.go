package redistest

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy forwards TCP connections to a target and can cut, refuse or stall them: a network that fails while both ends
// live. All methods may be called concurrently.
type Proxy struct {
	listener net.Listener
	wg       sync.WaitGroup

	// Guarded by mu.
	mu      sync.Mutex
	target  string
	conns   map[net.Conn]struct{} // both ends of each forwarded connection
	refuse  bool
	stalled chan struct{} // closed when bytes flow again; nil while they do
	closed  bool
	accepts int
}

// NewProxy listens on a free port of 127.0.0.1 until the test ends.
func NewProxy(tb testing.TB, target string) *Proxy {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("listen: %v", err)
	}
	p := &Proxy{listener: l, target: target, conns: make(map[net.Conn]struct{})}
	p.wg.Add(1)
	go p.accept()
	tb.Cleanup(p.close)
	return p
}

// Addr is the host:port to connect to.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Cut closes every connection that is open now. New ones are accepted.
func (p *Proxy) Cut() {
	p.mu.Lock()
	open := make([]net.Conn, 0, len(p.conns))
	for c := range p.conns {
		open = append(open, c)
	}
	p.mu.Unlock()
	for _, c := range open {
		_ = c.Close()
	}
}

// Retarget has new connections lead to another target; those that are open stay as they are.
func (p *Proxy) Retarget(target string) {
	p.mu.Lock()
	p.target = target
	p.mu.Unlock()
}

// Refuse closes new connections at once while on is true.
func (p *Proxy) Refuse(on bool) {
	p.mu.Lock()
	p.refuse = on
	p.mu.Unlock()
}

// Stall keeps what is sent, in both directions and on new connections too, while on is true: a black hole. Afterwards
// it arrives, on the connections that are still open.
func (p *Proxy) Stall(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case on && p.stalled == nil && !p.closed:
		p.stalled = make(chan struct{})
	case !on && p.stalled != nil:
		close(p.stalled)
		p.stalled = nil
	}
}

// flow waits until bytes flow.
func (p *Proxy) flow() {
	for {
		p.mu.Lock()
		stalled := p.stalled
		p.mu.Unlock()
		if stalled == nil {
			return
		}
		<-stalled
	}
}

// stream is where bytes go, once they flow.
type stream struct {
	io.Writer
	proxy *Proxy
}

func (s stream) Write(b []byte) (int, error) {
	s.proxy.flow()
	return s.Writer.Write(b)
}

// Accepted is the number of connections forwarded so far.
func (p *Proxy) Accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepts
}

func (p *Proxy) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	_ = p.listener.Close()
	p.Stall(false)
	p.Cut()
	p.wg.Wait()
}

func (p *Proxy) accept() {
	defer p.wg.Done()
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.wg.Add(1)
		go p.forward(c)
	}
}

func (p *Proxy) forward(client net.Conn) {
	defer p.wg.Done()
	defer client.Close()
	p.mu.Lock()
	refuse, target := p.refuse || p.closed, p.target
	p.mu.Unlock()
	if refuse {
		return
	}
	server, err := net.DialTimeout("tcp", target, 2*time.Second)
	if err != nil {
		return
	}
	defer server.Close()
	if !p.add(client, server) {
		return
	}
	defer p.remove(client, server)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(stream{server, p}, client)
		_ = server.Close()
	}()
	_, _ = io.Copy(stream{client, p}, server)
	_ = client.Close()
	<-done
}

// add registers a forwarded pair, unless the proxy has begun to refuse meanwhile: a pair that Cut could not see would
// survive it.
func (p *Proxy) add(client, server net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuse || p.closed {
		return false
	}
	p.conns[client], p.conns[server] = struct{}{}, struct{}{}
	p.accepts++
	return true
}

func (p *Proxy) remove(client, server net.Conn) {
	p.mu.Lock()
	delete(p.conns, client)
	delete(p.conns, server)
	p.mu.Unlock()
}
