package adapter

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter/internal/wire"
	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/internal/throttle"
)

// shared is what all adapters of one constructor have in common.
type shared struct {
	// Static after construction.
	client          redis.UniversalClient
	requestsTimeout time.Duration
	logger          *slog.Logger
	given           *bus.Bus    // Options.Bus, nil without
	busOptions      bus.Options // if none is given
	times           times
	count           counters
	strange         throttle.Minutely[wire.Reason] // limits the log lines about messages that were not understood

	// Guarded by mu.
	mu    sync.Mutex
	buses map[*socket.Server]*serverBus
}

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
func (s *shared) Stats() Stats {
	stats := s.count.stats()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.buses {
		stats.Bus = b.bus.Stats()
	}
	return stats
}

func (s *shared) acquire(server *socket.Server) *bus.Bus {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.buses[server]
	if b == nil {
		b = &serverBus{bus: s.given}
		if b.bus == nil {
			b.bus = bus.New(s.client, s.busOptions)
		}
		if s.buses == nil {
			s.buses = map[*socket.Server]*serverBus{}
		}
		s.buses[server] = b
	}
	b.refs++
	return b.bus
}

func (s *shared) release(server *socket.Server) {
	s.mu.Lock()
	b := s.buses[server]
	b.refs--
	last := b.refs == 0
	if last {
		delete(s.buses, server)
	}
	s.mu.Unlock()
	if !last || b.bus == s.given {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.times.close)
	defer cancel()
	if err := b.bus.Close(ctx); err != nil {
		s.logger.Warn("connection to redis was not closed in order", "err", err)
	}
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// randomID returns n random letters and digits, as Node's uid2 does.
func randomID(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails
	for i := range b {
		b[i] = alphabet[int(b[i])%len(alphabet)]
	}
	return string(b)
}

// randomHex returns 16 hex digits, as the ids of servers and requests are in the sharded protocol.
func randomHex() string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
