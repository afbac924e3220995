// Package handlers answers the events of guildcast's clients and delivers guild events to them.
// docs/reference/protocol.md describes the events as a browser sees them.
//
// The files, in the order in which an event passes through them:
//
//   - The gateway: gateway.go builds and closes it; config.go, limits.go, metrics.go; explain.go (for operators: who
//     gets an event).
//   - From a client: connection.go (a socket connects and leaves), cookie.go (a token in a cookie), address.go (whose
//     address counts), session.go, admit.go and glance.go (before an event is decoded), rate.go, dispatch.go and
//     events.go (which handler), payload.go (what it reads), request.go.
//   - Requests: elevation.go, token.go, spectate.go and view.go (what a socket spectates); as tasks: task.go, slots.go,
//     pool.go (the query), poolanswer.go, poolpart.go, poolsearch.go, idset.go, rounds.go and poolpage.go (what equal
//     requests share), poolbackend.go, interpret.go, queue.go, backend.go.
//   - To a client: outlet.go, contexts.go (what is compressed together), errors.go.
//   - From Redis: guildevent.go, backlogs.go (a guild waits, others don't), complaints.go, stream.go (a guild's events
//     in order), flights.go (deliveries under way), stragglers.go (clients that are behind), resync.go, spectators.go.
//   - The past, for a client that comes back or reads slowly: replay.go (what a client asks for), window.go (what is
//     kept in memory and read from the history), follower.go (replays it to one socket until that is live).
//   - The end of an elevation: expiry.go, bearers.go (who has claims, for revocations), revocation.go, demotion.go.
//
// Words that have one meaning here:
//
//   - A session is what this node knows about one socket. (Sessions of Engine.IO are the engine's own business.)
//   - A request is an event that a client sends. An answer is what the client gets for it: one event or, for a pool,
//     several parts. A push is an event that nobody asked for.
//   - A task is a request that is answered beside the events that follow it.
//   - The backend is the bot's workers. What they send is a reply.
package handlers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/handlers/directory"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/internal/service"
	"github.com/architus/guildcast/internal/throttle"
	"github.com/architus/guildcast/permissions"
)

// verifier verifies tokens and returns their claims: token.Verifier.
type verifier interface {
	Verify(ctx context.Context, token string) (*permissions.Claims, error)
}

// revocations reports which tokens were revoked: permissions.Revocations.
type revocations interface {
	Revoked(c *permissions.Claims, now time.Time) bool
}

// topics subscribes to the event streams of guilds: redis.Topics.
type topics interface {
	// Acquire returns once Redis has confirmed the subscription. The caller must call release once to give it up.
	// Messages go to Gateway.Message, in order.
	Acquire(ctx context.Context, t event.Topic) (release func(), err error)

	// Position returns the position of the guild's latest durable event that was passed to Gateway.Message. If there
	// was none since its topic was acquired, that is the end of its history. It returns false if the history can't be
	// read.
	Position(guild string) (history.Position, bool)

	// Passed returns the latest position of a guild at the time of the call, once Gateway.Message has taken every event
	// up to it. It returns false if the history can't be read or ctx ends.
	Passed(ctx context.Context, guild string) (history.Position, bool)
}

// pastReader reads the histories of guilds: history.Reader.
type pastReader interface {
	// After returns at most max entries that came after position p, oldest first.
	After(ctx context.Context, guild string, p history.Position, max int) (history.Page, error)

	// Last returns the ends of guilds' histories, in the order of guilds.
	Last(ctx context.Context, guilds []string) ([]history.Last, error)
}

// Parts are the collaborators of a gateway.
type Parts struct {
	// Required.

	Verifier    verifier
	Revocations revocations
	Filter      *permissions.Filter[*engine.Conn]
	Topics      topics

	// Optional. If one is nil, requests that need it are answered with a 503.

	Pools   pools
	Backend backend

	// History is read to replay past events. If it is nil, nothing is replayed.
	History pastReader

	// Interpreter answers `interpret`. If it is nil, the backend does.
	Interpreter interpreter
}

// Gateway serves the clients of one Socket.IO server. All methods may be called concurrently.
type Gateway struct {
	config  Config
	bounds  atomic.Pointer[Limits] // see limits and SetLimits
	log     *slog.Logger
	metrics *metrics

	verifier    verifier
	revocations revocations
	filter      *permissions.Filter[*engine.Conn]
	topics      topics
	pools       pools
	backend     backend
	interpreter interpreter // may be nil
	history     pastReader
	outlet      outlet
	contexts    *contexts // nil: events are not compressed together

	directories *directory.Set
	spectators  *spectators
	streams     *streams
	replays     tally // recalls in progress: clients wait for them
	backlogs    *backlogs
	bearers     *bearers
	stragglers  *stragglers
	resyncs     *resyncs
	complaints  throttle.Minutely[complaint]
	batches     sync.Pool // of *batches
	flights     *flights
	users       *limiters
	addresses   *limiters
	connects    *connects
	slots       *slots // of pool and interpret requests

	pages   *rounds[*page]    // of the cache, for pool requests
	results *rounds[[]entity] // of workers, for pool requests
	pasts   chan struct{}     // holds a token for each history that is being read
	reads   chan struct{}     // holds a token for each page that is being read

	life   service.Life
	ctx    context.Context // ends with Run
	cancel context.CancelFunc

	// Guarded by mu.
	mu       sync.Mutex
	closed   bool
	sessions map[*engine.Conn]*session // a connection has at most one socket in the namespace

	goroutines sync.WaitGroup // Add only under mu and while not closed
}

// New returns a gateway that serves the clients that connect to io's namespace "/" from now on. Io must come from
// engine.NewServer: other engines neither keep a client's events in order nor deliver to an engine.Conn. The engine's
// option Admit should be the gateway's Admit.
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
	if parts.Backend == nil {
		parts.Backend = nowhere{}
	}
	if parts.History == nil {
		parts.History = nowhere{}
	}
	config = config.withDefaults()
	l := config.Limits
	g := &Gateway{
		config: config, log: config.Logger,
		verifier: parts.Verifier, revocations: parts.Revocations, filter: parts.Filter, topics: parts.Topics,
		pools: parts.Pools, backend: parts.Backend, interpreter: parts.Interpreter, history: parts.History,
		outlet: engineOutlet{}, spectators: newSpectators(), bearers: newBearers(), flights: newFlights(),
		users:     newLimiters(l.UserRate, l.UserBurst, l.Remembered),
		addresses: newLimiters(l.AddressRate, l.AddressBurst, l.Remembered),
		contexts:  newContexts(config.ShareCompression),
		sessions:  map[*engine.Conn]*session{}, connects: newConnects(l), slots: newSlots(l),
		pasts: make(chan struct{}, maxPastReads), reads: make(chan struct{}, maxReads),
	}
	if config.Sent != nil {
		g.outlet = watchedOutlet{g.outlet, g}
	}
	g.bounds.Store(&l)
	g.replays.max.Store(int64(l.NodeReplays))
	g.ctx, g.cancel = context.WithCancel(context.Background())
	g.pages = newRounds[*page](g.ctx, g.spawn, bound(l.PageBytes), true)
	g.results = newRounds[[]entity](g.ctx, g.spawn, bound(l.ResultBytes), false)
	g.directories = directory.New(g.pools, g.topics, directory.Options{
		MaxEntries: l.SearchEntries, MaxPools: l.SearchPools, Logger: g.log,
	})
	g.backlogs, g.stragglers = newBacklogs(g), newStragglers(g)
	g.resyncs, g.streams = newResyncs(g), newStreams(g)
	var err error
	if g.metrics, err = newMetrics(config.Registerer, g); err != nil {
		return nil, err
	}
	return g, nil
}

// Run serves until ctx ends; end it after the clients are gone. Then it ends the remaining sessions, releases their
// subscriptions, and returns nil once their goroutines have ended. Call it at most once.
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

// begin makes Run wait until the caller calls g.goroutines.Done. It returns false if the gateway is closed.
func (g *Gateway) begin() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.goroutines.Add(1)
	return true
}

// spawn runs f in a goroutine that Run waits for. It returns false, and runs nothing, if the gateway is closed.
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
