package bus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"time"
)

const (
	probeWait = 500 * time.Millisecond // for the message to come back; then it is published again
	probeSoon = 20 * time.Millisecond  // before another attempt to publish, where that failed: the client's own
	// connections are as likely broken as ours was
	probeTime = 3 * time.Second // for all attempts; then the connection is given up
)

// probe is how a link verifies that it hears: when everything else is confirmed it subscribes to a private channel,
// publishes to it through the client, as everybody else would, and waits for the message.
type probe struct {
	// Set by init, then static.
	kind      kind
	name      string
	nonce     string
	confirmed chan struct{} // closed once Redis has confirmed the private channel
	heard     chan struct{} // capacity 1

	// Guarded by Bus.mu.
	sent    bool // subscribed to
	left    bool // given up
	closed  bool // confirmed is closed
	refused error
}

func (p *probe) init(l *link) {
	p.confirmed, p.heard = make(chan struct{}), make(chan struct{}, 1)
	p.nonce = rand.Text()
	p.name = l.b.opts.ProbePrefix + p.nonce
	if l.route == mainRoute {
		return
	}
	p.kind = shard
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
	case l.verified && p.refused == nil && !p.left:
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
		signal(p.heard)
	}
}

// verify runs the probe and announces that the link hears.
func (l *link) verify(ctx context.Context) error {
	select {
	case <-l.probe.confirmed:
	case <-ctx.Done():
		return nil
	}
	if err := l.listen(ctx); err != nil {
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
	defer l.b.mu.Unlock()
	l.verified = true
	delete(l.b.retry, l.route)
	l.b.reviewLocked()
	signal(l.wake)
	return nil
}

// forbidden tells whether an ACL keeps the user from the private channel.
func forbidden(err error) bool {
	var re replyError
	return errors.As(err, &re) && re.code() == "NOPERM"
}

// listen publishes until a message comes back.
func (l *link) listen(ctx context.Context) error {
	l.b.mu.Lock()
	refused := l.probe.refused
	l.b.mu.Unlock()
	if refused != nil {
		return refused
	}
	var err error
	for end := time.Now().Add(probeTime); time.Now().Before(end); {
		wait := probeWait
		if err = l.b.call(ctx, probeWait, l.publishProbe); err != nil {
			if fatal(err) {
				return err
			}
			wait = probeSoon
		}
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
	return errors.Join(errors.New("subscribed, but what is published is not heard"), err)
}

func (l *link) publishProbe(ctx context.Context) error {
	var err error
	if l.probe.kind == shard {
		err = l.b.client.SPublish(ctx, l.probe.name, l.probe.nonce).Err()
	} else {
		err = l.b.client.Publish(ctx, l.probe.name, l.probe.nonce).Err()
	}
	if err != nil {
		return fmt.Errorf("publish to %q: %w", l.probe.name, asReply(err))
	}
	return nil
}
