package permissions

import (
	"container/heap"
	"errors"
	"math"
	"sync"
	"time"
)

const (
	// maxRevocations is the default of Revocations.Max.
	maxRevocations = 2_000_000
	// expirePerAdd bounds how many expired revocations one Add removes, so that none takes long.
	expirePerAdd = 64
	// revocationBatch is how many users or tokens Batches looks at under the lock.
	revocationBatch = 1000
	// always is the span.before of a revocation without IssuedBefore.
	always = math.MaxInt64
)

// ErrTooManyRevocations reports that a revocation did not fit.
var ErrTooManyRevocations = errors.New("too many revocations")

// Revocations remembers revocations until they expire; it forgets none before. The zero value holds none and is ready to
// use. One revocation takes about 130 bytes. All methods may be called concurrently.
type Revocations struct {
	// Max bounds the revocations held; 0 means 2,000,000. One that does not fit makes the set incomplete until it would
	// have expired: Look is not sure of any token that no held revocation matches, and Revoked refuses it.
	Max int

	mu    sync.RWMutex
	first map[string]span   // guarded by mu; by revocationKey
	more  map[string][]span // guarded by mu; further spans of keys in first: seldom any
	len   int               // guarded by mu; spans in first and more
	// Each key of first is in one bucket: that of the minute in which its first span expired when it was put there.
	buckets map[int64][]string // guarded by mu; by Unix minute
	minutes minuteHeap         // guarded by mu; the keys of buckets

	incompleteUntil int64 // guarded by mu; Unix milliseconds
}

// span says which tokens of a key a revocation matches, and how long. Both are Unix milliseconds.
type span struct{ before, expires int64 }

// covers reports whether a matches all that b matches, for as long.
func (a span) covers(b span) bool { return a.before >= b.before && a.expires >= b.expires }

// Add remembers r, and reports whether that is news. Of two that match the same tokens the later expiry counts. An error
// is ErrTooManyRevocations.
func (s *Revocations) Add(r Revocation, now time.Time) (added bool, err error) {
	if !now.Before(r.Expires) || r.Subject == "" && r.TokenID == "" {
		return false, nil // matches no token from now on
	}
	key, fresh := revocationKey(r.Subject, r.TokenID), spanOf(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expireLocked(now)
	held, known := s.first[key]
	switch {
	case known && held.covers(fresh):
		return false, nil
	case known && fresh.covers(held):
		s.first[key] = fresh // it stays in its bucket, and is moved when that is due
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
		limit = maxRevocations
	}
	if s.len >= limit {
		s.incompleteUntil = max(s.incompleteUntil, fresh.expires)
		return false, ErrTooManyRevocations
	}
	if s.first == nil {
		s.first, s.more, s.buckets = map[string]span{}, map[string][]span{}, map[int64][]string{}
	}
	s.len++
	if known {
		s.more[key] = append(s.more[key], fresh)
		return true, nil
	}
	s.first[key] = fresh
	s.queueLocked(key, fresh.expires)
	return true, nil
}

// Revoked reports whether the token of c was taken back, or may have been: s is incomplete.
func (s *Revocations) Revoked(c *Claims, now time.Time) bool {
	revoked, sure := s.Look(c, now)
	return revoked || !sure
}

// Look reports whether a held revocation takes back the token of c. It is not sure of a token that none takes back while
// s is incomplete.
func (s *Revocations) Look(c *Claims, now time.Time) (revoked, sure bool) {
	if s == nil {
		return false, true
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.matchesLocked(revocationKey(c.Subject, ""), c, now) ||
		c.TokenID != "" && (s.matchesLocked(revocationKey("", c.TokenID), c, now) ||
			s.matchesLocked(revocationKey(c.Subject, c.TokenID), c, now)) {
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
		for next := math.MaxInt; next > 0; {
			var batch []Revocation
			s.mu.RLock()
			bucket := s.buckets[minute]
			end := min(next, len(bucket)) // keys are taken from the end
			next = max(end-revocationBatch, 0)
			for _, key := range bucket[next:end] {
				for _, sp := range append([]span{s.first[key]}, s.more[key]...) {
					if sp.expires > now.UnixMilli() {
						batch = append(batch, sp.of(key))
					}
				}
			}
			s.mu.RUnlock()
			if len(batch) > 0 && !yield(batch) {
				return
			}
		}
	}
}

func (s *Revocations) matchesLocked(key string, c *Claims, now time.Time) bool {
	first, known := s.first[key]
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

// expireLocked removes some of what has expired.
func (s *Revocations) expireLocked(now time.Time) {
	for budget := expirePerAdd; budget > 0 && len(s.minutes) > 0; budget-- {
		minute := s.minutes[0]
		if minute >= minuteOf(now.UnixMilli()) {
			return
		}
		bucket := s.buckets[minute]
		if len(bucket) == 0 {
			delete(s.buckets, minute)
			heap.Pop(&s.minutes)
			continue
		}
		key := bucket[len(bucket)-1]
		bucket[len(bucket)-1] = ""
		s.buckets[minute] = bucket[:len(bucket)-1]
		s.expireKeyLocked(key, now.UnixMilli())
	}
}

// expireKeyLocked removes the expired spans of a key that is in no bucket, and queues it again if one is left.
func (s *Revocations) expireKeyLocked(key string, now int64) {
	var kept []span
	for _, sp := range append([]span{s.first[key]}, s.more[key]...) {
		if sp.expires > now {
			kept = append(kept, sp)
		} else {
			s.len--
		}
	}
	delete(s.more, key)
	if len(kept) == 0 {
		delete(s.first, key)
		return
	}
	s.first[key] = kept[0]
	if len(kept) > 1 {
		s.more[key] = kept[1:]
	}
	s.queueLocked(key, kept[0].expires)
}

func (s *Revocations) queueLocked(key string, expires int64) {
	minute := minuteOf(expires)
	if _, known := s.buckets[minute]; !known {
		heap.Push(&s.minutes, minute)
	}
	s.buckets[minute] = append(s.buckets[minute], key)
}

func spanOf(r Revocation) span {
	sp := span{before: always, expires: roundUp(r.Expires)}
	if !r.IssuedBefore.IsZero() {
		sp.before = roundUp(r.IssuedBefore)
	}
	return sp
}

func (a span) matches(c *Claims, now time.Time) bool {
	return now.UnixMilli() < a.expires && (a.before == always || c.IssuedAt.IsZero() || c.IssuedAt.UnixMilli() < a.before)
}

// of returns the revocation of a under a key.
func (a span) of(key string) Revocation {
	r := Revocation{Expires: time.UnixMilli(a.expires)}
	switch key[0] {
	case 't':
		r.TokenID = key[1:]
	case 'b':
		length, rest := int(key[1])<<24|int(key[2])<<16|int(key[3])<<8|int(key[4]), key[5:]
		r.Subject, r.TokenID = rest[:length], rest[length:]
	default:
		r.Subject = key[1:]
	}
	if a.before != always {
		r.IssuedBefore = time.UnixMilli(a.before)
	}
	return r
}

// revocationKey names a user, a token, or a token of a user: different ones differently.
func revocationKey(subject, tokenID string) string {
	switch n := len(subject); {
	case tokenID == "":
		return "s" + subject
	case subject == "":
		return "t" + tokenID
	default:
		return "b" + string([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}) + subject + tokenID
	}
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
