// Package bus is Redis pub/sub that survives: subscriptions that are confirmed, reference-counted and restored after
// every loss, delivery in order, and publishing that never blocks its caller.
//
// A Bus opens connections of its own with the settings of a go-redis client (standalone, Sentinel or Cluster): one
// for all that it hears, one more per primary for sharded pub/sub in a cluster, and one to publish. go-redis's own
// PubSub reconnects silently, drops messages when its channel is full, and can't tell which command an error answers;
// see docs/decisions/0009-own-pubsub-connection.md.
package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/internal/defaults"
	"github.com/architus/guildcast/internal/throttle"
	"github.com/architus/guildcast/internal/wake"
)

// Errors that callers branch on. They come wrapped with the operation and the channel.
var (
	// ErrClosed is returned by every method of a closed Bus or Subscription.
	ErrClosed = errors.New("bus is closed")
	// ErrQueueFull is returned by Publish while more than Options.PublishQueueBytes wait for Redis.
	// The message was dropped, and counted in Stats.PublishDropped.
	ErrQueueFull = errors.New("publish queue is full")
	// ErrUnsupported is returned if the client, or the server behind it, can't do what was asked.
	ErrUnsupported = errors.New("not supported")
	// ErrRefused is wrapped if Redis understood, and will refuse again: NOPERM, WRONGPASS, an unknown command.
	ErrRefused = errors.New("redis refuses")
	// ErrUnauthenticated is wrapped, beside ErrRefused, if Redis does not take the user or the password.
	ErrUnauthenticated = errors.New("redis does not take the user or the password")
)

// Options of a Bus. The zero value works.
type Options struct {
	// Logger receives what an operator must know; nil discards.
	Logger *slog.Logger

	// Name is given to the connections (CLIENT SETNAME), with "-sub" or "-pub" appended. Default "guildcast".
	Name string

	// OnState is called after every change of State, in order, on a goroutine of the Bus's own. It must not call Close.
	OnState func(State)

	// ProbePrefix starts the names of the private channels on which a new connection verifies that it hears what is
	// published. Where Redis has ACLs the user needs subscribe and publish rights on them. Default "guildcast-probe:".
	ProbePrefix string

	// PublishQueueBytes bounds what waits for Redis: when it is full, Publish drops and returns ErrQueueFull.
	// Default 16 MiB.
	PublishQueueBytes int

	// ReceiveQueueBytes bounds what waits for the handler of one Subscription. When it is full the connection is not
	// read for ReceiveStall at most, so that Redis buffers; then messages are dropped, counted in
	// Stats.ReceiveDropped, and announced in Message.Missed. Default 16 MiB.
	ReceiveQueueBytes int

	// ReceiveStall is how long a full Subscription may hold up the others of its connection. Default 500 ms.
	ReceiveStall time.Duration

	// MaxMessageBytes bounds one message; a larger one is skipped and counted in Stats.ReceiveDropped. Default 64 MiB.
	MaxMessageBytes int

	// HealthInterval is the unit of patience with a silent Redis: within a quarter of it Redis is asked for a sign of
	// life, within three quarters more the Bus no longer claims to hear, and after two the connection is given up.
	// Default 3 s.
	HealthInterval time.Duration

	// CheckInterval is how often a Bus looks whether the server that it is connected to is still the primary to which
	// the client's address, or its Sentinels, lead. Default 1.5 s.
	CheckInterval time.Duration

	// OnMoved is called if the client's address, or its Sentinels, lead to another server than before. Connections that
	// the client made before since may lead to the former one: the Bus renews its own, and can't reach those of the
	// client's pool. It must not call the Bus.
	OnMoved func(since time.Time)

	// BackoffMin and BackoffMax bound the pause before reconnecting, which doubles with every failure and is jittered
	// by half. Defaults 50 ms and 3 s.
	BackoffMin, BackoffMax time.Duration
}

// DefaultOptions returns the defaults of what bounds the queues of a Bus.
func DefaultOptions() Options {
	return Options{PublishQueueBytes: 16 << 20, ReceiveQueueBytes: 16 << 20, ReceiveStall: 500 * time.Millisecond}
}

func (o *Options) setDefaults() {
	d := DefaultOptions()
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	o.Name = cmp.Or(o.Name, "guildcast")
	o.ProbePrefix = cmp.Or(o.ProbePrefix, "guildcast-probe:")
	o.PublishQueueBytes = defaults.Positive(o.PublishQueueBytes, d.PublishQueueBytes)
	o.ReceiveQueueBytes = defaults.Positive(o.ReceiveQueueBytes, d.ReceiveQueueBytes)
	o.ReceiveStall = defaults.Positive(o.ReceiveStall, d.ReceiveStall)
	o.MaxMessageBytes = defaults.Positive(o.MaxMessageBytes, 64<<20)
	o.HealthInterval = defaults.Positive(o.HealthInterval, 3*time.Second)
	o.CheckInterval = defaults.Positive(o.CheckInterval, 1500*time.Millisecond)
	o.BackoffMin = defaults.Positive(o.BackoffMin, 50*time.Millisecond)
	o.BackoffMax = defaults.Positive(o.BackoffMax, 3*time.Second)
}

// State is what the Bus knows about its own hearing.
type State struct {
	// Hearing reports whether every subscription is confirmed and a message of our own came back on every connection.
	Hearing bool
	// Gap reports whether messages may have been missed since the last time that Hearing was true.
	Gap bool
	// ShardsOnly reports, if Hearing is true again, whether they can have been missed on sharded channels only:
	// channels and patterns were heard all the time.
	ShardsOnly bool
	// Down is how long Hearing was false, if it is true again.
	Down time.Duration
	// Err is why Hearing is false.
	Err error
}

// Stats are counters since New; all but Queued and QueuedBytes only grow.
type Stats struct {
	Received        uint64 // messages handed to a Subscription's queue
	ReceiveSkipped  uint64 // messages that no handler wanted, see Filter
	ReceiveDropped  uint64 // messages lost here: a full queue, or over MaxMessageBytes
	Published       uint64 // messages that Redis accepted
	PublishDropped  uint64 // messages refused with ErrQueueFull or ErrClosed, or refused by Redis
	PublishUnknown  uint64 // messages whose connection broke before Redis answered: delivered or not, never sent twice
	Queued          int    // messages that wait for Redis
	QueuedBytes     int
	Connects        uint64 // receiving connections opened
	Losses          uint64 // receiving connections lost
	Subscriptions   int    // channels and patterns that are wanted
	UnconfirmedSubs int    // those of them that Redis has not confirmed (again) yet
}

// Bus is pub/sub over one go-redis client. All methods may be called concurrently.
//
// Lock order: Bus.mu before Subscription.mu. Neither is held across I/O, a handler or a callback.
type Bus struct {
	// Static after construction.
	opts   Options
	router router
	client redis.UniversalClient
	ctx    context.Context // ends with the Bus
	cancel context.CancelFunc
	pub    *publisher
	wg     sync.WaitGroup // Add only under mu while not closed, or from a goroutine that it counts

	received, skipped, recvDropped, connects, losses atomic.Uint64

	// the run id of the server that the client's name led to last, but for a cluster
	primary    atomic.Pointer[string]
	movedAt    atomic.Pointer[time.Time] // connections made before lead to the former server; nil: there was none
	complained atomic.Bool               // that Redis refuses to say who it is

	// Guarded by mu.
	mu       sync.Mutex
	closed   bool
	started  bool // routeLoop and notifyLoop run
	topics   [kinds]map[string]*topic
	unrouted map[*topic]struct{} // wanted, and attached to no link
	links    map[route]*link
	retry    map[route]*backoff // of routes whose last link failed
	plain    bool               // channels or patterns may not have been heard since the last State with Hearing
	lost     int                // topics that were lost and are not confirmed again
	epochs   uint64             // the last epoch of a topic
	reason   string             // the last reason for which Redis is lost that was logged
	lastErr  error              // of the last link that ended
	reasons  throttle.Minutely[string]
	state    State
	hush     bool // nothing was announced yet
	since    time.Time
	news     []State // announced by notifyLoop
	watchers map[int]func(State)
	watchID  int
	moves    []time.Time // in the last minute
	balanced bool        // the log has that there are too many

	reroute wake.Signal // unrouted changed; read by routeLoop
	noted   wake.Signal // news changed; read by notifyLoop
}

// New returns a Bus over client, which stays the caller's and must outlive it. Nothing is connected before it is
// needed. Close ends it.
func New(client redis.UniversalClient, o Options) *Bus {
	o.setDefaults()
	ctx, cancel := context.WithCancel(context.Background())
	b := &Bus{
		opts: o, client: client, ctx: ctx, cancel: cancel,
		unrouted: map[*topic]struct{}{}, links: map[route]*link{}, retry: map[route]*backoff{},
		watchers: map[int]func(State){}, hush: true,
		reroute: wake.New(), noted: wake.New(),
	}
	b.router = newRouter(b, client)
	for k := range b.topics {
		b.topics[k] = map[string]*topic{}
	}
	if o.OnState != nil {
		b.Watch(o.OnState)
	}
	b.pub = newPublisher(b)
	return b
}

// startLocked runs the loops that subscriptions need.
func (b *Bus) startLocked() {
	if b.started {
		return
	}
	b.started = true
	b.wg.Go(b.routeLoop)
	b.wg.Go(b.notifyLoop)
}

// Watch has f called as Options.OnState is, until stop is called; one call may still be running then.
func (b *Bus) Watch(f func(State)) (stop func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := b.watchID
	b.watchID++
	b.watchers[id] = f
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.watchers, id)
	}
}

// State returns the present state. A Bus without subscriptions does not hear.
func (b *Bus) State() State {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state
}

// Stats returns the counters.
func (b *Bus) Stats() Stats {
	s := Stats{
		Received: b.received.Load(), ReceiveSkipped: b.skipped.Load(), ReceiveDropped: b.recvDropped.Load(),
		Connects: b.connects.Load(), Losses: b.losses.Load(),
	}
	b.pub.stats(&s)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, ts := range b.topics {
		for _, t := range ts {
			if len(t.subs) == 0 {
				continue
			}
			s.Subscriptions++
			if !t.held() {
				s.UnconfirmedSubs++
			}
		}
	}
	return s
}

// closeGrace is what Close waits for goroutines if ctx was used up by flushing: they end at once, but for handlers.
const closeGrace = 250 * time.Millisecond

// Close publishes what is queued, ends all subscriptions and waits for every goroutine, all while ctx lasts; then it
// drops the rest and returns ctx's error. It must not be called from a handler.
func (b *Bus) Close(ctx context.Context) error {
	flushErr := b.pub.close(ctx)
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.cancel()
	done := make(chan struct{})
	go func() { // ends with the last goroutine of the Bus
		b.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return flushErr
	case <-ctx.Done():
	}
	grace := time.NewTimer(closeGrace)
	defer grace.Stop()
	select {
	case <-done:
		return flushErr
	case <-grace.C:
		return fmt.Errorf("close bus: %w", ctx.Err())
	}
}

// Flush waits until all that was published before has been answered by Redis, or dropped.
func (b *Bus) Flush(ctx context.Context) error { return b.pub.flush(ctx) }

// Publish queues payload for a channel of kind k, Channel or Shard, and returns without waiting for Redis. What one
// goroutine publishes with Channel arrives in order, over all channels, even in a cluster. With Shard, in a cluster,
// only the messages of one channel, or of channels with the same hash tag, are in order.
//
// If it fails, with ErrQueueFull, ErrClosed or ErrUnsupported, the message is dropped, and counted if the queue was
// full or the Bus closed. The Bus keeps payload, which must not be changed afterwards.
func (b *Bus) Publish(k Kind, channel string, payload []byte) error {
	if k != Channel && k != Shard {
		return fmt.Errorf("publish to %q: %w: not a channel", channel, ErrUnsupported)
	}
	return b.pub.add(outgoing{channel: channel, payload: payload, sharded: k == Shard})
}
