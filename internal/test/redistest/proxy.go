package redistest

import (
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Proxy forwards TCP connections to a target and can cut, refuse, stall, spoil or forget them: a network that fails
// while both ends live. All methods may be called concurrently.
type Proxy struct {
	listener net.Listener
	wg       sync.WaitGroup

	// Guarded by mu.
	mu      sync.Mutex
	target  string
	pairs   map[*pair]struct{} // the forwarded connections
	refuse  bool
	spoiled Spoil
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
	p := &Proxy{listener: l, target: target, pairs: make(map[*pair]struct{})}
	p.wg.Add(1)
	go p.accept()
	tb.Cleanup(p.close)
	return p
}

// Addr is the host:port to connect to.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Cut closes every connection that is open now. New ones are accepted.
func (p *Proxy) Cut() {
	for _, c := range p.open() {
		c.close()
	}
}

// open returns the pairs that are open now.
func (p *Proxy) open() []*pair {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Keys(p.pairs))
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

// Spoil is what befalls the bytes of a connection.
type Spoil struct {
	Latency time.Duration // each up to 32 KiB arrive this much later, and the next ones are not read before
	Jitter  time.Duration // up to this is added to Latency
	Rate    int           // bytes a second, of each connection and direction; 0 is any number
	Closing time.Duration // an end is closed this much later than the other was
}

// Spoil spoils both directions of the connections that are open and of new ones. The zero value mends them.
func (p *Proxy) Spoil(s Spoil) {
	p.mu.Lock()
	p.spoiled = s
	p.mu.Unlock()
}

func (p *Proxy) spoil() Spoil {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.spoiled
}

// Forget leaves the connections that are open now half-open: what is sent to the target, to the client or to both is
// lost, and that an end was closed is not passed on. New ones are well. Those forgotten stay so until end cuts them.
func (p *Proxy) Forget(toTarget, toClient bool) (end func()) {
	forgotten := p.open()
	for _, c := range forgotten {
		c.half.Store(true)
		c.deaf.Store(toTarget)
		c.mute.Store(toClient)
	}
	return func() {
		for _, c := range forgotten {
			c.close()
		}
	}
}

// pair is a forwarded connection.
type pair struct {
	client, server net.Conn

	half       atomic.Bool // a closed end is not passed on
	deaf, mute atomic.Bool // what is sent to server or client is lost
	closed     chan struct{}
	once       sync.Once
}

func (c *pair) close() {
	c.once.Do(func() { close(c.closed) })
	_ = c.client.Close()
	_ = c.server.Close()
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
	pair  *pair
	lost  *atomic.Bool
}

func (s stream) Write(b []byte) (written int, err error) {
	s.proxy.flow()
	spoil := s.proxy.spoil()
	delay := spoil.Latency
	if spoil.Jitter > 0 {
		delay += rand.N(spoil.Jitter)
	}
	s.pair.sleep(delay)
	for written < len(b) && err == nil {
		part := b[written:]
		if rate := s.proxy.spoil().Rate; rate > 0 {
			part = part[:min(len(part), max(1, rate/20))]
			s.pair.sleep(time.Duration(len(part)) * time.Second / time.Duration(rate))
		}
		if s.lost.Load() {
			return len(b), nil
		}
		var n int
		n, err = s.Writer.Write(part)
		written += n
	}
	return written, err
}

// sleep returns early if the pair is closed.
func (c *pair) sleep(d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.closed:
	}
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
	c := &pair{client: client, server: server, closed: make(chan struct{})}
	defer c.close()
	if !p.add(c) {
		return
	}
	defer p.remove(c)
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.copy(c, server, client, &c.deaf)
	}()
	p.copy(c, client, server, &c.mute)
	<-done
}

// copy carries one direction and then closes where it leads.
func (p *Proxy) copy(c *pair, dst, src net.Conn, lost *atomic.Bool) {
	_, _ = io.Copy(stream{dst, p, c, lost}, src)
	c.sleep(p.spoil().Closing)
	if c.half.Load() {
		<-c.closed
	}
	_ = dst.Close()
}

// add registers a pair, unless the proxy has begun to refuse meanwhile: a pair that Cut could not see would survive it.
func (p *Proxy) add(c *pair) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuse || p.closed {
		return false
	}
	p.pairs[c] = struct{}{}
	p.accepts++
	return true
}

func (p *Proxy) remove(c *pair) {
	p.mu.Lock()
	delete(p.pairs, c)
	p.mu.Unlock()
}
