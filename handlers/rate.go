package handlers

import (
	"sync"

	"golang.org/x/time/rate"

	"github.com/architus/guildcast/internal/botwire"
	"github.com/architus/guildcast/internal/recent"
)

// newLimiter makes a token bucket; a negative rate or burst never refuses.
func newLimiter(perSecond float64, burst int) *rate.Limiter {
	if perSecond < 0 || burst < 0 {
		return rate.NewLimiter(rate.Inf, 0)
	}
	return rate.NewLimiter(rate.Limit(perSecond), burst)
}

// limiters is a bounded set of token buckets by key. A key in use is never forgotten.
type limiters struct {
	perSecond float64
	burst     int

	mu      sync.Mutex
	buckets recent.Map[string, *rate.Limiter] // guarded by mu
}

func newLimiters(perSecond float64, burst, remembered int) *limiters {
	return &limiters{perSecond: perSecond, burst: burst, buckets: recent.New[string, *rate.Limiter](remembered, nil)}
}

// allow takes one token of key's bucket.
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

// admit counts one event of the socket against what it, its user and its address may send.
func (s *session) admit() bool {
	g := s.gateway
	// All buckets are asked, so that one that is empty doesn't shield the others.
	ok := s.events.Allow()
	ok = g.addresses.allow(s.address) && ok
	if c := s.claims.Load(); c != nil {
		ok = g.users.allow(c.Subject) && ok
	}
	return ok
}

// refuse answers an event that is one too many, or ends the connection of a client that goes on and on.
func (s *session) refuse(r *request) error {
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
