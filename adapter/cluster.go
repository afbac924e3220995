package adapter

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/engine"
)

// cluster connects one namespace of this server with the other servers: it sends them messages and requests, and serves
// theirs. The adapters of both protocols embed it, and implement its protocol.
//
// Three goroutines run beside the application's. One handles the messages and requests of other servers, in the order
// of arrival. One handles their answers, so that the first may wait for an answer. The lane runs the application's
// listeners, so that a slow listener holds up neither for long.
type cluster struct {
	*engine.Adapter
	*constructor
	pubsub

	// Static after start.
	protocol protocol
	nsp      string
	uid      string // of this server in this namespace
	newID    func() string
	base     string // channel of messages to all; those to one room may be on base + room + "#"
	counted  string // channel whose subscribers are the servers
	answers  string // channels of responses to one server are answers + its uid + "#"
	isServer func(uid string) bool
	isOwn    func(payload []byte) bool // reports, without decoding, whether a message is ours
	heard    *bus.Subscription
	told     *bus.Subscription
	ready    []*bus.Pending // subscriptions that the adapter needs
	run      context.Context
	stop     context.CancelCauseFunc

	pending   pending
	acks      ackRequests
	counting  countBarrier
	listeners lane
	rooms     rooms
	servers   atomic.Int64 // the last count that Redis returned, for use when it returns none

	wg     sync.WaitGroup
	closed sync.Once
}

// protocol encodes and decodes messages, and chooses their channels.
type protocol interface {
	// send queues m for the other servers.
	send(m message) error
	// onMessage serves a message of another server or an emitter.
	onMessage(channel string, payload []byte) error
	// onResponse takes an answer, which may be meant for another server.
	onResponse(payload []byte) error
}

// maxListenerCalls bounds the calls of listeners that wait behind a slow one. Further calls are dropped and counted.
const maxListenerCalls = 10_000

// init prepares c for a namespace, before anything is subscribed to.
func (c *cluster) init(p protocol, from *constructor, nsp socket.Namespace, kind bus.Kind) {
	c.constructor, c.protocol, c.nsp = from, p, nsp.Name()
	c.pubsub = pubsub{bus: from.acquire(nsp.Server()), kind: kind}
	c.run, c.stop = context.WithCancelCause(context.Background())
	c.listeners = lane{limit: maxListenerCalls, logger: c.logger, wg: &c.wg}
	c.servers.Store(1)
	c.heard = c.bus.NewSubscription(receiver{c})
	c.told = c.bus.NewSubscription(bus.HandlerFunc(c.onAnswer))
	c.rooms = rooms{c: c, held: map[socket.Room]*bus.Pending{}}
}

// start returns when Redis has confirmed all subscriptions, or after times.start, when the bus goes on by itself.
func (c *cluster) start() {
	ctx, cancel := context.WithTimeout(c.run, c.times.start)
	defer cancel()
	if err := c.subscribed(ctx); err != nil {
		c.logger.Error("adapter does not hear the cluster yet", "namespace", c.nsp, "err", err)
	}
}

// subscribed waits until Redis has confirmed all subscriptions, or has refused one.
func (c *cluster) subscribed(ctx context.Context) error {
	for _, p := range c.ready {
		err := p.Wait(ctx)
		if c.run.Err() != nil {
			return ErrClosed
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Ready waits until the namespace's adapter, of New or NewSharded, has all its subscriptions and has verified that it
// may publish and count servers. It returns ctx's error if ctx ends first. If Redis refuses any of these, for example
// with NOPERM for an ACL, Ready returns at once with an error that wraps bus.ErrRefused. An adapter of another kind is
// always ready.
func Ready(ctx context.Context, nsp socket.Namespace) error {
	if a, ok := nsp.Adapter().(interface{ Ready(context.Context) error }); ok {
		return a.Ready(ctx)
	}
	return nil
}

// Ready does the work of the function Ready.
func (c *cluster) Ready(ctx context.Context) error {
	if err := c.subscribed(ctx); err != nil {
		return err
	}
	if _, err := c.countServers(ctx); err != nil && !errors.Is(err, bus.ErrPartial) {
		return err
	}
	return c.publishNow(ctx, c.answers+c.uid+"#", nil) // only this server receives it
}

// Close leaves the cluster. The library calls it when the server or a dynamic namespace is closed.
func (c *cluster) Close() {
	c.closed.Do(func() {
		c.stop(ErrClosed)
		c.heard.Close()
		c.told.Close()
		c.listeners.close()
		c.acks.close()
		done := make(chan struct{})
		go func() { // ends with the last goroutine of the adapter
			c.wg.Wait()
			close(done)
		}()
		select {
		case <-done:
		case <-time.After(c.times.close): // a listener, or a callback, does not return: it may be the one that closes
			c.logger.Warn("adapter closed while a callback is still running", "namespace", c.nsp)
		}
		c.release(c.Nsp().Server())
		c.Adapter.Close()
	})
}

// timeout returns the context of a request: ctx, bounded by RequestsTimeout and ended by Close.
func (c *cluster) timeout(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, c.requestsTimeout)
	ctx, abort := context.WithCancelCause(ctx)
	stop := context.AfterFunc(c.run, func() { abort(ErrClosed) })
	return ctx, func() { stop(); abort(nil); cancel() }
}

// later runs f with the context of a request on a goroutine for which Close waits.
func (c *cluster) later(f func(context.Context)) {
	c.wg.Go(func() {
		ctx, cancel := c.timeout(context.Background())
		defer cancel()
		guard(c.logger, func() { f(ctx) })
	})
}

// unsent counts and logs a message that could not be sent to other servers.
func (c *cluster) unsent(what string, err error) {
	c.count.unsent.Add(1)
	c.logger.Warn("not sent to other servers", "namespace", c.nsp, "what", what, "err", err)
}
