package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/internal/wake"
)

// retryRefused is the pause before a topic that was held, and is refused now, is asked for again; retrySoon is the
// pause if Redis says that the reason will pass.
const (
	retryRefused = 2 * time.Second
	retrySoon    = 200 * time.Millisecond
)

// maxBatch bounds the topics of one command.
const maxBatch = 256

// link is one receiving connection, from dialling to its loss. What was attached to it is then routed anew.
// Its fields are guarded by Bus.mu if nothing else is said.
type link struct {
	// Static after construction.
	b     *Bus
	route route
	opts  *redis.Options
	wake  wake.Signal // there is something to write
	doubt wake.Signal // whether this is still the server should be looked at now
	id    identity    // set by session before others look

	active atomic.Bool // something was read since the last tick

	scout *conn // owned by verify: asks the server who it is, in a cluster

	topics   map[*topic]struct{}
	dirty    []*topic   // those that Redis must be told about
	inflight []*command // sent and not answered, in order
	again    []*topic   // refused; dirty again at againAt
	againAt  time.Time
	verified bool            // the probe came back
	silent   bool            // Redis did not answer in time, and has not been looked at since it did
	stirred  time.Time       // when it did; zero: it has not
	unheard  bool            // what is published has not come back yet
	pinging  []chan struct{} // PINGs to send
	pings    []ping          // PINGs sent
	probe    probe
}

// ping is a PING that Redis has not answered yet.
type ping struct {
	answered chan struct{} // closed then
	sent     time.Time
}

// command is a subscribe or unsubscribe command that Redis answers with one confirmation for each topic.
type command struct {
	kind   Kind
	sub    bool
	topics []named // nil: the probe's
	done   int
}

// named is a topic in a command, with the epoch that it had. An answer about an earlier one no longer counts.
type named struct {
	*topic
	epoch uint64
}

// current reports whether the topic has been attached to l, and to nothing else since the command.
func (n named) current(l *link) bool { return n.link == l && n.topic.epoch == n.epoch }

func newLink(b *Bus, r route, o *redis.Options) *link {
	return &link{b: b, route: r, opts: o, wake: wake.New(), doubt: wake.New(), topics: map[*topic]struct{}{}}
}

func (l *link) attachLocked(t *topic) {
	delete(l.b.unrouted, t)
	t.link, t.sent, t.outstanding, t.dirty = l, false, 0, false
	l.b.epochs++
	t.epoch = l.b.epochs
	l.topics[t] = struct{}{}
	l.touchLocked(t)
}

func (l *link) detachLocked(t *topic) {
	delete(l.topics, t)
	t.link, t.sent, t.outstanding = nil, false, 0
}

func (l *link) touchLocked(t *topic) {
	if !t.dirty {
		t.dirty = true
		l.dirty = append(l.dirty, t)
		l.wake.Send()
	}
}

// run is the link's life. It returns when the connection is lost, the Bus ends, or nothing is left to hear.
func (l *link) run() {
	err := l.session()
	if l.b.ctx.Err() != nil {
		err = ErrClosed
	}
	l.b.linkEnded(l, err)
}

func (l *link) session() error {
	began := time.Now()
	c, err := dial(l.b.ctx, l.opts, l.b.opts.Name+"-sub")
	if err != nil {
		return err
	}
	if c.id.replica {
		c.nc.Close()
		return fmt.Errorf("hear redis at %s: %w", l.opts.Addr, errReplica)
	}
	l.b.connects.Add(1)
	ctx, cancel := context.WithCancelCause(l.b.ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	stop := context.AfterFunc(ctx, func() { c.nc.Close() })
	defer stop()
	defer c.nc.Close()
	defer cancel(nil)

	l.id = c.id
	l.b.mu.Lock()
	l.probe.init(l)
	l.b.mu.Unlock()
	l.b.met(c.id, began)
	wg.Go(func() {
		if err := l.write(ctx, c); err != nil {
			cancel(err)
		}
	})
	wg.Go(func() {
		if err := l.verify(ctx); err != nil {
			cancel(err)
		}
	})
	err = newReader(l, c).run()
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	if err != nil {
		err = fmt.Errorf("hear redis at %s: %w", l.opts.Addr, err)
	}
	return err
}

// errIdle ends a link that has nothing to hear.
var errIdle = errors.New("nothing to hear")

// Of the ticks in which a connection is silent, of which a HealthInterval has ticks, one brings a PING, the next but
// one the end of ready, and the last the end of the connection.
const (
	ticks     = 4
	pingTick  = 1
	doubtTick = 3
	lossTick  = 2 * ticks
)

// late returns how long an answer to a PING may take. Together with the time before a PING it is less than what the
// others of a cluster wait before they drop what they have queued for a server, unless they are told to be impatient.
func (o *Options) late() time.Duration { return o.HealthInterval * 2 / 5 }

// write sends what the topics need, and asks for signs of life.
func (l *link) write(ctx context.Context, c *conn) error {
	health := time.NewTicker(max(l.b.opts.HealthInterval/ticks, 1))
	defer health.Stop()
	silent := 0
	var buf []byte
	for {
		var again <-chan time.Time
		l.b.mu.Lock()
		buf = l.commandsLocked(buf[:0])
		if len(l.again) > 0 {
			again = time.After(time.Until(l.againAt))
		}
		idle := l.route != mainRoute && len(l.topics) == 0
		l.b.mu.Unlock()
		if idle {
			return errIdle
		}
		if err := l.send(c, buf); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-l.wake:
		case <-again:
			l.b.mu.Lock()
			for _, t := range l.again {
				if t.link == l {
					l.touchLocked(t)
				}
			}
			l.again = nil
			l.b.mu.Unlock()
		case <-health.C:
			if silent++; l.active.Swap(false) {
				silent = 0
			}
			if err := l.check(silent); err != nil {
				return err
			}
		}
	}
}

// check does what is due after so many silent ticks.
func (l *link) check(silent int) error {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	switch {
	case silent == 0 && l.silent:
		if l.stirred.IsZero() {
			l.stirred = time.Now()
		}
		l.doubt.Send()
	case silent == pingTick:
		l.pinging = append(l.pinging, make(chan struct{}))
	case silent == doubtTick:
		l.silentLocked(errors.New("it does not answer"))
		l.stirred = time.Time{}
		l.doubt.Send()
	case silent == lossTick:
		return fmt.Errorf("silent for %v", 2*l.b.opts.HealthInterval)
	}
	return nil
}

// silentLocked announces a gap: others may have dropped what they could not pass on to a server that hung, or may have
// put another in its place. The link is believed to hear again once the server has been looked at.
func (l *link) silentLocked(err error) {
	l.silent = true
	l.b.deafToLocked(l.route.kind(), false, fmt.Errorf("redis at %s: %w", l.opts.Addr, err))
}

// ping sends a PING. What it returns is closed when that has been answered: all that Redis had sent before has been
// read.
func (l *link) ping() <-chan struct{} {
	answered := make(chan struct{})
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	l.pinging = append(l.pinging, answered)
	l.wake.Send()
	return answered
}

// pong takes note of the answer to the PING that was sent first.
func (l *link) pong() {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	if len(l.pings) == 0 {
		return
	}
	p := l.pings[0]
	l.pings = l.pings[1:]
	close(p.answered)
	if took := time.Since(p.sent); took > l.b.opts.late() && l.verified && !l.silent {
		l.silentLocked(fmt.Errorf("it took %v to answer", took.Round(time.Millisecond)))
		l.stirred = time.Now()
		l.doubt.Send()
	}
}

func (l *link) send(c *conn, buf []byte) error {
	if len(buf) == 0 {
		return nil
	}
	c.nc.SetWriteDeadline(time.Now().Add(2 * l.b.opts.HealthInterval))
	_, err := c.nc.Write(buf)
	return err
}

// commandsLocked appends what Redis must be told.
func (l *link) commandsLocked(buf []byte) []byte {
	var batches map[batchKey][]*topic
	for _, t := range l.dirty {
		t.dirty = false
		want := len(t.subs) > 0
		if t.link != l {
			continue
		}
		if want == t.sent {
			l.b.settleLocked(t)
			continue
		}
		if batches == nil {
			batches = map[batchKey][]*topic{}
		}
		key := l.batchKey(t, want)
		batches[key] = append(batches[key], t)
		if len(batches[key]) == maxBatch || t.solo {
			buf = l.commandLocked(buf, key, batches[key])
			delete(batches, key)
		}
	}
	l.dirty = l.dirty[:0]
	for key, topics := range batches {
		buf = l.commandLocked(buf, key, topics)
	}
	buf = l.probe.commandLocked(l, buf)
	for _, answered := range l.pinging {
		buf = appendCommand(buf, "ping")
		l.pings = append(l.pings, ping{answered, time.Now()})
	}
	l.pinging = l.pinging[:0]
	return buf
}

// batchKey is what the topics of one command have in common.
type batchKey struct {
	kind Kind
	sub  bool
	slot uint16
	solo *topic
}

func (l *link) batchKey(t *topic, want bool) batchKey {
	key := batchKey{kind: t.kind, sub: want}
	if t.solo {
		key.solo = t
	}
	if l.route != mainRoute { // a cluster refuses a command with channels of several slots
		key.slot = slotOf(t.name)
	}
	return key
}

func (l *link) commandLocked(buf []byte, key batchKey, topics []*topic) []byte {
	verb := verbs[key.kind].unsub
	if key.sub {
		verb = verbs[key.kind].sub
	}
	args := make([]string, 0, len(topics)+1)
	args = append(args, verb)
	cmd := &command{kind: key.kind, sub: key.sub, topics: make([]named, 0, len(topics))}
	for _, t := range topics {
		t.sent = key.sub
		t.outstanding++
		args = append(args, t.name)
		cmd.topics = append(cmd.topics, named{t, t.epoch})
	}
	l.inflight = append(l.inflight, cmd)
	return appendCommand(buf, args...)
}

// confirmed takes note of one confirmation.
func (l *link) confirmed(k Kind, sub bool, name []byte) error {
	b := l.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(l.inflight) > 0 {
		cmd := l.inflight[0]
		if cmd.kind == k && cmd.sub == sub {
			if cmd.topics == nil && string(name) == l.probe.name {
				l.inflight = l.inflight[1:]
				l.probe.confirmedLocked()
				return nil
			}
			if cmd.topics != nil && cmd.topics[cmd.done].name == string(name) {
				l.answeredLocked(cmd, cmd.topics[cmd.done])
				return nil
			}
		}
	}
	if k == Shard && !sub {
		l.evictedLocked(string(name))
		return nil
	}
	return fmt.Errorf("%w: confirmation of %.40q", errProtocol, name)
}

func (l *link) answeredLocked(cmd *command, t named) {
	if cmd.done++; cmd.done == len(cmd.topics) {
		l.inflight = l.inflight[1:]
	}
	if t.current(l) {
		t.outstanding--
		l.b.settleLocked(t.topic)
		l.b.reviewLocked()
	}
}

// evictedLocked handles an unsubscription that Redis decided: the slot has moved to another server.
func (l *link) evictedLocked(name string) {
	if name == l.probe.name {
		l.probe.evicted = true
		return
	}
	t := l.b.topics[Shard][name]
	if t == nil || t.link != l || !t.sent {
		return
	}
	l.b.lostLocked(t, true, fmt.Errorf("slot of %q has moved", name))
	l.b.router.left(name, l.opts.Addr)
	l.leaveLocked(t)
}

// leaveLocked has t routed anew.
func (l *link) leaveLocked(t *topic) {
	l.detachLocked(t)
	l.b.placeLocked(t)
	l.wake.Send()
}

// refused handles an error reply to the command that was sent first.
func (l *link) refused(e replyError) error {
	b := l.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(l.inflight) == 0 {
		return e // to a PING, or out of the blue: as when the connection has been taken from us
	}
	cmd := l.inflight[0]
	l.inflight = l.inflight[1:]
	if cmd.topics == nil {
		l.probe.refusedLocked(l, e)
		return nil
	}
	moved := cmd.kind == Shard && b.router.moved(e)
	for _, t := range cmd.topics[cmd.done:] {
		if !t.current(l) {
			continue
		}
		t.outstanding--
		if !cmd.sub || t.outstanding > 0 {
			b.settleLocked(t.topic)
			continue
		}
		t.sent = false
		switch {
		case moved:
			l.leaveLocked(t.topic)
		case !e.transient() && len(cmd.topics) > 1: // find the one that is meant
			t.solo = true
			l.touchLocked(t.topic)
		default:
			l.refusedTopicLocked(t.topic, e)
		}
	}
	b.reviewLocked()
	return nil
}

func (l *link) refusedTopicLocked(t *topic, e replyError) {
	pause := retrySoon
	if !e.transient() {
		pause = retryRefused
		t.refuseLocked(e)
		if !t.refused { // once, until it is granted
			t.refused = true
			l.b.opts.Logger.Error("redis refuses a subscription", "channel", t.name, "err", e)
		}
	}
	l.b.lastErr = e
	l.again = append(l.again, t)
	if at := time.Now().Add(pause); len(l.again) == 1 || at.Before(l.againAt) {
		l.againAt = at
	}
	l.wake.Send()
}
