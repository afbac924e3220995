package handlers

import (
	"sync"

	"golang.org/x/time/rate"

	"github.com/architus/guildcast/internal/botwire"
)

// newLimiter makes a token bucket; a negative rate or burst never refuses.
func newLimiter(perSecond float64, burst int) *rate.Limiter {
	if perSecond < 0 || burst < 0 {
		return rate.NewLimiter(rate.Inf, 0)
	}
	return rate.NewLimiter(rate.Limit(perSecond), burst)
}

// limiters is a bounded set of token buckets by key. It keeps two generations: when the young one is full it becomes
// the old one and what was old is forgotten, so that a key in use is never forgotten and no key costs a sweep.
type limiters struct {
	perSecond  float64
	burst      int
	generation int // keys in one generation

	mu         sync.Mutex
	young, old map[string]*rate.Limiter
}

func newLimiters(perSecond float64, burst, remembered int) *limiters {
	return &limiters{
		perSecond: perSecond, burst: burst, generation: remembered / 2,
		young: map[string]*rate.Limiter{},
	}
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
	if b, ok := l.young[key]; ok {
		return b
	}
	b, ok := l.old[key]
	if !ok {
		b = newLimiter(l.perSecond, l.burst)
	}
	if len(l.young) >= l.generation {
		l.old, l.young = l.young, map[string]*rate.Limiter{}
	}
	l.young[key] = b
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
