package bus

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/internal/retry"
)

// backoff is the pause before the next attempt at a route.
type backoff struct {
	retry.Backoff
	until time.Time
}

// failedAgain notes a failure of r in waiting.
func (o *Options) failedAgain(waiting map[route]*backoff, r route) {
	p := waiting[r]
	if p == nil {
		p = &backoff{Backoff: retry.Backoff{Min: o.BackoffMin, Max: o.BackoffMax}}
		waiting[r] = p
	}
	p.until = time.Now().Add(p.Next())
}

// lostLocked takes note that messages of t may be missed from now on. held reports whether Redis had confirmed it.
func (b *Bus) lostLocked(t *topic, held bool, err error) {
	if len(t.subs) > 0 && !t.lost {
		t.lost = true
		b.lost++
	}
	b.deafToLocked(t.kind, held && len(t.subs) > 0, err)
}

// deafToLocked announces that not everything is heard, because of what is subscribed to as k is. gap reports whether
// somebody relies on a subscription that was lost: where that happens before the first probe, or between two, it is
// announced by itself.
func (b *Bus) deafToLocked(k Kind, gap bool, err error) {
	b.plain = b.plain || k != Shard
	b.doubted = b.epochs
	gap = gap || b.state.Hearing
	if !b.state.Hearing && !b.hush {
		if gap && !b.state.Gap {
			b.announceLocked(State{Gap: true, Err: err})
		}
		// What Redis is lost for now may be another thing: it is up again, and refuses the password.
		if reason := reasonOf(err); reason != b.reason && b.reasons.Allow(reason) {
			b.reason = reason
			b.opts.Logger.Warn("redis is still lost", "err", err)
		}
		return
	}
	b.since, b.reason = time.Now(), reasonOf(err)
	b.announceLocked(State{Gap: gap, Err: err})
	b.opts.Logger.Warn("redis lost", "err", err)
}

// reasonOf returns the innermost error's text: without the addresses and ports in which equal errors differ.
func reasonOf(err error) string {
	for err != nil {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
	return ""
}

// reviewLocked announces that everything is heard, when it is.
func (b *Bus) reviewLocked() {
	if b.state.Hearing || b.lost > 0 || len(b.links) == 0 || b.closed {
		return
	}
	for _, l := range b.links {
		if !l.verified || l.silent || l.unheard {
			return
		}
	}
	s := State{Hearing: true, Doubted: b.doubted}
	if !b.hush {
		s.Gap, s.Down, s.ShardsOnly = b.state.Gap, time.Since(b.since), !b.plain
		b.opts.Logger.Info("redis heard again", "down", s.Down)
	}
	b.plain = false
	b.announceLocked(s)
}

func (b *Bus) announceLocked(s State) {
	b.hush = false
	b.state = s
	b.news = append(b.news, s)
	b.noted.Send()
}

// notifyLoop calls the watchers.
func (b *Bus) notifyLoop() {
	for {
		select {
		case <-b.noted:
		case <-b.ctx.Done():
			return
		}
		for {
			b.mu.Lock()
			news := b.news
			b.news = nil
			watchers := make([]func(State), 0, len(b.watchers))
			for id := range b.watchID {
				if f := b.watchers[id]; f != nil {
					watchers = append(watchers, f)
				}
			}
			b.mu.Unlock()
			if len(news) == 0 {
				break
			}
			for _, s := range news {
				for _, f := range watchers {
					f(s)
				}
			}
		}
	}
}

// routeLoop gives every topic a link.
func (b *Bus) routeLoop() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-b.ctx.Done():
			return
		case <-b.reroute:
		case <-timer.C:
		}
		timer.Reset(b.routeAll())
	}
}

// routeAll attaches what can be attached now, and returns the time until more can.
func (b *Bus) routeAll() time.Duration {
	b.mu.Lock()
	topics := make([]*topic, 0, len(b.unrouted))
	for t := range b.unrouted {
		topics = append(topics, t)
	}
	b.mu.Unlock()
	next := time.Hour
	for _, t := range topics {
		if wait := b.routeOne(t); wait > 0 {
			next = min(next, wait)
		}
		if b.ctx.Err() != nil {
			break
		}
	}
	return next
}

// routeOne attaches t to the link of its route, which it makes when there is none. When it must not yet, it returns
// the time to wait.
func (b *Bus) routeOne(t *topic) time.Duration {
	r := b.router.route(t.kind)
	var o *redis.Options
	var err error
	if wait := b.waiting(r); wait > 0 {
		return wait
	}
	ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
	defer cancel()
	if r != mainRoute {
		var owner route
		if owner, o, err = b.router.owner(ctx, t.name); err == nil {
			r = owner
			if wait := b.waiting(r); wait > 0 {
				return wait
			}
		}
	} else if !b.hasLink(r) {
		o, err = b.router.main(ctx)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		b.failedLocked(r, err)
		b.deafToLocked(r.kind(), false, err)
		return time.Until(b.retry[r].until)
	}
	delete(b.retry, anyShard)
	if _, ok := b.unrouted[t]; !ok || b.closed {
		return 0
	}
	l := b.links[r]
	if l == nil && o == nil { // it ended in between
		return time.Millisecond
	}
	if l == nil {
		l = newLink(b, r, o)
		b.links[r] = l
		b.wg.Go(l.run)
	}
	l.attachLocked(t)
	return 0
}

func (b *Bus) hasLink(r route) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.links[r] != nil
}

// waiting returns for how long no connection should be made for r.
func (b *Bus) waiting(r route) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p := b.retry[r]; p != nil && b.links[r] == nil {
		return time.Until(p.until)
	}
	return 0
}

func (b *Bus) failedLocked(r route, err error) {
	b.lastErr = err
	b.opts.failedAgain(b.retry, r)
}

// linkEnded has the topics of l routed anew.
func (b *Bus) linkEnded(l *link, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.links, l.route)
	if errors.Is(err, errIdle) || errors.Is(err, ErrClosed) {
		err = nil
	}
	if err != nil {
		b.losses.Add(1)
		if r, ok := b.router.(*clusterRouter); ok && l.route == mainRoute {
			r.shun(l.opts.Addr)
		}
		b.failedLocked(l.route, err)
		b.router.stale()
	}
	for t := range l.topics {
		held := t.held()
		l.detachLocked(t)
		t.dirty = false
		if err != nil {
			b.lostLocked(t, held, err)
			if fatal(err) {
				t.refuseLocked(err)
			}
		}
		b.placeLocked(t)
	}
	if err != nil {
		b.deafToLocked(l.route.kind(), false, err)
	}
	b.reviewLocked()
}

// call runs f, which may overstay its context, and returns when f or the time is over. The Bus waits for f when it
// is closed.
func (b *Bus) call(ctx context.Context, timeout time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	done := make(chan error, 1)
	if !b.spawn(func() { done <- f(ctx) }) {
		return ErrClosed
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// spawn runs f on a goroutine that Close waits for. It returns false if the Bus is closed.
func (b *Bus) spawn(f func()) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.wg.Go(f)
	}
	return !b.closed
}

// asReply makes what go-redis returns for an error reply a replyError.
func asReply(err error) error {
	var re redis.Error
	if errors.As(err, &re) {
		return replyError(re.Error())
	}
	return err
}
