package adapter

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/internal/throttle"
)

// constructor is what all adapters of one Classic or Sharded have in common.
type constructor struct {
	// Static after construction.
	client          redis.UniversalClient
	requestsTimeout time.Duration
	logger          *slog.Logger
	given           *bus.Bus    // Options.Bus, nil without
	busOptions      bus.Options // if none is given
	times           times
	count           counters
	strange         throttle.Minutely[complaint] // limits the log lines about messages that were not understood

	// Guarded by mu.
	mu    sync.Mutex
	buses map[*socket.Server]*serverBus
}

// defaultPrefix is the default of Key and ChannelPrefix.
const defaultPrefix = "socket.io"

// times are the waits that no option sets. Tests shorten them.
type times struct {
	// start is how long the making of a namespace waits for its subscriptions.
	start time.Duration
	// grace is how long messages wait for a listener, so that what it does comes before what they do. A listener that
	// takes longer no longer holds them up.
	grace time.Duration
	// look is the time between two looks for servers that have left.
	look time.Duration
	// close bounds the flushing of what is queued for Redis when a server is closed.
	close time.Duration
}

func defaultTimes() times {
	return times{start: 3 * time.Second, grace: 100 * time.Millisecond, look: time.Second, close: 2 * time.Second}
}

// serverBus is the connection that the namespaces of one server share. Two servers never share one: Redis, which
// counts the servers of a cluster by their connections, would see one.
type serverBus struct {
	bus  *bus.Bus
	refs int
}

// Stats returns the counters of all namespaces together.
func (c *constructor) Stats() Stats {
	stats := c.count.stats()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.buses {
		stats.Bus = b.bus.Stats()
	}
	return stats
}

func (c *constructor) acquire(server *socket.Server) *bus.Bus {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.buses[server]
	if b == nil {
		b = &serverBus{bus: c.given}
		if b.bus == nil {
			b.bus = bus.New(c.client, c.busOptions)
		}
		if c.buses == nil {
			c.buses = map[*socket.Server]*serverBus{}
		}
		c.buses[server] = b
	}
	b.refs++
	return b.bus
}

func (c *constructor) release(server *socket.Server) {
	c.mu.Lock()
	b := c.buses[server]
	b.refs--
	last := b.refs == 0
	if last {
		delete(c.buses, server)
	}
	c.mu.Unlock()
	if !last || b.bus == c.given {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.times.close)
	defer cancel()
	if err := b.bus.Close(ctx); err != nil {
		c.logger.Warn("connection to redis was not closed in order", "err", err)
	}
}
