package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// hearingWait is how long what was queued during a loss waits for this node's own subscriptions to come back.
const hearingWait = 2 * time.Second

// run sends until the Bus ends.
func (p *publisher) run() {
	defer p.end()
	var ms []outgoing
	for {
		var again <-chan time.Time
		if len(p.held) > 0 {
			again = time.After(p.nextTry())
		}
		select {
		case <-p.b.ctx.Done():
			return
		case <-p.wake:
			ms = p.take(ms)
			p.send(ms)
		case <-again:
			p.sendHeld()
		}
	}
}

// end hangs up and drops what is left.
func (p *publisher) end() {
	for _, c := range p.pipes {
		c.close()
	}
	for _, ms := range p.held {
		p.finish(ms, &p.dropped)
	}
	p.finish(p.take(nil), &p.dropped)
}

// nextTry returns the time until a server should be tried again.
func (p *publisher) nextTry() time.Duration {
	next := p.b.opts.BackoffMax
	for _, r := range p.retry {
		next = min(next, time.Until(r.until))
	}
	return max(next, p.b.opts.BackoffMin/2)
}

func (p *publisher) sequence(m *outgoing) sequence {
	if !m.sharded || p.b.router.route(Shard) == mainRoute {
		return mainSequence
	}
	return sequence(slotOf(m.channel))
}

// send sends ms, or has them held.
func (p *publisher) send(ms []outgoing) {
	groups := groups{}
	for i := range ms {
		m := &ms[i]
		l := p.sequence(m)
		if p.held[l] != nil {
			p.held[l] = append(p.held[l], *m)
			continue
		}
		r, err := p.ready(m)
		if err != nil {
			p.held[l] = append(p.held[l], *m)
			continue
		}
		groups.add(r, ms[i:i+1]...)
	}
	p.sendGroups(groups)
}

// sendHeld tries again what is held.
func (p *publisher) sendHeld() {
	groups := groups{}
	for l, ms := range p.held {
		if r, err := p.ready(&ms[0]); err == nil {
			delete(p.retry, r)
			delete(p.held, l)
			groups.add(r, ms...)
		}
	}
	p.sendGroups(groups)
}

// groups are messages by connection.
type groups map[route][]outgoing

func (g groups) add(r route, ms ...outgoing) { g[r] = append(g[r], ms...) }

func (p *publisher) sendGroups(g groups) {
	for r, ms := range g {
		for len(ms) > 0 {
			n, size := 0, 0
			for n < len(ms) && n < chunkMessages && size < chunkBytes {
				size += ms[n].size()
				n++
			}
			back := p.sendChunk(r, ms[:n])
			ms = ms[n:]
			if len(back) > 0 || p.pipes[r] == nil || p.b.ctx.Err() != nil {
				p.hold(append(back, ms...))
				break
			}
		}
	}
}

// hold keeps messages for later, before those of their sequences that are held already: those are newer.
func (p *publisher) hold(ms []outgoing) {
	sequences := map[sequence][]outgoing{}
	for i := range ms {
		l := p.sequence(&ms[i])
		sequences[l] = append(sequences[l], ms[i])
	}
	for l, older := range sequences {
		p.held[l] = append(older, p.held[l]...)
	}
}

// sendChunk sends ms, waits for the answers, and returns what must be sent again.
func (p *publisher) sendChunk(r route, ms []outgoing) (back []outgoing) {
	replies, clean, err := p.pipes[r].exchange(ms)
	from := 0 // ms[from:i] were accepted, and are not finished
	for i, reply := range replies {
		var re replyError
		if reply == nil || !errors.As(reply, &re) {
			continue
		}
		p.finish(ms[from:i], &p.published)
		from = i + 1
		if re.transient() || ms[i].sharded && p.b.router.moved(re) {
			back = append(back, ms[i])
			p.failed(r, reply)
			continue
		}
		p.complain("redis refuses a message", fmt.Errorf("publish to %q: %w", ms[i].channel, reply))
		p.finish(ms[i:i+1], &p.dropped)
	}
	p.finish(ms[from:len(replies)], &p.published)
	if err == nil {
		return back
	}
	p.pipes[r].close()
	delete(p.pipes, r)
	p.failed(r, err)
	rest := ms[len(replies):]
	if clean {
		return append(back, rest...)
	}
	p.finish(rest, &p.unknown)
	return back
}

// ready returns the route for m, connected.
func (p *publisher) ready(m *outgoing) (route, error) {
	r := mainRoute
	var o *redis.Options
	if m.sharded {
		if p.waiting(anyShard) {
			return r, errBackoff
		}
		var err error
		if r, o, err = p.b.router.owner(p.b.ctx, m.channel); err != nil {
			p.failed(anyShard, err)
			return r, err
		}
		delete(p.retry, anyShard)
	}
	if c := p.pipes[r]; c != nil {
		if !c.broken() && !p.misled(r, c) {
			return r, nil
		}
		c.close()
		delete(p.pipes, r)
		p.lost = true
	}
	if p.waiting(r) {
		return r, errBackoff
	}
	if err := p.open(r, o); err != nil {
		p.failed(r, err)
		return r, err
	}
	delete(p.retry, r)
	if p.lost {
		p.lost = false
		p.awaitHearing()
	}
	return r, nil
}

// misled reports whether c leads to a server that is no longer a primary, or no longer that to which the client's name
// leads. If nothing is subscribed to, so that no link finds out, it looks itself.
func (p *publisher) misled(r route, c *pipe) bool {
	now := time.Now()
	if r != mainRoute || now.Before(c.next) {
		return false
	}
	c.next = now.Add(p.b.opts.CheckInterval / 4)
	if router, ok := p.b.router.(*clusterRouter); ok {
		return router.primaries.lacks(c.addr)
	}
	if now.Sub(c.looked) >= p.b.opts.CheckInterval && !p.b.hasLink(mainRoute) {
		c.looked = now
		p.lookUp()
	}
	if movedAt := p.b.movedAt.Load(); movedAt != nil && c.began.Before(*movedAt) {
		return true
	}
	primary := p.b.primary.Load()
	return primary != nil && c.c.id.differs(identity{run: *primary})
}

// lookUp finds out to which server the client's name leads.
func (p *publisher) lookUp() {
	ctx, cancel := context.WithTimeout(p.b.ctx, lookTime)
	defer cancel()
	began := time.Now()
	o, err := p.b.router.main(ctx)
	if err != nil {
		return
	}
	if c, err := dial(ctx, o, p.b.opts.Name+"-check"); err == nil {
		p.b.met(c.id, began)
		c.nc.Close()
	}
}

func (p *publisher) open(r route, o *redis.Options) (err error) {
	if o == nil {
		ctx, cancel := context.WithTimeout(p.b.ctx, publishWait)
		defer cancel()
		if o, err = p.b.router.main(ctx); err != nil {
			return err
		}
	}
	c, err := p.b.openPipe(p.b.ctx, o)
	if err != nil {
		return err
	}
	p.pipes[r] = c
	c.next = time.Now().Add(p.b.opts.CheckInterval / 4)
	if primary := p.b.primary.Load(); primary != nil && c.c.id.differs(identity{run: *primary}) {
		p.b.doubtLinks() // one of us is wrong
	}
	return nil
}

// waiting reports whether r must not be tried yet.
func (p *publisher) waiting(r route) bool {
	w := p.retry[r]
	return w != nil && time.Now().Before(w.until)
}

var errBackoff = errors.New("waiting before the next attempt")

// failed takes note of an error of route r.
func (p *publisher) failed(r route, err error) {
	p.b.opts.failedAgain(p.retry, r)
	p.lost = true
	p.b.router.stale()
	p.b.doubtLinks()
	p.complain("publishing to redis is interrupted", err)
}

// complain logs once a minute.
func (p *publisher) complain(msg string, err error) {
	if p.b.ctx.Err() == nil && p.complaints.Allow(msg) {
		p.b.opts.Logger.Warn(msg, "err", err)
	}
}

// awaitHearing gives the subscriptions a little time to come back, so that this node hears what it sends to all.
func (p *publisher) awaitHearing() {
	ctx, cancel := context.WithTimeout(p.b.ctx, hearingWait)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		p.b.mu.Lock()
		ready := p.b.state.Hearing || p.b.hush
		p.b.mu.Unlock()
		if ready {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
