package adapter

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter/internal/wire"
	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/engine"
)

// cluster is one namespace of this server among the servers that have it too: what it tells and asks them, what they
// tell and ask it. The adapters of both protocols embed it, and are its protocol.
//
// Three things run beside the application's goroutines: the queue of what other servers want, handled in the order of
// arrival; the queue of what they answer, so that whoever handles the former may wait for the latter; and the lane on
// which the application's listeners run, so that a slow one holds up neither for long.
type cluster struct {
	*engine.Adapter
	*shared
	pubsub

	// Static after start.
	protocol protocol
	nsp      string
	uid      string // of this server in this namespace
	newID    func() string
	echo     bool   // servers obey their own commands when they hear them
	base     string // channel of messages to all; those to one room may be on base + room + "#"
	counted  string // channel whose subscribers are the servers
	answers  string // channels of responses to one server are answers + its uid + "#"
	isServer func(uid string) bool
	isOwn    func(payload []byte) bool // tells by its look that a message is ours
	heard    *bus.Subscription
	told     *bus.Subscription
	ready    []*bus.Pending // subscriptions that the adapter can't do without
	run      context.Context
	stop     context.CancelCauseFunc

	pending   pending
	acks      ackRequests
	counting  countBarrier
	listeners lane
	rooms     rooms
	servers   atomic.Int64 // the count that Redis returned last, for when it returns none

	wg     sync.WaitGroup
	closed sync.Once
}

// protocol is how messages look, and which channels they take.
type protocol interface {
	// send queues m for the other servers.
	send(m message) error
	// onMessage does what another server, or an emitter, wants.
	onMessage(channel string, payload []byte) error
	// onResponse takes an answer. Those to other servers may come too.
	onResponse(payload []byte) error
}

// message is what one server tells or asks the others.
type message struct {
	kind  messageKind
	id    string       // of the request; empty if no answer is wanted
	data  any          // event and arguments, of broadcast and serverSideEmit
	opts  wire.Options // but of listings
	rooms []string     // of join, leave and listSockets
	close bool         // of disconnect
}

type messageKind int

const (
	broadcast      messageKind = iota // with an id: to be acknowledged
	join                              // rooms
	leave                             // rooms
	disconnect                        // close
	fetchSockets                      // their descriptions
	listSockets                       // in rooms; classic only
	listRooms                         // classic only
	serverSideEmit                    // data
)

// maxListenerCalls bounds the calls of listeners that wait behind a slow one. More are dropped, and counted.
const maxListenerCalls = 10_000

// init prepares c for a namespace, before anything is subscribed to.
func (c *cluster) init(p protocol, s *shared, nsp socket.Namespace, kind bus.Kind) {
	c.shared, c.protocol, c.nsp = s, p, nsp.Name()
	c.pubsub = pubsub{bus: s.acquire(nsp.Server()), kind: kind}
	c.run, c.stop = context.WithCancelCause(context.Background())
	c.listeners = lane{limit: maxListenerCalls, logger: c.logger, wg: &c.wg}
	c.servers.Store(1)
	c.heard = c.bus.NewSubscription(receiver{c})
	c.told = c.bus.NewSubscription(bus.HandlerFunc(c.onAnswer))
	c.rooms = rooms{c: c, held: map[socket.Room]*bus.Pending{}}
}

// start returns when Redis has confirmed all subscriptions, or after times.start; the bus then goes on by itself.
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

// Ready waits until the adapter of a namespace, of New or NewSharded, hears all that it needs, and has seen that it may
// publish and count servers, or ctx ends. What Redis refuses, as with NOPERM where an ACL forbids a channel or a
// command, is returned at once; it wraps bus.ErrRefused. An adapter of another kind is ready.
func Ready(ctx context.Context, nsp socket.Namespace) error {
	if a, ok := nsp.Adapter().(interface{ Ready(context.Context) error }); ok {
		return a.Ready(ctx)
	}
	return nil
}

// Ready is the function of that name.
func (c *cluster) Ready(ctx context.Context) error {
	if err := c.subscribed(ctx); err != nil {
		return err
	}
	if _, err := c.countServers(ctx); err != nil && !errors.Is(err, bus.ErrPartial) {
		return err
	}
	return c.publishNow(ctx, c.answers+c.uid+"#", nil) // only we hear it
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

// ServerCount is the number of servers in the cluster, this one included. It asks Redis; while that does not answer it
// is the last known number.
func (c *cluster) ServerCount() int64 {
	n := c.servers.Load()
	if !c.away() {
		ctx, cancel := c.timeout(context.Background())
		defer cancel()
		var err error
		if n, err = c.countServers(ctx); err != nil {
			c.logger.Warn("servers are not counted", "namespace", c.nsp, "err", err)
		}
	}
	c.counting.release(n)
	return n
}

// countServers asks Redis. With bus.ErrPartial it returns those that are known to hear: a server whose connection is to a
// Redis that does not answer hears nothing.
func (c *cluster) countServers(ctx context.Context) (int64, error) {
	n, err := c.numSub(ctx, c.counted)
	count := max(int64(n), 1)
	switch {
	case errors.Is(err, bus.ErrPartial):
		return count, fmt.Errorf("count servers: %w", err)
	case err != nil:
		return c.servers.Load(), fmt.Errorf("count servers: %w", err)
	}
	c.servers.Store(count)
	return count, nil
}

// peersTimeout bounds the search for the names of servers that did not answer.
const peersTimeout = time.Second

// peers lists the ids of all servers that are subscribed, as far as Redis says: each has a response channel of its own.
func (c *cluster) peers() []string {
	ctx, cancel := context.WithTimeout(context.Background(), peersTimeout)
	defer cancel()
	var uids []string
	for _, channel := range c.list(ctx, globEscape(c.answers)+"?*#") {
		if uid := strings.TrimSuffix(strings.TrimPrefix(channel, c.answers), "#"); c.isServer(uid) {
			uids = append(uids, uid)
		}
	}
	return uids
}

// globEscape escapes what has a meaning in a Redis pattern.
func globEscape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(s)
}

// timeout is the context of a request: that of the caller, ended by RequestsTimeout and by Close.
func (c *cluster) timeout(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, c.requestsTimeout)
	ctx, abort := context.WithCancelCause(ctx)
	stop := context.AfterFunc(c.run, func() { abort(ErrClosed) })
	return ctx, func() { stop(); abort(nil); cancel() }
}

// later runs f, with the context of a request, on a goroutine that Close waits for.
func (c *cluster) later(f func(context.Context)) {
	c.wg.Go(func() {
		ctx, cancel := c.timeout(context.Background())
		defer cancel()
		guard(c.logger, func() { f(ctx) })
	})
}

// unsent counts and logs what other servers did not get.
func (c *cluster) unsent(what string, err error) {
	c.count.unsent.Add(1)
	c.logger.Warn("not sent to other servers", "namespace", c.nsp, "what", what, "err", err)
}

// drop counts a message that was not understood. Once a minute and reason it is logged with enough to find the sender.
func (c *cluster) drop(what string, err error, payload []byte) {
	reason := wire.ReasonOf(err)
	c.count.dropped[reason].Add(1)
	if payload != nil && strange(reason) && c.strange.Allow(reason) {
		c.logger.Warn("message from redis not understood", "namespace", c.nsp, "channel", what, "reason", reason.String(),
			"err", err, "sender", senderOf(payload), "bytes", len(payload),
			"shape", shapeOf(payload))
		return
	}
	c.logger.Debug("message from redis dropped", "namespace", c.nsp, "what", what, "err", err)
}
