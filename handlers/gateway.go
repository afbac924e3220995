// Package handlers answers the events of guildcast's clients and brings guild events to them. What the events look like
// from a browser is in docs/reference/protocol.md.
//
// The files, in the order in which they follow an event:
//
//   - The gateway: gateway.go builds and closes it; config.go, limits.go, metrics.go.
//   - What comes from a client: connection.go (a socket connects and leaves), address.go (whose address counts),
//     session.go (what a node knows about a socket), admit.go and glance.go (before an event is decoded), rate.go,
//     dispatch.go and events.go (which handler), payload.go (what it reads), request.go.
//   - The requests: elevation.go, token.go, spectate.go and view.go (what a socket spectates), and those that take their
//     time: task.go, slots.go, pool.go, poolanswer.go, poolsearch.go, interpret.go, queue.go, backend.go.
//   - What is answered: outlet.go (how events leave for clients), errors.go.
//   - What comes from Redis: guildevent.go, complaints.go, flights.go (deliveries under way), stragglers.go (clients that
//     are behind), resync.go, spectators.go.
//   - What ends: expiry.go, revocation.go, demotion.go.
package handlers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/handlers/directory"
	"github.com/architus/guildcast/internal/service"
	"github.com/architus/guildcast/internal/throttle"
	"github.com/architus/guildcast/permissions"
)

// verifier turns tokens into claims: token.Verifier.
type verifier interface {
	Verify(ctx context.Context, token string) (*permissions.Claims, error)
}

// revocations knows which tokens were taken back: permissions.Revocations.
type revocations interface {
	Revoked(c *permissions.Claims, now time.Time) bool
}

// topics are subscriptions to the event streams of guilds.
type topics interface {
	// Acquire returns when Redis has confirmed the subscription; release, to be called once, gives it up. Messages go
	// to Gateway.Message, in order.
	Acquire(ctx context.Context, t event.Topic) (release func(), err error)
}

// Parts are what a gateway works with.
type Parts struct {
	// Required.

	Verifier    verifier
	Revocations revocations
	Filter      *permissions.Filter[*engine.Conn]
	Topics      topics

	// Where these are nil, what needs them is answered with a 503.

	Pools    pools
	Requests requests

	// Interpreter answers `interpret`; where it is nil, a worker does, through Requests.
	Interpreter interpreter
}

// Gateway serves the clients of one Socket.IO server. All methods may be called concurrently.
type Gateway struct {
	config  Config
	limits  Limits
	log     *slog.Logger
	metrics *metrics

	verifier    verifier
	revocations revocations
	filter      *permissions.Filter[*engine.Conn]
	topics      topics
	pools       pools
	backend     requests
	interpreter interpreter // may be nil
	outlet      outlet

	directories *directory.Set
	spectators  *spectators
	bearers     *bearers
	stragglers  *stragglers
	complaints  throttle.Minutely[complaint]
	batches     sync.Pool // of *batches
	flights     *flights
	users       *limiters
	addresses   *limiters
	slots       *slots // of pool and interpret requests

	pages   *rounds[*page]    // of the cache, for pool requests
	results *rounds[[]entity] // of workers, for pool requests
	reads   chan struct{}     // holds a token for each page that is being read

	life   service.Life
	ctx    context.Context // ends with Run
	cancel context.CancelFunc

	// Guarded by mu.
	mu       sync.Mutex
	closed   bool
	sessions map[*engine.Conn]*session // a connection has one socket in the namespace at a time

	goroutines sync.WaitGroup // Add under mu while not closed
}

// New makes a gateway and serves with it the clients that connect to io's namespace "/" from now on. Io must come from
// engine.NewServer: other engines neither keep a client's events in order nor deliver to an engine.Conn. Its option Admit
// should be the gateway's Admit.
func New(io *socket.Server, parts Parts, config Config) (*Gateway, error) {
	g, err := newGateway(parts, config)
	if err != nil {
		return nil, err
	}
	return g, io.On("connection", func(args ...any) {
		if s, ok := args[0].(*socket.Socket); ok {
			g.connect(s)
		}
	})
}

func newGateway(parts Parts, config Config) (*Gateway, error) {
	if parts.Verifier == nil || parts.Revocations == nil || parts.Filter == nil || parts.Topics == nil {
		return nil, errors.New("a gateway needs a verifier, revocations, a filter and topics")
	}
	if parts.Pools == nil {
		parts.Pools = nowhere{}
	}
	if parts.Requests == nil {
		parts.Requests = nowhere{}
	}
	config = config.withDefaults()
	l := config.Limits
	g := &Gateway{
		config: config, limits: l, log: config.Logger,
		verifier: parts.Verifier, revocations: parts.Revocations, filter: parts.Filter, topics: parts.Topics,
		pools: parts.Pools, backend: parts.Requests, interpreter: parts.Interpreter,
		outlet: engineOutlet{}, spectators: newSpectators(), bearers: newBearers(), flights: newFlights(),
		users:     newLimiters(l.UserRate, l.UserBurst, l.Remembered),
		addresses: newLimiters(l.AddressRate, l.AddressBurst, l.Remembered),
		sessions:  map[*engine.Conn]*session{}, slots: newSlots(l), reads: make(chan struct{}, maxReads),
	}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	g.pages = newRounds[*page](g.ctx, g.spawn, pagesHeld, true)
	g.results = newRounds[[]entity](g.ctx, g.spawn, resultsHeld, false)
	g.directories = directory.New(g.pools, g.topics, directory.Options{
		MaxEntries: l.SearchEntries, MaxPools: l.SearchPools, Logger: g.log,
	})
	g.stragglers = newStragglers(g)
	var err error
	if g.metrics, err = newMetrics(config.Registerer, g); err != nil {
		return nil, err
	}
	return g, nil
}

// Run waits until ctx ends, which it should after the clients are gone. Then it ends the sessions that are left, releases
// their subscriptions, and returns nil once nothing runs on their behalf. It may be called once.
func (g *Gateway) Run(ctx context.Context) error {
	if err := g.life.Begin(); err != nil {
		return fmt.Errorf("run gateway: %w", err)
	}
	var running sync.WaitGroup
	running.Go(func() { _ = g.directories.Run(ctx) }) // fails if it was run before
	<-ctx.Done()
	g.mu.Lock()
	g.closed = true
	left := g.sessions
	g.sessions = map[*engine.Conn]*session{}
	g.mu.Unlock()
	for _, s := range left {
		s.close()
	}
	g.cancel()
	running.Wait()
	g.goroutines.Wait()
	return nil
}

// begin counts the caller among those that Run waits for, until it calls g.goroutines.Done; or it is false, and the
// gateway closed.
func (g *Gateway) begin() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.goroutines.Add(1)
	return true
}

// spawn runs f in a goroutine that Run waits for.
func (g *Gateway) spawn(f func()) bool {
	ok := g.begin()
	if ok {
		go func() {
			defer g.goroutines.Done()
			f()
		}()
	}
	return ok
}
