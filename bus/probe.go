package bus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/internal/wake"
)

const (
	probeWait = 500 * time.Millisecond // for the message to come back; then it is published again
	probeSoon = 20 * time.Millisecond  // before another attempt to publish, if that failed
	probeTime = 3 * time.Second        // for all attempts; then the connection is given up

	settleAlone   = 500 * time.Millisecond // for the message to be read, or to come from a primary to its replica
	settleCluster = time.Second            // for the message to pass through a cluster
	pongWait      = 500 * time.Millisecond // for the answer to a PING that is sent then
)

// probe is how a link verifies that it hears: when everything else is confirmed it subscribes to a private channel, has
// a message published to it, as everybody else would, and waits for the message. It keeps the channel, to repeat that:
// a server that was taken out of the cluster, or that is no longer the one of the configured name, goes on answering
// pings.
type probe struct {
	// Set by init, then static.
	kind      Kind
	name      string
	nonce     string
	confirmed chan struct{} // closed once Redis has confirmed the private channel
	heard     wake.Signal

	// Guarded by Bus.mu.
	sent    bool // subscribed to
	evicted bool // Redis gave it up: its slot has moved
	closed  bool // confirmed is closed
	refused error
}

func (p *probe) init(l *link) {
	p.confirmed, p.heard = make(chan struct{}), wake.New()
	p.nonce = rand.Text()
	p.name = l.b.opts.ProbePrefix + p.nonce
	if l.route == mainRoute {
		return
	}
	p.kind = Shard
	for t := range l.topics { // a channel of this server: one in the slot of one that it has
		slot := slotOf(t.name)
		for i := 0; ; i++ {
			if tag := strconv.Itoa(i); slotOf(tag) == slot {
				p.name = l.b.opts.ProbePrefix + "{" + tag + "}" + p.nonce
				return
			}
		}
	}
}

// commandLocked subscribes to the private channel after all that was wanted when the connection was made, so that
// its confirmation is the last.
func (p *probe) commandLocked(l *link, buf []byte) []byte {
	if p.sent {
		return buf
	}
	p.sent = true
	l.inflight = append(l.inflight, &command{kind: p.kind, sub: true})
	return appendCommand(buf, verbs[p.kind].sub, p.name)
}

func (p *probe) confirmedLocked() {
	if !p.closed {
		p.closed = true
		close(p.confirmed)
	}
}

// refusedLocked does without: a user that may not use private channels still has confirmed subscriptions.
func (p *probe) refusedLocked(l *link, e replyError) {
	p.refused = e
	p.confirmedLocked()
}

// hear takes a message on the private channel.
func (p *probe) hear(nonce string) {
	if nonce == p.nonce {
		p.heard.Send()
	}
}

// verify runs the probe, announces that the link hears, and goes on to doubt it.
func (l *link) verify(ctx context.Context) error {
	select {
	case <-l.probe.confirmed:
	case <-ctx.Done():
		return nil
	}
	err := l.listen(ctx, probeTime)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		if !forbidden(err) {
			return err
		}
		l.b.opts.Logger.Warn("redis refuses the probe: hearing is taken for granted once subscriptions are confirmed",
			"channel", l.probe.name, "err", err)
	}
	l.b.mu.Lock()
	if err != nil && l.probe.refused == nil {
		l.probe.refused = err
	}
	l.verified = true
	delete(l.b.retry, l.route)
	l.b.reviewLocked()
	l.wake.Send()
	l.b.mu.Unlock()
	return l.watch(ctx)
}

// forbidden reports whether an ACL keeps the user from the private channel.
func forbidden(err error) bool {
	var re replyError
	return errors.As(err, &re) && re.code() == "NOPERM"
}

// listen publishes until a message comes back. It ends with errUnheard when none did that Redis had accepted.
func (l *link) listen(ctx context.Context, patience time.Duration) error {
	l.b.mu.Lock()
	refused := l.probe.refused
	l.b.mu.Unlock()
	if refused != nil {
		return refused
	}
	var err error
	accepted := false
	for end := time.Now().Add(patience); time.Now().Before(end); {
		wait := probeWait
		if err = l.b.call(ctx, probeWait, l.publishProbe); err != nil {
			if fatal(err) {
				return err
			}
			wait = probeSoon
		}
		accepted = accepted || err == nil
		timer := time.NewTimer(wait)
		select {
		case <-l.probe.heard:
			timer.Stop()
			return nil
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
	if accepted {
		return errors.Join(errUnheard, err)
	}
	return err
}

// publishProbe publishes the message: in a cluster through a server that the link is not connected to, so that it must
// come through the cluster, else on a new connection, which leads to where the configured name leads now.
func (l *link) publishProbe(ctx context.Context) error {
	m := outgoing{channel: l.probe.name, payload: []byte(l.probe.nonce), sharded: l.probe.kind == Shard}
	var err error
	switch r, cluster := l.b.router.(*clusterRouter); {
	case !cluster:
		var c *conn
		if c, _, err = l.meet(ctx); err == nil {
			err = c.publish(time.Now().Add(probeWait), &m)
			c.nc.Close()
		}
	case m.sharded:
		err = l.b.client.SPublish(ctx, m.channel, m.payload).Err()
	default:
		err = r.elsewhere(ctx, l.opts.Addr).Publish(ctx, m.channel, m.payload).Err()
	}
	if err != nil {
		return fmt.Errorf("publish to %q: %w", m.channel, asReply(err))
	}
	return nil
}

// elsewhere returns a client of a primary that is not at addr, or, if there is none, of the cluster.
func (r *clusterRouter) elsewhere(ctx context.Context, addr string) redis.Cmdable {
	// If the layout is not known, the client says what is wrong.
	all, _ := r.primaries.get(ctx)
	others := make([]redis.Cmdable, 0, len(all))
	for _, c := range all {
		if c.Options().Addr != addr {
			others = append(others, c)
		}
	}
	if len(others) == 0 {
		return r.client.(redis.Cmdable)
	}
	return others[mathrand.IntN(len(others))]
}
