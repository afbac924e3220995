package adapter

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter/bus"
	"github.com/architus/guildcast/engine"
)

// ShardedOptions of NewSharded. The zero value works.
type ShardedOptions struct {
	// ChannelPrefix is the prefix of all channels. Default "socket.io". It must be the same on every server.
	ChannelPrefix string

	// SubscriptionMode says which rooms have channels of their own. Default Dynamic. It must be the same on every
	// server; an unknown mode is Dynamic, and logged.
	SubscriptionMode SubscriptionMode

	// RequestsTimeout is how long answers of other servers are waited for. Default 5 s.
	RequestsTimeout time.Duration

	// Logger receives what an operator must know; nil discards.
	Logger *slog.Logger

	// OnState is called when Redis is lost, and when it is found again and was verified to be heard. It must not close
	// the server.
	OnState func(bus.State)

	// Bus is used instead of a connection of the adapter's own. It must not be shared by two servers of one process:
	// they would be counted as one. It is not closed by the adapter.
	Bus *bus.Bus
}

func (o *ShardedOptions) setDefaults() {
	if o.ChannelPrefix == "" {
		o.ChannelPrefix = defaultPrefix
	}
	if o.RequestsTimeout <= 0 {
		o.RequestsTimeout = 5 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	switch o.SubscriptionMode = o.SubscriptionMode.orDefault(); o.SubscriptionMode {
	case Static, Dynamic, DynamicPrivate:
	default:
		o.Logger.Error("unknown subscription mode: dynamic is used", "mode", string(o.SubscriptionMode))
		o.SubscriptionMode = Dynamic
	}
}

// Sharded makes the adapters of a server's namespaces; it is a socket.AdapterConstructor.
type Sharded struct {
	// Static after construction.
	client redis.UniversalClient
	opts   ShardedOptions
	count  counters

	// Guarded by mu.
	mu    sync.Mutex
	buses map[*socket.Server]*serverBus
}

// NewSharded returns the constructor of adapters that use sharded pub/sub (Redis 7), for
// socket.ServerOptions.SetAdapter. They speak the protocol of createShardedAdapter of @socket.io/redis-adapter 8, on
// one Redis or on a Redis Cluster, where every channel lives on the primary of its slot. Client, connecting and Ready
// are as with New.
func NewSharded(client redis.UniversalClient, opts ShardedOptions) *Sharded {
	opts.setDefaults()
	return &Sharded{client: client, opts: opts, buses: map[*socket.Server]*serverBus{}}
}

// New implements socket.AdapterConstructor.
func (c *Sharded) New(nsp socket.Namespace) socket.Adapter {
	a := &sharded{Adapter: engine.MakeAdapter(), Sharded: c, bus: c.acquire(nsp.Server()), uid: randomHex()}
	a.Prototype(a)
	a.Construct(nsp)
	a.start()
	return a
}

// Stats returns the counters of all namespaces together.
func (c *Sharded) Stats() Stats {
	s := c.count.stats()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.buses {
		s.Bus = b.bus.Stats()
	}
	return s
}

func (c *Sharded) acquire(server *socket.Server) *bus.Bus {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.buses[server]
	if b == nil {
		b = &serverBus{bus: c.opts.Bus}
		if b.bus == nil {
			b.bus = bus.New(c.client, bus.Options{
				Logger: c.opts.Logger, OnState: c.opts.OnState, ProbePrefix: c.opts.ChannelPrefix + "-probe#",
			})
		}
		c.buses[server] = b
	}
	b.refs++
	return b.bus
}

func (c *Sharded) release(server *socket.Server) {
	c.mu.Lock()
	b := c.buses[server]
	b.refs--
	last := b.refs == 0
	if last {
		delete(c.buses, server)
	}
	c.mu.Unlock()
	if !last || b.bus == c.opts.Bus {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := b.bus.Close(ctx); err != nil {
		c.opts.Logger.Warn("connection to redis was not closed in order", "err", err)
	}
}

// randomHex returns 16 hex digits, as the ids of servers and requests are in this protocol.
func randomHex() string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// sharded is the adapter of one namespace. Two queues are handled beside the application's goroutines, each in the
// order of arrival: what other servers want, and what they answer, so that whoever handles the former may wait for the
// latter. The application's listeners run on a lane, so that a slow one holds up neither for long.
type sharded struct {
	*engine.Adapter
	*Sharded // what all namespaces share

	// Static after start.
	bus    *bus.Bus
	uid    string // of this server in this namespace
	nsp    string
	base   string // channel of messages to all; those to one room may be on base + room + "#"
	answer string // channel of responses to us
	own    []byte // how our JSON messages end
	heard  *bus.Subscription
	told   *bus.Subscription
	ready  [2]*bus.Pending // the subscriptions to answer and base
	run    context.Context
	stop   context.CancelCauseFunc

	pending   pending
	acks      ackRequests
	counting  countBarrier
	listeners lane
	rooms     roomSubscriptions
	servers   atomic.Int64 // the count that Redis gave last, for when it gives none

	wg     sync.WaitGroup
	closed sync.Once
}

// start subscribes. It returns when Redis has confirmed that, or after startTimeout; the bus then goes on by itself.
func (a *sharded) start() {
	a.nsp = a.Nsp().Name()
	a.base = a.opts.ChannelPrefix + "#" + a.nsp + "#"
	a.answer = a.base + a.uid + "#"
	a.own = ownSuffix(a.uid, a.nsp)
	a.run, a.stop = context.WithCancelCause(context.Background())
	a.listeners = lane{limit: maxListenerCalls, logger: a.opts.Logger, wg: &a.wg}
	a.heard = a.bus.NewSubscription(shardedReceiver{a})
	a.told = a.bus.NewSubscription(bus.HandlerFunc(a.onResponse))
	a.rooms = roomSubscriptions{a: a, held: map[socket.Room]*bus.Pending{}}
	// Responses first: once the base channel is heard, this server is counted, and asks others.
	a.ready[0] = a.told.SWant(a.answer)
	a.ready[1] = a.heard.SWant(a.base)
	ctx, cancel := context.WithTimeout(a.run, startTimeout)
	defer cancel()
	if err := a.subscribed(ctx); err != nil {
		a.opts.Logger.Error("adapter does not hear the cluster yet", "namespace", a.nsp, "err", err)
	}
}

// Ready waits until Redis has confirmed all subscriptions, and asks it for the rest that the adapter needs. See the
// function Ready.
func (a *sharded) Ready(ctx context.Context) error {
	if err := a.subscribed(ctx); err != nil {
		return err
	}
	if a.run.Err() != nil {
		return ErrClosed
	}
	if _, err := a.countServers(ctx); err != nil {
		return err
	}
	return a.bus.SPublishNow(ctx, a.answer, nil) // only we hear it
}

// subscribed waits until Redis has confirmed all subscriptions, or has refused one.
func (a *sharded) subscribed(ctx context.Context) error {
	for _, p := range a.ready {
		if err := p.Wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Close leaves the cluster. The library calls it when the server or a dynamic namespace is closed.
func (a *sharded) Close() {
	a.closed.Do(func() {
		a.stop(ErrClosed)
		a.heard.Close()
		a.told.Close()
		a.listeners.close()
		a.acks.close()
		done := make(chan struct{})
		go func() { // ends with the last goroutine of the adapter
			a.wg.Wait()
			close(done)
		}()
		select {
		case <-done:
		case <-time.After(closeTimeout): // a listener, or a callback, does not return: it may be the one that closes
			a.opts.Logger.Warn("adapter closed while a callback is still running", "namespace", a.nsp)
		}
		a.release(a.Nsp().Server())
		a.Adapter.Close()
	})
}
