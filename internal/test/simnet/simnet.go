// Package simnet is a network in memory, for tests in the virtual time of testing/synctest: no system call, every wait
// durably blocking. Its connections have a delay and a bounded buffer, and can be cut, stalled and refused.
package simnet

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// bufferSize is what a connection keeps of what is not read, per direction.
const bufferSize = 64 << 10

var errRefused = errors.New("connection refused")

// Net is a network. All methods may be called concurrently.
type Net struct {
	// Delay returns how long the next bytes are on their way. Nil is no time. It is called under a lock.
	Delay func() time.Duration
	// Linger is how late a listener's side learns that its connection has gone.
	Linger time.Duration

	mu        sync.Mutex
	listeners map[string]*Listener // by address
	links     map[*link]struct{}
	stalled   map[string]bool // by name of a side
}

// link is a connection: two directions.
type link struct {
	net      *Net
	from, to string
	there    *stream // from from to to
	back     *stream
}

// Listen returns a listener at an address, which is any text.
func (n *Net) Listen(addr string) (*Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners == nil {
		n.listeners = map[string]*Listener{}
	}
	if n.listeners[addr] != nil {
		return nil, errors.New("address in use: " + addr)
	}
	l := &Listener{net: n, addr: address(addr), conns: make(chan net.Conn, 1024), closed: make(chan struct{})}
	n.listeners[addr] = l
	return l, nil
}

// Dial connects the side called from to the listener at addr.
func (n *Net) Dial(ctx context.Context, from, addr string) (net.Conn, error) {
	n.mu.Lock()
	l := n.listeners[addr]
	stalled := n.stalled[from]
	n.mu.Unlock()
	if l == nil {
		return nil, &net.OpError{Op: "dial", Net: "sim", Addr: address(addr), Err: errRefused}
	}
	k := &link{net: n, from: from, to: addr, there: newStream(n), back: newStream(n)}
	k.there.linger = n.Linger
	k.stall(stalled)
	n.mu.Lock()
	if n.links == nil {
		n.links = map[*link]struct{}{}
	}
	n.links[k] = struct{}{}
	n.mu.Unlock()
	near := &conn{link: k, in: k.back, out: k.there, local: address(from), remote: address(addr)}
	far := &conn{link: k, in: k.there, out: k.back, local: address(addr), remote: address(from)}
	select {
	case l.conns <- far:
		return near, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "dial", Net: "sim", Addr: address(addr), Err: errRefused}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Cut breaks the connections that the side called name has made or accepted.
func (n *Net) Cut(name string) {
	for _, k := range n.of(name) {
		k.there.fail(net.ErrClosed)
		k.back.fail(net.ErrClosed)
	}
}

// Stall stops what is on its way on the connections of a side, until Resume: as a lost network does, nobody is told.
// New connections of the side stall too.
func (n *Net) Stall(name string) { n.stall(name, true) }

// Resume ends a Stall.
func (n *Net) Resume(name string) { n.stall(name, false) }

func (n *Net) stall(name string, on bool) {
	n.mu.Lock()
	if n.stalled == nil {
		n.stalled = map[string]bool{}
	}
	n.stalled[name] = on
	n.mu.Unlock()
	for _, k := range n.of(name) {
		k.stall(on)
	}
}

func (n *Net) of(name string) (links []*link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for k := range n.links {
		if k.from == name || k.to == name {
			links = append(links, k)
		}
	}
	return links
}

func (n *Net) forget(k *link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.links, k)
}

func (n *Net) delay() time.Duration {
	if n.Delay == nil {
		return 0
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.Delay()
}

func (k *link) stall(on bool) {
	k.there.stall(on)
	k.back.stall(on)
}

// Listener accepts connections.
type Listener struct {
	net    *Net
	addr   address
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once // closes closed
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *Listener) Close() error {
	l.once.Do(func() {
		l.net.mu.Lock()
		delete(l.net.listeners, string(l.addr))
		l.net.mu.Unlock()
		close(l.closed)
	})
	return nil
}

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr { return l.addr }

type address string

func (address) Network() string  { return "sim" }
func (a address) String() string { return string(a) }

// conn is one end of a link.
type conn struct {
	link          *link
	in, out       *stream
	local, remote address
}

func (c *conn) Read(b []byte) (int, error)  { return c.in.read(b) }
func (c *conn) Write(b []byte) (int, error) { return c.out.write(b) }
func (c *conn) LocalAddr() net.Addr         { return c.local }
func (c *conn) RemoteAddr() net.Addr        { return c.remote }

func (c *conn) Close() error {
	c.in.fail(net.ErrClosed)
	c.out.end()
	c.link.net.forget(c.link)
	return nil
}

func (c *conn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.reader.set(t)
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.out.writer.set(t)
	return nil
}

// chunk is bytes that arrive at a time.
type chunk struct {
	at   time.Time
	data []byte
}

// stream is one direction.
type stream struct {
	net            *Net
	linger         time.Duration
	reader, writer deadline

	mu      sync.Mutex
	chunks  []chunk
	size    int
	last    time.Time // arrival of the last chunk: nothing overtakes
	err     error     // broken: nothing more is read or written
	ended   bool      // io.EOF after what is there
	gone    time.Time // when it ended or broke
	stalled bool
	changed chan struct{} // closed and replaced when any of this changes
}

func newStream(n *Net) *stream {
	return &stream{net: n, changed: make(chan struct{}), reader: newDeadline(), writer: newDeadline()}
}

func (s *stream) changeLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *stream) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
		s.goneLocked()
		s.changeLocked()
	}
}

func (s *stream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.goneLocked()
	s.changeLocked()
}

func (s *stream) goneLocked() {
	if s.gone.IsZero() {
		s.gone = time.Now()
	}
}

func (s *stream) stall(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stalled = on
	s.changeLocked()
}

func (s *stream) read(b []byte) (int, error) {
	for {
		s.mu.Lock()
		wait, changed := time.Duration(-1), s.changed
		switch {
		case s.reader.past():
			s.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		case s.err != nil:
			if wait = time.Until(s.gone.Add(s.linger)); wait <= 0 {
				err := s.err
				s.mu.Unlock()
				return 0, err
			}
		case s.stalled:
		case len(s.chunks) > 0:
			if wait = time.Until(s.chunks[0].at); wait <= 0 {
				n := s.takeLocked(b)
				s.mu.Unlock()
				return n, nil
			}
		case s.ended:
			if wait = time.Until(s.gone.Add(s.linger)); wait <= 0 {
				s.mu.Unlock()
				return 0, io.EOF
			}
		}
		s.mu.Unlock()
		await(wait, changed, &s.reader)
	}
}

// takeLocked moves what has arrived into b.
func (s *stream) takeLocked(b []byte) (n int) {
	now := time.Now()
	for len(s.chunks) > 0 && n < len(b) && !s.chunks[0].at.After(now) {
		m := copy(b[n:], s.chunks[0].data)
		n += m
		if s.chunks[0].data = s.chunks[0].data[m:]; len(s.chunks[0].data) == 0 {
			s.chunks = s.chunks[1:]
		}
	}
	s.size -= n
	s.changeLocked()
	return n
}

func (s *stream) write(b []byte) (written int, err error) {
	for {
		s.mu.Lock()
		changed := s.changed
		switch {
		case s.writer.past():
			s.mu.Unlock()
			return written, os.ErrDeadlineExceeded
		case s.err != nil || s.ended:
			s.mu.Unlock()
			return written, net.ErrClosed
		case s.size < bufferSize:
			at := time.Now().Add(s.net.delay())
			if at.Before(s.last) {
				at = s.last
			}
			n := min(len(b)-written, bufferSize-s.size)
			s.last = at
			s.chunks = append(s.chunks, chunk{at, append([]byte(nil), b[written:written+n]...)})
			s.size += n
			written += n
			s.changeLocked()
			if written == len(b) {
				s.mu.Unlock()
				return written, nil
			}
		}
		s.mu.Unlock()
		await(-1, changed, &s.writer)
	}
}

// await returns after wait, if that is not negative, when changed is closed, or when the deadline passes or changes.
func await(wait time.Duration, changed <-chan struct{}, d *deadline) {
	var timer <-chan time.Time
	if wait >= 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		timer = t.C
	}
	at, moved := d.get()
	var late <-chan time.Time
	if !at.IsZero() {
		t := time.NewTimer(time.Until(at))
		defer t.Stop()
		late = t.C
	}
	select {
	case <-timer:
	case <-late:
	case <-changed:
	case <-moved:
	}
}

// deadline is that of reads or writes.
type deadline struct {
	mu    sync.Mutex
	at    time.Time
	moved chan struct{} // closed and replaced when at changes
}

func newDeadline() deadline { return deadline{moved: make(chan struct{})} }

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = t
	close(d.moved)
	d.moved = make(chan struct{})
}

func (d *deadline) get() (time.Time, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.at, d.moved
}

func (d *deadline) past() bool {
	at, _ := d.get()
	return !at.IsZero() && !time.Now().Before(at)
}
