package proxyproto

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

const (
	// headerTime is the default of Options.Time.
	headerTime = 5 * time.Second
	// maxReading bounds the connections whose header has not come yet; more are refused.
	maxReading = 4096
)

// Options of a Listener.
type Options struct {
	Trusted []netip.Prefix             // the proxies
	Time    time.Duration              // for a header to come; default 5 s
	Refused func(peer string, _ error) // is called with each connection without a good header; nil ignores it
}

// Listener reads the headers of connections that come from trusted proxies, which must begin with one. Others are
// passed on as they are: a header from somebody else is no HTTP, and no TLS. Connections are those of the listener
// below, and of its types; who the client is stands in the requests that Handler passes on.
type Listener struct {
	net.Listener
	options Options

	accepted chan accepted // written by accept and read, read by Accept
	closed   chan struct{} // closed by Close
	closing  sync.Once
	slots    chan struct{} // holds a value for each connection whose header is being read
	running  sync.WaitGroup

	clients sync.Map // net.Conn: address of its client as a string, until the server takes it

	mu      sync.Mutex
	reading map[net.Conn]struct{} // guarded by mu; nil once the listener is closed
}

type accepted struct {
	conn net.Conn
	err  error
}

// NewListener reads the headers of connections of a listener, which it closes.
func NewListener(below net.Listener, o Options) *Listener {
	if o.Time <= 0 {
		o.Time = headerTime
	}
	if o.Refused == nil {
		o.Refused = func(string, error) {}
	}
	l := &Listener{
		Listener: below, options: o, accepted: make(chan accepted), closed: make(chan struct{}),
		slots: make(chan struct{}, maxReading), reading: map[net.Conn]struct{}{},
	}
	l.running.Go(l.accept)
	return l
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case a := <-l.accepted:
		return a.conn, a.err
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. It returns after all goroutines of the listener have.
func (l *Listener) Close() error {
	err := l.Listener.Close()
	l.closing.Do(func() {
		close(l.closed)
		l.mu.Lock()
		defer l.mu.Unlock()
		for c := range l.reading {
			_ = c.Close()
		}
		l.reading = nil
	})
	l.running.Wait()
	return err
}

// accept accepts connections until the listener is closed. While nobody takes an error, it does not try again.
func (l *Listener) accept() {
	for {
		c, err := l.Listener.Accept()
		switch {
		case err != nil || !trusts(l.options.Trusted, c.RemoteAddr()):
			if !l.pass(accepted{c, err}) {
				return
			}
		default:
			select {
			case l.slots <- struct{}{}:
				l.running.Go(func() { l.read(c) })
			default:
				_ = c.Close()
			}
		}
	}
}

// pass has Accept return a. It reports whether the listener is still open.
func (l *Listener) pass(a accepted) bool {
	select {
	case l.accepted <- a:
		return true
	case <-l.closed:
		if a.conn != nil {
			_ = a.conn.Close()
		}
		return false
	}
}

// read reads the header of one connection.
func (l *Listener) read(c net.Conn) {
	client, err := l.header(c)
	<-l.slots
	if err != nil {
		_ = c.Close()
		select {
		case <-l.closed:
		default:
			l.options.Refused(c.RemoteAddr().String(), err)
		}
		return
	}
	if client.IsValid() {
		l.clients.Store(c, client.String())
	}
	if !l.pass(accepted{conn: c}) {
		l.clients.Delete(c)
	}
}

func (l *Listener) header(c net.Conn) (netip.AddrPort, error) {
	l.mu.Lock()
	if l.reading == nil {
		l.mu.Unlock()
		return netip.AddrPort{}, net.ErrClosed
	}
	l.reading[c] = struct{}{}
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.reading, c)
	}()
	if err := c.SetReadDeadline(time.Now().Add(l.options.Time)); err != nil {
		return netip.AddrPort{}, err
	}
	client, err := Read(c)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return client, c.SetReadDeadline(time.Time{})
}

// trusts reports whether an address is in one of the networks.
func trusts(networks []netip.Prefix, addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && Contains(networks, tcp.AddrPort().Addr())
}

// Contains reports whether an address is in one of the networks.
func Contains(networks []netip.Prefix, addr netip.Addr) bool {
	for _, network := range networks {
		if network.Contains(addr.Unmap()) {
			return true
		}
	}
	return false
}

type clientKey struct{}

// ConnContext is that of the http.Server that serves the listener, with TLS or without.
func (l *Listener) ConnContext(ctx context.Context, c net.Conn) context.Context {
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	if client, ok := l.clients.LoadAndDelete(c); ok {
		ctx = context.WithValue(ctx, clientKey{}, client)
	}
	return ctx
}

// Handler passes requests on with the client's address as theirs.
func (l *Listener) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if client, ok := r.Context().Value(clientKey{}).(string); ok {
			r.RemoteAddr = client
		}
		next.ServeHTTP(w, r)
	})
}

// Dial returns a dialer whose connections begin with Local if they come from one of the networks: those to a Listener
// that trusts these, by somebody who is no proxy.
func Dial(dialer *net.Dialer, trusted []netip.Prefix) func(context.Context, string, string) (net.Conn, error) {
	if len(trusted) == 0 {
		return dialer.DialContext
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dialer.DialContext(ctx, network, addr)
		if err != nil || !trusts(trusted, c.LocalAddr()) {
			return c, err
		}
		if _, err := c.Write([]byte(Local)); err != nil { // fits into the empty buffer: it does not wait
			_ = c.Close()
			return nil, err
		}
		return c, nil
	}
}
