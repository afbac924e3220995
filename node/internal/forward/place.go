package forward

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
)

// place is where other nodes reach this one.
type place struct {
	// Static.
	url    string   // as the operator said; "" to find it
	redis  []string // host:port
	secure bool

	addr atomic.Pointer[net.TCPAddr] // of the listener; nil: not yet
}

func (p *place) listen(addr net.Addr) {
	if tcp, ok := addr.(*net.TCPAddr); ok {
		p.addr.Store(tcp)
	}
}

// find returns the URL. An address that the node listens on for all is replaced by that of the interface that reaches
// Redis, which the other nodes reach as well.
func (p *place) find(ctx context.Context) (string, error) {
	if p.url != "" {
		return p.url, nil
	}
	addr := p.addr.Load()
	if addr == nil {
		return "", errors.New("find the address of the node: it does not listen on TCP")
	}
	ip := addr.IP
	if ip.IsUnspecified() {
		var err error
		if ip, err = route(ctx, p.redis); err != nil {
			return "", fmt.Errorf("find the address of the node: %w", err)
		}
	}
	scheme := "http"
	if p.secure {
		scheme = "https"
	}
	return fmt.Sprintf("%s://%s", scheme, net.JoinHostPort(ip.String(), fmt.Sprint(addr.Port))), nil
}

// route returns the address from which the system reaches one of hosts. Nothing is sent.
func route(ctx context.Context, hosts []string) (net.IP, error) {
	err := errors.New("redis is not reached over a network: --advertise must say where the node is reached")
	for _, host := range hosts {
		var c net.Conn
		if c, err = new(net.Dialer).DialContext(ctx, "udp", host); err != nil {
			continue
		}
		defer c.Close()
		return c.LocalAddr().(*net.UDPAddr).IP, nil
	}
	return nil, err
}
