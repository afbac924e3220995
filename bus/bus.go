// Package bus is Redis pub/sub that survives the loss of Redis: subscriptions are confirmed, reference-counted and
// restored after every loss, messages come in order, and publishing never blocks the caller.
//
// A Bus opens its own connections with the settings of a go-redis client (standalone, Sentinel or Cluster): one to
// receive, one to publish, and in a cluster one more per primary for sharded pub/sub. The PubSub of go-redis reconnects
// silently, drops messages when its channel is full, and can't tell which command an error answers; see
// docs/decisions/0009-own-pubsub-connection.md.
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
	// ErrUnsupported is returned if the client or its server lacks what the call needs.
	ErrUnsupported = errors.New("not supported")
	// ErrRefused is wrapped if Redis refuses a command, and would again: NOPERM, WRONGPASS, an unknown command.
	ErrRefused = errors.New("redis refuses")
	// ErrUnauthenticated is wrapped, in addition to ErrRefused, if Redis rejects the user or the password.
	ErrUnauthenticated = errors.New("redis does not take the user or the password")
)

// Options configure a Bus. The zero value works.
type Options struct {
	// Logger receives what an operator must know; nil discards.
	Logger *slog.Logger

	// Name is given to the connections (CLIENT SETNAME), with "-sub" or "-pub" appended. Default "guildcast".
	Name string

	// OnState is called after every change of State, in order, on a goroutine of the Bus's own. It must not call Close.
	OnState func(State)

	// ProbePrefix starts the names of the private channels on which a new connection verifies that it hears what is
	// published. With ACLs the user needs the right to subscribe and publish to them. Default "guildcast-probe:".
	ProbePrefix string

	// PublishQueueBytes bounds the messages that wait for Redis. Beyond it Publish drops the message and returns
	// ErrQueueFull. Default 16 MiB.
	PublishQueueBytes int

	// ReceiveQueueBytes bounds the messages that wait for the handler of one Subscription. At the bound the Bus stops
	// reading from the connection, at most for ReceiveStall, so that Redis buffers. Then it drops messages, counts them
	// in Stats.ReceiveDropped, and announces them in Message.Missed. Default 16 MiB.
	ReceiveQueueBytes int

	// ReceiveStall is how long a full Subscription may hold up the others of its connection. Default 500 ms.
	ReceiveStall time.Duration

	// MaxMessageBytes bounds one message; a larger one is skipped and counted in Stats.ReceiveDropped. Default 64 MiB.
	MaxMessageBytes int

	// HealthInterval sets how long a silent Redis is tolerated. After at most a quarter of it the Bus sends a PING.
	// After at most the whole interval State.Hearing is false. After two intervals the Bus closes the connection.
	// Default 3 s.
	HealthInterval time.Duration

	// CheckInterval is how often a Bus checks that its server is still the primary to which the client's address or
	// Sentinels lead. Default 1.5 s.
	CheckInterval time.Duration

	// OnMoved is called if the client's address or Sentinels lead to another server than before. Connections that were
	// made before since may lead to the former one. The Bus renews its own, but can't renew those of the client's pool.
	// OnMoved must not call the Bus.
	OnMoved func(since time.Time)

	// BackoffMin and BackoffMax bound the pause before reconnecting, which doubles with every failure and is jittered
	// by half. Defaults 50 ms and 3 s.
	BackoffMin, BackoffMax time.Duration
}

// DefaultOptions returns the defaults of the bounds of a Bus's queues.
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

// State says whether the Bus receives what is published.
type State struct {
	// Hearing reports whether every subscription is confirmed and a test message came back on every connection.
	Hearing bool
	// Gap reports whether messages may have been missed since Hearing was last true.
	Gap bool
	// ShardsOnly reports, when Hearing is true again, whether only messages of sharded channels can have been missed.
	ShardsOnly bool
	// Down is how long Hearing was false, when it is true again.
	Down time.Duration
	// Doubted says, when Hearing is true again, of which subscriptions messages may have been missed: those whose epoch
	// is not greater. Later ones were made after whatever happened.
	Doubted uint64
	// Err is why Hearing is false.
	Err error
}

// Stats are counters since New. They only grow, except for Queued, QueuedBytes, Subscriptions and UnconfirmedSubs.
type Stats struct {
	Received        uint64 // messages handed to a Subscription's queue
	ReceiveSkipped  uint64 // messages that no handler wanted, see Filter
	ReceiveDropped  uint64 // messages lost in this process: the queue was full, or they exceeded MaxMessageBytes
	Published       uint64 // messages that Redis accepted
	PublishDropped  uint64 // messages refused with ErrQueueFull or ErrClosed, or refused by Redis
	PublishUnknown  uint64 // messages whose connection broke before Redis answered: delivered or not, never sent twice
	Queued          int    // messages that wait for Redis
	QueuedBytes     int
	Connects        uint64 // receiving connections opened
	Losses          uint64 // receiving connections lost
	Subscriptions   int    // channels and patterns that are wanted
	UnconfirmedSubs int    // those of Subscriptions that Redis has not confirmed yet, or not again
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
	doubted  uint64  // the last epoch that was given before the latest loss or doubt
	news     []State // announced by notifyLoop
	watchers map[int]func(State)
	watchID  int
	moves    []time.Time // in the last minute
	balanced bool        // the log has that there are too many

	reroute wake.Signal // unrouted changed; read by routeLoop
	noted   wake.Signal // news changed; read by notifyLoop
}

// New returns a Bus that uses the settings of client. The caller closes client, after the Bus. The Bus connects when it
// first needs to. Call Close to end it.
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

// Watch calls f in the same way as Options.OnState until stop is called. One call of f may still be running after stop
// has returned.
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

// State returns the current state. Without subscriptions Hearing is false.
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

// closeGrace is how long Close waits for goroutines if flushing has used up ctx. They end at once, except for handlers.
const closeGrace = 250 * time.Millisecond

// Close publishes what is queued, ends all subscriptions and waits for every goroutine. If ctx ends first it drops the
// rest and returns ctx's error. It must not be called from a handler.
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

// Flush waits until Redis has answered every message that was published before, or the message was dropped.
func (b *Bus) Flush(ctx context.Context) error { return b.pub.flush(ctx) }

// Publish queues payload for a channel of kind k, Channel or Shard, and does not wait for Redis. With Channel, the
// messages of one goroutine arrive in order over all channels, even in a cluster. With Shard in a cluster, only
// messages of one channel, or of channels with the same hash tag, arrive in order.
//
// The error is ErrQueueFull, ErrClosed or ErrUnsupported; the message is then dropped. The Bus keeps payload: do not
// change it afterwards.
func (b *Bus) Publish(k Kind, channel string, payload []byte) error {
	if k != Channel && k != Shard {
		return fmt.Errorf("publish to %q: %w: not a channel", channel, ErrUnsupported)
	}
	return b.pub.add(outgoing{channel: channel, payload: payload, sharded: k == Shard})
}
