package permissions

import (
	"container/heap"
	"errors"
	"hash/maphash"
	"math"
	"sync"
	"time"
)

const (
	// DefaultMaxRevocations is the default of Revocations.Max.
	DefaultMaxRevocations = 2_000_000
	// expirePerAdd bounds how many expired revocations one Add removes, so that none takes long.
	expirePerAdd = 64
	// revocationBatch is how many users or tokens Batches looks at under the lock.
	revocationBatch = 1000
	// always is the span.before of a revocation without IssuedBefore.
	always = math.MaxInt64
)

// ErrTooManyRevocations reports that a revocation did not fit.
var ErrTooManyRevocations = errors.New("too many revocations")

// Revocations remembers revocations until they expire; it forgets none before. The zero value holds none and is ready
// to use. One revocation takes 60 bytes, and one that names a UUID 95. All methods may be called concurrently.
type Revocations struct {
	// Max bounds the revocations held; 0 means 2,000,000. One that does not fit makes the set incomplete until it would
	// have expired: Look is not sure of any token that no held revocation matches, and Revoked refuses it.
	Max int

	mu    sync.RWMutex
	seeds [2]maphash.Seed   // guarded by mu; set by the first Add
	first spanTable         // guarded by mu
	more  map[digest][]span // guarded by mu; further spans of keys in first: seldom any
	len   int               // guarded by mu; spans in first and more
	// Each key of first is in one bucket: that of the minute in which its first span expired when it was put there.
	buckets map[int64]*bucket // guarded by mu; by Unix minute
	minutes minuteHeap        // guarded by mu; the keys of buckets

	incompleteUntil int64 // guarded by mu; Unix milliseconds
}

// span says which tokens of a key a revocation matches, and how long. Both are Unix milliseconds.
type span struct{ before, expires int64 }

// covers reports whether a matches all that b matches, for as long.
func (a span) covers(b span) bool { return a.before >= b.before && a.expires >= b.expires }

// Add remembers r, and reports whether that is news. Of two that match the same tokens the later expiry counts. An
// error is ErrTooManyRevocations.
func (s *Revocations) Add(r Revocation, now time.Time) (added bool, err error) {
	if !now.Before(r.Expires) || r.Subject == "" && r.TokenID == "" {
		return false, nil // matches no token from now on
	}
	fresh := spanOf(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expireLocked(now)
	if s.buckets == nil {
		s.seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}
		s.more, s.buckets = map[digest][]span{}, map[int64]*bucket{}
	}
	id := appendRevocationKey(nil, r.Subject, r.TokenID)
	key := s.digestLocked(id)
	held, known := s.first.get(key)
	switch {
	case known && held.covers(fresh):
		return false, nil
	case known && fresh.covers(held):
		s.first.set(key, fresh) // it stays in its bucket, and is moved when that is due
		return true, nil
	}
	for i, old := range s.more[key] {
		if old.covers(fresh) {
			return false, nil
		}
		if fresh.covers(old) {
			s.more[key][i] = fresh
			return true, nil
		}
	}
	limit := s.Max
	if limit <= 0 {
		limit = DefaultMaxRevocations
	}
	if s.len >= limit {
		s.incompleteUntil = max(s.incompleteUntil, fresh.expires)
		return false, ErrTooManyRevocations
	}
	s.len++
	if known {
		s.more[key] = append(s.more[key], fresh)
		return true, nil
	}
	s.first.set(key, fresh)
	s.queueLocked(id, fresh.expires)
	return true, nil
}

// Revoked reports whether the token of c is revoked, or may be because s is incomplete.
func (s *Revocations) Revoked(c *Claims, now time.Time) bool {
	revoked, sure := s.Look(c, now)
	return revoked || !sure
}

// Look reports whether a held revocation revokes the token of c. While s is incomplete, it is not sure of a token that
// none revokes.
func (s *Revocations) Look(c *Claims, now time.Time) (revoked, sure bool) {
	if s == nil {
		return false, true
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.matchesLocked(c.Subject, "", c, now) ||
		c.TokenID != "" && (s.matchesLocked("", c.TokenID, c, now) || s.matchesLocked(c.Subject, c.TokenID, c, now)) {
		return true, true
	}
	return false, now.UnixMilli() >= s.incompleteUntil
}

// Incomplete reports whether a revocation in force did not fit.
func (s *Revocations) Incomplete(now time.Time) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return now.UnixMilli() < s.incompleteUntil
}

// Len returns the number of revocations held, expired ones included.
func (s *Revocations) Len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.len
}

// Batches calls yield with all revocations in force, some at a time, until it returns false. No lock is held meanwhile:
// one that is added or extended during the call may be left out.
func (s *Revocations) Batches(now time.Time, yield func([]Revocation) bool) {
	s.mu.RLock()
	minutes := append([]int64(nil), s.minutes...)
	s.mu.RUnlock()
	for _, minute := range minutes {
		for at, end := 0, 1; at < end; {
			var batch []Revocation
			s.mu.RLock()
			b := s.buckets[minute]
			if b == nil {
				s.mu.RUnlock()
				break
			}
			at, end = max(at, b.read), len(b.keys)
			for n := 0; n < revocationBatch && at < end; n++ {
				var id []byte
				id, at = b.key(at)
				batch = s.inForceLocked(batch, id, now)
			}
			s.mu.RUnlock()
			if len(batch) > 0 && !yield(batch) {
				return
			}
		}
	}
}

// inForceLocked appends the revocations of a key.
func (s *Revocations) inForceLocked(list []Revocation, id []byte, now time.Time) []Revocation {
	key := s.digestLocked(id)
	for _, sp := range s.spansLocked(key) {
		if sp.expires > now.UnixMilli() {
			list = append(list, sp.of(id))
		}
	}
	return list
}

func (s *Revocations) matchesLocked(subject, tokenID string, c *Claims, now time.Time) bool {
	if s.len == 0 {
		return false
	}
	var room [128]byte // on the stack
	key := s.digestLocked(appendRevocationKey(room[:0], subject, tokenID))
	first, known := s.first.get(key)
	if !known {
		return false
	}
	if first.matches(c, now) {
		return true
	}
	for _, sp := range s.more[key] {
		if sp.matches(c, now) {
			return true
		}
	}
	return false
}

// spansLocked returns the spans of a key in a bucket.
func (s *Revocations) spansLocked(key digest) []span {
	first, _ := s.first.get(key)
	return append([]span{first}, s.more[key]...)
}

func (s *Revocations) digestLocked(id []byte) digest {
	return digest{maphash.Bytes(s.seeds[0], id), maphash.Bytes(s.seeds[1], id)}
}

// expireLocked removes some of what has expired.
func (s *Revocations) expireLocked(now time.Time) {
	for budget := expirePerAdd; budget > 0 && len(s.minutes) > 0; budget-- {
		minute := s.minutes[0]
		if minute >= minuteOf(now.UnixMilli()) {
			return
		}
		b := s.buckets[minute]
		if b.read == len(b.keys) {
			delete(s.buckets, minute)
			heap.Pop(&s.minutes)
			continue
		}
		var id []byte
		id, b.read = b.key(b.read)
		s.expireKeyLocked(id, now.UnixMilli())
	}
}

// expireKeyLocked removes the expired spans of a key that is in no bucket, and queues it again if one is left.
func (s *Revocations) expireKeyLocked(id []byte, now int64) {
	key := s.digestLocked(id)
	var kept []span
	for _, sp := range s.spansLocked(key) {
		if sp.expires > now {
			kept = append(kept, sp)
		} else {
			s.len--
		}
	}
	delete(s.more, key)
	if len(kept) == 0 {
		s.first.remove(key)
		return
	}
	s.first.set(key, kept[0])
	if len(kept) > 1 {
		s.more[key] = kept[1:]
	}
	s.queueLocked(id, kept[0].expires)
}

func (s *Revocations) queueLocked(id []byte, expires int64) {
	minute := minuteOf(expires)
	b := s.buckets[minute]
	if b == nil {
		b = new(bucket)
		s.buckets[minute] = b
		heap.Push(&s.minutes, minute)
	}
	b.add(id)
}

func spanOf(r Revocation) span {
	sp := span{before: always, expires: max(roundUp(r.Expires), 1)}
	if !r.IssuedBefore.IsZero() {
		sp.before = roundUp(r.IssuedBefore)
	}
	return sp
}

func (a span) matches(c *Claims, now time.Time) bool {
	return now.UnixMilli() < a.expires &&
		(a.before == always || c.IssuedAt.IsZero() || c.IssuedAt.UnixMilli() < a.before)
}

// of returns the revocation of a under a key.
func (a span) of(id []byte) Revocation {
	r := Revocation{Expires: time.UnixMilli(a.expires)}
	r.Subject, r.TokenID = readRevocationKey(id)
	if a.before != always {
		r.IssuedBefore = time.UnixMilli(a.before)
	}
	return r
}

// roundUp returns t in Unix milliseconds, and never less: what is rounded holds a little longer.
func roundUp(t time.Time) int64 {
	ms := t.UnixMilli()
	if time.UnixMilli(ms).Before(t) {
		ms++
	}
	return ms
}

func minuteOf(ms int64) int64 { return ms / 60_000 }

// minuteHeap has the earliest minute first.
type minuteHeap []int64

func (h minuteHeap) Len() int           { return len(h) }
func (h minuteHeap) Less(i, j int) bool { return h[i] < h[j] }
func (h minuteHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *minuteHeap) Push(x any)        { *h = append(*h, x.(int64)) }
func (h *minuteHeap) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	*h = (*h)[:last]
	return x
}
