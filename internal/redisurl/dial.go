package redisurl

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"
)

// dialer makes the connections of a client and remembers them: when the server behind a name changes, those in
// go-redis's pool would go on leading to the former one.
type dialer struct {
	// Static after construction.
	connect DialFunc
	timeout time.Duration // of the encryption
	tls     *tls.Config   // nil: not encrypted
	files   tlsFiles      // read into a copy of tls for each connection
	host    string        // of addresses that have none

	// Guarded by mu.
	mu   sync.Mutex
	open map[*remembered]struct{}
}

// DialFunc makes a connection, as net.Dialer's DialContext does.
type DialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

func newDialer(timeout time.Duration, c *tls.Config, files tlsFiles) *dialer {
	if c != nil {
		// A new connection asks every few seconds who the primary is: its handshake should cost little.
		c = c.Clone()
		c.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	}
	return &dialer{
		connect: (&net.Dialer{Timeout: timeout}).DialContext, timeout: timeout, tls: c, files: files,
		open: map[*remembered]struct{}{},
	}
}

// dial has the type of goredis.Options.Dialer.
func (d *dialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if port, ok := strings.CutPrefix(strings.TrimPrefix(addr, "?"), ":"); ok && d.host != "" {
		addr = net.JoinHostPort(d.host, port)
	}
	began := time.Now()
	nc, err := d.connect(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	if d.tls != nil {
		if nc, err = d.encrypt(ctx, nc, addr); err != nil {
			return nil, err
		}
	}
	c := &remembered{Conn: nc, dialer: d, began: began}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open[c] = struct{}{}
	return c, nil
}

func (d *dialer) encrypt(ctx context.Context, nc net.Conn, addr string) (net.Conn, error) {
	config := d.tls.Clone()
	if err := d.files.read(config); err != nil {
		nc.Close()
		return nil, err
	}
	if config.ServerName == "" {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			host = addr
		}
		config.ServerName = host
	}
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	c := tls.Client(nc, config)
	if err := c.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

// renew closes what was dialled before since.
func (d *dialer) renew(since time.Time) {
	d.mu.Lock()
	var old []*remembered
	for c := range d.open {
		if c.began.Before(since) {
			old = append(old, c)
		}
	}
	d.mu.Unlock()
	for _, c := range old {
		c.Close()
	}
}

// remembered is a connection that its dialer knows.
type remembered struct {
	net.Conn
	dialer *dialer
	began  time.Time
}

// Close also forgets it.
func (c *remembered) Close() error {
	c.dialer.mu.Lock()
	delete(c.dialer.open, c)
	c.dialer.mu.Unlock()
	return c.Conn.Close()
}

// SyscallConn is how go-redis finds out, before it uses a connection of its pool, that it was closed.
func (c *remembered) SyscallConn() (syscall.RawConn, error) {
	if sys, ok := c.Conn.(syscall.Conn); ok {
		return sys.SyscallConn()
	}
	c.dialer.mu.Lock()
	defer c.dialer.mu.Unlock()
	if _, ok := c.dialer.open[c]; !ok {
		return nil, net.ErrClosed
	}
	return encrypted{}, nil
}

// encrypted is the view of an open encrypted connection: what waits to be read says nothing about it.
type encrypted struct{}

func (encrypted) Control(func(uintptr)) error    { return nil }
func (encrypted) Read(func(uintptr) bool) error  { return nil }
func (encrypted) Write(func(uintptr) bool) error { return nil }
