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

// limiters is a bounded set of token buckets by key. It never forgets a key in use.
type limiters struct {
	perSecond float64
	burst     int

	mu      sync.Mutex
	buckets recent.Map[string, *rate.Limiter] // guarded by mu
}

func newLimiters(perSecond float64, burst, remembered int) *limiters {
	return &limiters{perSecond: perSecond, burst: burst, buckets: recent.New[string, *rate.Limiter](remembered, nil)}
}

// allow takes one token of key's bucket and reports whether there was one.
func (l *limiters) allow(key string) bool {
	if l.perSecond < 0 || l.burst < 0 {
		return true
	}
	return l.of(key).Allow()
}

func (l *limiters) of(key string) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
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
	// Each bucket counts the event: an empty one must not shield the others.
	ok := s.events.Allow()
	ok = g.addresses.allow(s.address) && ok
	if c := s.claims.Load(); c != nil {
		ok = g.users.allow(c.Subject) && ok
	}
	return ok
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
