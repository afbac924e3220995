package node

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"

	"github.com/architus/guildcast/internal/proxyproto"
	"github.com/architus/guildcast/internal/throttle"
)

// acceptor is a listener that says why no connection can be accepted. http.Server tries again, from 5 ms up to a
// second later.
type acceptor struct {
	net.Listener
	log      *slog.Logger
	failures *atomic.Uint64 // of Accept
	lines    throttle.Minutely[string]
	failing  bool // owned by the caller of Accept
}

// Accept implements net.Listener.
func (l *acceptor) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	switch {
	case err == nil && l.failing:
		l.failing = false
		if l.lines.Allow("recovered") {
			l.log.Info("new clients are accepted again")
		}
	case err != nil && !errors.Is(err, net.ErrClosed):
		l.failing = true
		l.failures.Add(1)
		message := "new clients can't be accepted"
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			message = "file descriptors have run out: new clients wait until others leave"
		}
		if l.lines.Allow(message) {
			l.log.Error(message, "err", err)
		}
	}
	return c, err
}

// proxies are the networks whose connections begin with a PROXY header.
func (n *Node) proxies() []netip.Prefix {
	if !n.config.ProxyProtocol {
		return nil
	}
	return n.config.TrustedProxies
}

// behindProxies returns a listener that reads the PROXY headers of connections.
func (n *Node) behindProxies(below net.Listener) *proxyproto.Listener {
	return proxyproto.NewListener(below, proxyproto.Options{
		Trusted: n.proxies(), Refused: func(peer string, err error) {
			n.proxyHeadersRefused.Add(1)
			if n.lines.Allow("proxy header") {
				n.config.Logger.Warn("connection of a trusted proxy has no PROXY header", "addr", peer, "err", err)
			}
		},
	})
}
