package handlers

import "sync"

// slots count the requests in progress and the bytes that they hold. Elevated sockets and the others have separate
// budgets. Each address or user has a share of its budget, so that one that takes too much is refused and nobody else.
type slots struct {
	mu        sync.Mutex
	anonymous budget // by address
	elevated  budget // by user
}

// budget is what the elevated sockets share, or the others. Guarded by slots.mu.
type budget struct {
	requests, share  int // limits on the requests of all keys and of one; negative means none
	bytes, byteShare int // limits on the bytes of all keys and of one; negative means none
	used             usage
	of               map[string]usage // by key; only keys with requests
}

type usage struct{ requests, bytes int }

// slot is the place of one request.
type slot struct {
	slots  *slots
	budget *budget
	key    string
	bytes  int // guarded by slots.mu
}

// newSlots returns slots for a node. A quarter of its requests is for sockets that are not elevated.
func newSlots(l Limits) *slots {
	x := &slots{anonymous: budget{of: map[string]usage{}}, elevated: budget{of: map[string]usage{}}}
	x.set(l)
	return x
}

// set replaces the limits. What is taken stays taken.
func (x *slots) set(l Limits) {
	anonymous, elevated := -1, -1
	if n := l.NodeRequests; n >= 0 {
		anonymous, elevated = max(n/4, 1), max(n-n/4, 1)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.anonymous.set(anonymous, l.AddressRequests, l.AnonymousBytes, l.AddressBytes)
	x.elevated.set(elevated, l.UserRequests, l.ElevatedBytes, l.UserBytes)
}

func (b *budget) set(requests, share, bytes, byteShare int) {
	b.requests, b.share, b.bytes, b.byteShare = requests, share, bytes, byteShare
}

// take takes a slot for a request of s that holds this many bytes. It returns nil if there is none.
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
	// A request that is alone under a bound always fits.
	case mine.requests > 0 && !within(mine.bytes+bytes, b.byteShare):
		return nil
	case b.used.requests > 0 && !within(b.used.bytes+bytes, b.bytes):
		return nil
	}
	b.add(key, 1, bytes)
	return &slot{slots: x, budget: b, key: key, bytes: bytes}
}

// hold counts more bytes or, if bytes is negative, fewer. It returns false, and counts nothing, if they exceed a bound.
// A large answer alone is no reason to refuse: it exceeds a bound only if the other requests hold more than half of it.
func (s *slot) hold(bytes int) bool {
	s.slots.mu.Lock()
	defer s.slots.mu.Unlock()
	b := s.budget
	over := func(used, limit int) bool { return !within(used+bytes, limit) && used-s.bytes > limit/2 }
	if bytes > 0 && (over(b.of[s.key].bytes, b.byteShare) || over(b.used.bytes, b.bytes)) {
		return false
	}
	s.bytes += bytes
	b.add(s.key, 0, bytes)
	return true
}

// give returns the slot. It must be called once.
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

// inProgress returns the number of requests in progress.
func (x *slots) inProgress() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.anonymous.used.requests + x.elevated.used.requests
}
