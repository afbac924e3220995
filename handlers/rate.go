package handlers

import (
	"sync"

	"golang.org/x/time/rate"

	"github.com/architus/guildcast/internal/botwire"
	"github.com/architus/guildcast/internal/recent"
)

// newLimiter returns a token bucket. It never refuses if the rate or the burst is negative.
func newLimiter(perSecond float64, burst int) *rate.Limiter {
	if perSecond < 0 || burst < 0 {
		return rate.NewLimiter(rate.Inf, 0)
	}
	return rate.NewLimiter(rate.Limit(perSecond), burst)
}

// setLimiter makes a bucket as newLimiter would. What it holds stays, up to the burst.
func setLimiter(b *rate.Limiter, perSecond float64, burst int) {
	like := newLimiter(perSecond, burst)
	b.SetLimit(like.Limit())
	b.SetBurst(like.Burst())
}

// limiters is a bounded set of token buckets by key. It never forgets a key in use.
type limiters struct {
	mu sync.Mutex

	// Guarded by mu.
	perSecond         float64
	burst, remembered int
	buckets           recent.Map[string, *rate.Limiter]
}

func newLimiters(perSecond float64, burst, remembered int) *limiters {
	l := &limiters{}
	l.set(perSecond, burst, remembered)
	return l
}

// set changes what the buckets hold. If anything is new, all of them start full.
func (l *limiters) set(perSecond float64, burst, remembered int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if perSecond != l.perSecond || burst != l.burst || remembered != l.remembered {
		l.perSecond, l.burst, l.remembered = perSecond, burst, remembered
		l.buckets = recent.New[string, *rate.Limiter](remembered, nil)
	}
}

// allow takes one token of key's bucket and reports whether there was one.
func (l *limiters) allow(key string) bool {
	b := l.of(key)
	return b == nil || b.Allow()
}

// of returns the bucket of key, or nil if there is no limit.
func (l *limiters) of(key string) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.perSecond < 0 || l.burst < 0 {
		return nil
	}
	b, ok := l.buckets.Get(key)
	if !ok {
		b = newLimiter(l.perSecond, l.burst)
		l.buckets.Put(key, b)
	}
	return b
}

// withinRates counts one event of the socket, and reports whether the socket, its user and its address may send it.
func (s *session) withinRates() bool {
	g := s.gateway
	s.setRates(g.limits())
	// Each bucket counts the event: an empty one must not shield the others.
	ok := s.events.Allow()
	ok = g.addresses.allow(s.address) && ok
	if c := s.claims.Load(); c != nil {
		ok = g.users.allow(c.Subject) && ok
	}
	return ok
}

// setRates makes the socket's own buckets follow the limits, if these are not those of its last event.
func (s *session) setRates(l *Limits) {
	if s.rates.Swap(l) == l {
		return
	}
	setLimiter(s.events, l.SocketRate, l.SocketBurst)
	setLimiter(s.refusals, max(l.SocketRate, 1), l.Flood)
}

// refuseOverRate returns the error for an event over a rate limit. It disconnects a client that floods.
func (s *session) refuseOverRate(r *request) error {
	g := s.gateway
	g.metrics.refused.Inc()
	if !s.refusals.Allow() {
		g.metrics.floods.Inc()
		s.log().Warn("flooding client disconnected", "event", shown(r.event))
		s.peer.Disconnect(true)
		return nil
	}
	err := errRateLimited()
	if r.event == eventRequestElevation {
		r.part(eventElevationReturn, r.refusedElevation(err))
	}
	return err
}

func errRateLimited() *Error {
	return newError(botwire.WordRateLimited, "Too many events. Slow down.")
}
