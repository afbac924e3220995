package handlers

import "sync"

// Bounds of what requests in progress hold, in bytes. A request that is alone in its bound always fits.
const (
	socketHeld    = 4 << 20   // one socket
	keyHeld       = 8 << 20   // one address or user
	anonymousHeld = 64 << 20  // all sockets that are not elevated
	elevatedHeld  = 192 << 20 // all elevated sockets
)

// slots count the requests in progress and the bytes that they hold. Sockets that are not elevated and elevated ones
// have budgets of their own, and in those each address or user has a share: whoever takes too much is refused, and
// nobody else.
type slots struct {
	mu        sync.Mutex
	anonymous budget // by address
	elevated  budget // by user
}

// budget is what some sockets share. Guarded by slots.mu.
type budget struct {
	requests, share int // limits of all and of one key; negative for none
	bytes           int // limit of all
	used            usage
	of              map[string]usage // by key; no key without requests
}

type usage struct{ requests, bytes int }

// slot is the place of one request.
type slot struct {
	slots  *slots
	budget *budget
	key    string
	bytes  int // guarded by slots.mu
}

// newSlots divides the node's requests: a quarter is for sockets that are not elevated.
func newSlots(l Limits) *slots {
	anonymous, elevated := -1, -1
	if n := l.NodeRequests; n >= 0 {
		anonymous, elevated = max(n/4, 1), max(n-n/4, 1)
	}
	return &slots{
		anonymous: budget{requests: anonymous, share: l.AddressRequests, bytes: anonymousHeld, of: map[string]usage{}},
		elevated:  budget{requests: elevated, share: l.UserRequests, bytes: elevatedHeld, of: map[string]usage{}},
	}
}

// take takes a slot for a request of s that holds so many bytes; nil if there is none.
func (x *slots) take(s *session, bytes int) *slot {
	b, key := &x.anonymous, s.address
	if c := s.claims.Load(); c != nil {
		b, key = &x.elevated, c.Subject
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	mine := b.of[key]
	switch {
	case !within(b.used.requests+1, b.requests), !within(mine.requests+1, b.share):
		return nil
	case mine.requests > 0 && mine.bytes+bytes > keyHeld, b.used.requests > 0 && b.used.bytes+bytes > b.bytes:
		return nil
	}
	b.add(key, 1, bytes)
	return &slot{slots: x, budget: b, key: key, bytes: bytes}
}

// hold counts more bytes, or fewer. It returns false, and counts nothing, if they are over a bound. An answer may be
// large, and is not refused for that alone: only if the other requests hold more than half of the bound as well.
func (s *slot) hold(bytes int) bool {
	s.slots.mu.Lock()
	defer s.slots.mu.Unlock()
	b := s.budget
	over := func(used, limit int) bool { return used+bytes > limit && used-s.bytes > limit/2 }
	if bytes > 0 && (over(b.of[s.key].bytes, keyHeld) || over(b.used.bytes, b.bytes)) {
		return false
	}
	s.bytes += bytes
	b.add(s.key, 0, bytes)
	return true
}

// give gives the slot back, once.
func (s *slot) give() {
	s.slots.mu.Lock()
	defer s.slots.mu.Unlock()
	s.budget.add(s.key, -1, -s.bytes)
}

func (b *budget) add(key string, requests, bytes int) {
	b.used.requests += requests
	b.used.bytes += bytes
	mine := b.of[key]
	mine.requests += requests
	mine.bytes += bytes
	if mine.requests == 0 {
		delete(b.of, key)
		return
	}
	b.of[key] = mine
}

// inProgress is the number of requests in progress.
func (x *slots) inProgress() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.anonymous.used.requests + x.elevated.used.requests
}
