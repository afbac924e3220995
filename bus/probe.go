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
	probeSoon = 20 * time.Millisecond  // before another attempt to publish, if that failed: the client's own
	// connections are as likely broken as ours was
	probeTime = 3 * time.Second // for all attempts; then the connection is given up

	doubtAfter = 3 // HealthIntervals after which the probe is repeated, in a cluster
)

// probe is how a link verifies that it hears: when everything else is confirmed it subscribes to a private channel,
// publishes to it through the client, as everybody else would, and waits for the message. In a cluster it keeps the
// channel and repeats that, as a server that was taken out of the cluster goes on answering pings.
type probe struct {
	// Set by init, then static.
	kind      Kind
	name      string
	nonce     string
	repeats   bool
	confirmed chan struct{} // closed once Redis has confirmed the private channel
	heard     wake.Signal

	// Guarded by Bus.mu.
	sent    bool // subscribed to
	left    bool // given up
	evicted bool // Redis gave it up: its slot has moved
	closed  bool // confirmed is closed
	refused error
}

func (p *probe) init(l *link) {
	p.confirmed, p.heard = make(chan struct{}), wake.New()
	p.nonce = rand.Text()
	p.name = l.b.opts.ProbePrefix + p.nonce
	_, p.repeats = l.b.client.(clusterClient)
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
// its confirmation is the last, and gives it up when it has served.
func (p *probe) commandLocked(l *link, buf []byte) []byte {
	switch {
	case !p.sent:
		p.sent = true
		l.inflight = append(l.inflight, &command{kind: p.kind, sub: true})
		return appendCommand(buf, verbs[p.kind].sub, p.name)
	case l.verified && p.refused == nil && !p.left && !p.repeats:
		p.left = true
		l.inflight = append(l.inflight, &command{kind: p.kind})
		return appendCommand(buf, verbs[p.kind].unsub, p.name)
	}
	return buf
}

func (p *probe) confirmedLocked(sub bool) {
	if sub && !p.closed {
		p.closed = true
		close(p.confirmed)
	}
}

// refusedLocked does without: a user that may not use private channels still has confirmed subscriptions.
func (p *probe) refusedLocked(l *link, e replyError) {
	p.refused = e
	p.confirmedLocked(true)
}

// hear takes a message on the private channel.
func (p *probe) hear(nonce string) {
	if nonce == p.nonce {
		p.heard.Send()
	}
}

// verify runs the probe, announces that the link hears, and goes on to doubt it if that makes sense.
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
	l.verified = true
	delete(l.b.retry, l.route)
	l.b.reviewLocked()
	l.wake.Send()
	l.b.mu.Unlock()
	if err != nil || !l.probe.repeats {
		return nil
	}
	return l.doubt(ctx)
}

// doubt repeats the probe until what is published is no longer heard. A message that can't be published says nothing.
func (l *link) doubt(ctx context.Context) error {
	tick := time.NewTicker(doubtAfter * l.b.opts.HealthInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		l.b.mu.Lock()
		evicted := l.probe.evicted
		l.b.mu.Unlock()
		if evicted {
			return nil
		}
		select {
		case <-l.probe.heard: // a late one
		default:
		}
		// As much patience as with a silent connection, as others may be waiting to be read before the message.
		if err := l.listen(ctx, max(probeTime, doubtAfter*l.b.opts.HealthInterval)); errors.Is(err, errUnheard) {
			return err
		}
	}
}

var errUnheard = errors.New("subscribed, but what is published is not heard")

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

func (l *link) publishProbe(ctx context.Context) error {
	var err error
	if l.probe.kind == Shard {
		err = l.b.client.SPublish(ctx, l.probe.name, l.probe.nonce).Err()
	} else {
		err = l.elsewhere(ctx).Publish(ctx, l.probe.name, l.probe.nonce).Err()
	}
	if err != nil {
		return fmt.Errorf("publish to %q: %w", l.probe.name, asReply(err))
	}
	return nil
}

// elsewhere returns the client, or in a cluster one of a primary that the link is not connected to: the message must come
// through the cluster.
func (l *link) elsewhere(ctx context.Context) redis.Cmdable {
	r, ok := l.b.router.(*clusterRouter)
	if !ok {
		return l.b.client
	}
	// If the layout is not known, the client says what is wrong.
	all, _ := r.primaries.get(ctx)
	others := make([]*redis.Client, 0, len(all))
	for _, c := range all {
		if c.Options().Addr != l.opts.Addr {
			others = append(others, c)
		}
	}
	if len(others) == 0 {
		return l.b.client
	}
	return others[mathrand.IntN(len(others))]
}
