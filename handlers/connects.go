package handlers

import (
	"math"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// connectLimit is a limit that refuses a connection. It labels a counter.
type connectLimit string

const (
	connectsOver           connectLimit = "connects"
	addressConnectsOver    connectLimit = "address_connects"
	connectionsOver        connectLimit = "connections"
	addressConnectionsOver connectLimit = "address_connections"
)

// connects bounds the Engine.IO sessions of the node, and how fast new ones come.
type connects struct {
	rate      *rate.Limiter
	addresses *limiters // rates

	mu                 sync.Mutex
	most, mostPerOwner int            // guarded by mu, as all below; negative: no limit
	open               int            // sessions
	owners             map[string]int // open sessions by address; no zeros
}

func newConnects(l Limits) *connects {
	c := &connects{
		rate:      newLimiter(l.Connects, burstOf(l.Connects)),
		addresses: newLimiters(l.AddressConnects, burstOf(l.AddressConnects), l.Remembered),
		owners:    map[string]int{},
	}
	c.most, c.mostPerOwner = l.Connections, l.AddressConnections
	return c
}

// burstOf is how many may come at once: a second's worth.
func burstOf(perSecond float64) int { return int(math.Ceil(min(perSecond, math.MaxInt32))) }

// set replaces the limits. Sessions that are open stay.
func (c *connects) set(l Limits) {
	setLimiter(c.rate, l.Connects, burstOf(l.Connects))
	c.addresses.set(l.AddressConnects, burstOf(l.AddressConnects), l.Remembered)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.most, c.mostPerOwner = l.Connections, l.AddressConnections
}

// take counts a session of an address, or returns the limit that refuses it.
func (c *connects) take(address string) (refused connectLimit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !within(c.owners[address]+1, c.mostPerOwner):
		return addressConnectionsOver
	case !within(c.open+1, c.most):
		return connectionsOver
	// The address comes first: what it may not have takes nothing from the others.
	case !c.addresses.allow(address):
		return addressConnectsOver
	case !c.rate.Allow():
		return connectsOver
	}
	c.open++
	c.owners[address]++
	return ""
}

// give takes note of the end of a session.
func (c *connects) give(address string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open--
	if c.owners[address]--; c.owners[address] == 0 {
		delete(c.owners, address)
	}
}

// AdmitSession is engine.Options.AdmitSession: it refuses sessions over the limits of connections.
func (g *Gateway) AdmitSession(r *http.Request) (release func(), retryAfter time.Duration) {
	address := addressOf(r.RemoteAddr, r.Header, g.config.TrustedProxies)
	if refused := g.connects.take(address); refused != "" {
		g.metrics.connectionsRefused.WithLabelValues(string(refused)).Inc()
		return nil, retryAfterOf(refused)
	}
	return func() { g.connects.give(address) }, 0
}

// retryAfterOf returns when a refused client should come again. It varies, so that those that were refused together
// don't come together.
func retryAfterOf(refused connectLimit) time.Duration {
	least, spread := time.Second, 4*time.Second
	if refused == connectionsOver || refused == addressConnectionsOver { // connections last longer
		least, spread = 5*time.Second, 25*time.Second
	}
	return least + rand.N(spread)
}
