package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// lookTime bounds one look at where the configured name leads.
const lookTime = 1500 * time.Millisecond

var (
	errReplica = errors.New("it is a replica, not the primary")
	errMoved   = errors.New("another server is the primary now")
	errUnheard = errors.New("subscribed, but what is published is not heard")
)

// watch looks, every CheckInterval and upon any doubt, whether the link is connected to the server that it should be,
// until it is not.
func (l *link) watch(ctx context.Context) error {
	tick := time.NewTicker(l.b.opts.CheckInterval)
	defer tick.Stop()
	defer l.forget()
	for {
		select {
		case <-tick.C:
		case <-l.doubt:
		case <-ctx.Done():
			return nil
		}
		began := time.Now()
		err := l.look(ctx)
		if ctx.Err() != nil { // the link ends: nothing was found out
			return nil
		}
		if err != nil {
			return err
		}
		l.awake(began)
	}
}

// awake has a link whose server was silent believed again, if the server has answered before it was looked at from
// began on. In a cluster it has had some time before to learn that another is in its place.
func (l *link) awake(began time.Time) {
	if _, cluster := l.b.router.(*clusterRouter); cluster {
		began = began.Add(-settleCluster)
	}
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	if l.silent && !l.stirred.IsZero() && l.stirred.Before(began) {
		l.silent, l.stirred = false, time.Time{}
		l.b.reviewLocked()
	}
}

// doubtLinks has every link look at once.
func (b *Bus) doubtLinks() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.links {
		l.doubt.Send()
	}
}

// look returns an error if the link should be given up. What can't be found out says nothing.
func (l *link) look(ctx context.Context) error {
	id, began, ok := l.identify(ctx)
	if !ok {
		return nil
	}
	_, cluster := l.b.router.(*clusterRouter)
	if id.replica && !id.differs(l.id) {
		if !cluster {
			l.b.moved(began) // whoever comes after it
		}
		return errReplica
	}
	if !id.replica && id.differs(l.id) {
		if id, began, ok = l.identify(ctx); ok && !id.replica && id.differs(l.id) && l.b.mayMove() {
			l.b.met(id, began)
			return errMoved
		}
		// The name leads to several servers by turns. They are believed to be one if they pass messages on.
		return l.hear(ctx)
	}
	if !cluster && id.same(l.id) {
		return nil
	}
	return l.hear(ctx)
}

// maxMoves bounds the moves in a minute. More are no moves: a balancer stands before several servers.
const maxMoves = 5

// mayMove reports whether a server that is not the link's is believed to be its successor.
func (b *Bus) mayMove() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.moves = slices.DeleteFunc(b.moves, func(t time.Time) bool { return time.Since(t) > time.Minute })
	if len(b.moves) == maxMoves {
		if !b.balanced {
			b.balanced = true
			b.opts.Logger.Warn("redis is another server all the time: is there a balancer before several?")
		}
		return false
	}
	b.moves = append(b.moves, time.Now())
	return true
}

// identify asks the server to which the link would be connected now. In a cluster that is always the same one: a
// connection is kept for it.
func (l *link) identify(ctx context.Context) (id identity, began time.Time, ok bool) {
	began = time.Now()
	_, cluster := l.b.router.(*clusterRouter)
	if cluster && l.scout != nil {
		id, err := l.scout.ask(began.Add(lookTime))
		if err == nil {
			return id, began, true
		}
		l.forget()
	}
	c, id, err := l.meet(ctx)
	if err != nil {
		l.b.opts.Logger.Debug("redis can't be asked whether it is the primary", "addr", l.opts.Addr, "err", err)
		return id, began, false
	}
	l.b.complainOnce(id.refused)
	if cluster {
		l.scout = c
	} else {
		c.nc.Close()
	}
	return id, began, true
}

// forget closes the kept connection.
func (l *link) forget() {
	if l.scout != nil {
		l.scout.nc.Close()
		l.scout = nil
	}
}

// meet makes a new connection to where the link's name leads now.
func (l *link) meet(ctx context.Context) (*conn, identity, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	c, err := dial(ctx, l.opts, l.b.opts.Name+"-check")
	if err != nil {
		return nil, identity{}, err
	}
	return c, c.id, nil
}

// hear repeats the probe. If the message has not come when Redis answers a later PING, it will not come; if that answer
// does not come soon either, the link is not believed to hear until it does.
func (l *link) hear(ctx context.Context) error {
	l.b.mu.Lock()
	skip := l.probe.evicted || l.probe.refused != nil
	l.b.mu.Unlock()
	if skip {
		return nil
	}
	select {
	case <-l.probe.heard: // a late one
	default:
	}
	began := time.Now()
	if err := l.b.call(ctx, lookTime, l.publishProbe); err != nil {
		return nil
	}
	_, cluster := l.b.router.(*clusterRouter)
	patience := settleAlone
	if cluster {
		patience = settleCluster
	}
	if l.heardWithin(ctx, patience) {
		l.believe(nil)
		return nil
	}
	answered := l.ping()
	timer := time.NewTimer(pongWait)
	defer timer.Stop()
	select {
	case <-answered:
	case <-ctx.Done():
		return nil
	case <-timer.C:
		l.believe(fmt.Errorf("redis at %s: %w", l.opts.Addr, errUnheard))
		select {
		case <-answered:
		case <-ctx.Done():
			return nil
		}
	}
	switch {
	case l.heardWithin(ctx, 0):
		l.believe(nil)
		return nil
	case !cluster:
		l.b.moved(began)
	}
	return errUnheard
}

func (l *link) heardWithin(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-l.probe.heard:
		return true
	case <-ctx.Done():
	case <-timer.C:
		select {
		case <-l.probe.heard:
			return true
		default:
		}
	}
	return false
}

// believe takes note of why the link may not hear, or that it does. What comes late is a gap: others may have dropped
// what they could not pass on.
func (l *link) believe(doubt error) {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	l.unheard = doubt != nil
	if doubt != nil {
		l.b.deafToLocked(l.route.kind(), false, doubt)
	} else {
		l.b.reviewLocked()
	}
}

// met takes note that the configured name led to a server when it was followed at since. If it was another one before,
// the client's own connections may lead there still.
func (b *Bus) met(id identity, since time.Time) {
	b.complainOnce(id.refused)
	if _, cluster := b.router.(*clusterRouter); cluster || id.run == "" || id.replica {
		return
	}
	before := b.primary.Swap(&id.run)
	if before == nil || *before == id.run {
		return
	}
	b.opts.Logger.Info("redis is another server now", "run_id", id.run)
	b.moved(since)
}

// moved has connections made before since no longer used.
func (b *Bus) moved(since time.Time) {
	b.movedAt.Store(&since)
	if b.opts.OnMoved != nil {
		b.opts.OnMoved(since)
	}
}

// complainOnce logs that an ACL keeps the Bus from knowing who a server is.
func (b *Bus) complainOnce(err error) {
	if err != nil && b.ctx.Err() == nil && b.complained.CompareAndSwap(false, true) {
		b.opts.Logger.Warn("redis refuses INFO or ROLE: that another server is the primary is noticed by what is not heard only",
			"err", err)
	}
}
