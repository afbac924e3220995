package search

import (
	"container/heap"
	"math/bits"
	"slices"
)

// hits is a heap with the worst hit in front.
type hits []hit

func (h hits) Len() int           { return len(h) }
func (h hits) Less(i, j int) bool { return compareHits(h[i], h[j]) > 0 }
func (h hits) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *hits) Push(v any)        { *h = append(*h, v.(hit)) }
func (h *hits) Pop() any {
	last := len(*h) - 1
	v := (*h)[last]
	*h = (*h)[:last]
	return v
}

// scan is a search under way. Its index is locked.
type scan struct {
	*Index
	*query
	limit int
	best  hits
	worst hit // of best, once it is full
}

var noHit = hit{class: classNone} // is worse than any

// best returns the entries that match best, in no order. It goes through the index up to four times, for ever worse
// matches, until there are enough.
func (x *Index) best(q *query, limit int) hits {
	x.mu.RLock()
	defer x.mu.RUnlock()
	s := scan{Index: x, query: q, limit: limit, best: make(hits, 0, limit), worst: noHit}
	for c := classPrefix; c <= classSubstring && c <= s.worst.class; c++ {
		s.literal(c)
	}
	if q.typos > 0 && classTypo <= s.worst.class {
		s.near()
	}
	return s.best
}

// literal adds the entries that have the query in a name and can match as well as c, but no better.
func (s *scan) literal(c class) {
	for i := range blockWords * len(s.blocks) {
		names, word := &s.blocks[i/blockWords].names, i%blockWords
		var all [MaxNames]uint64
		var found, done uint64
		for n := range names {
			all[n] = names[n].literal(s.query, word)
			found |= s.short(c, &names[n], all[n]&names[n].begins(s.query, c, word), word)
			done |= all[n] & names[n].begins(s.query, c-1, word)
		}
		for found &^= done; found != 0; found &= found - 1 {
			at := bits.TrailingZeros64(found)
			e, h := &s.entries[64*i+at], noHit
			for n := range names {
				if all[n]>>at&1 == 0 {
					continue
				}
				if name := &e.names[n]; s.hopeful(s.atBest(name, c), name) {
					h = h.better(e, n, s.literally(name.text))
				}
			}
			s.add(h)
		}
	}
}

// near adds the entries that match but for mistakes, unless they match literally: then they are among the best, which
// would be full had there been more of those.
func (s *scan) near() {
	for i := range blockWords * len(s.blocks) {
		names, word := &s.blocks[i/blockWords].names, i%blockWords
		var near [MaxNames]uint64
		var found uint64
		for n := range names {
			near[n] = s.short(classTypo, &names[n], names[n].near(s.query, word), word)
			found |= near[n]
		}
		for ; found != 0; found &= found - 1 {
			at := bits.TrailingZeros64(found)
			e, h := &s.entries[64*i+at], noHit
			for n := range names {
				if near[n]>>at&1 == 0 {
					continue
				}
				if name := &e.names[n]; s.hopeful(classTypo, name) {
					h = h.better(e, n, s.forgivingly(name.text))
				}
			}
			if h.class != classNone && !slices.ContainsFunc(s.best, func(b hit) bool { return b.id == h.id }) {
				s.add(h)
			}
		}
	}
}

// short are those of the given names that are short enough to be among the best if they match as well as c.
func (s *scan) short(c class, b *sketches, names uint64, word int) uint64 {
	if names != 0 && c == s.worst.class {
		return names & b.upTo(int(s.worst.name.runes), word)
	}
	return names
}

// atBest is the best match that a name can be which is none better than c, except for the query itself.
func (q *query) atBest(n *name, c class) class {
	if c == classPrefix && int(n.runes) == len(q.runes) {
		return classEqual
	}
	return c
}

// hopeful reports whether a match of that name, in that class, can be among the best.
func (s *scan) hopeful(c class, n *name) bool {
	switch w := &s.worst; {
	case c != w.class:
		return c < w.class
	case n.runes != w.name.runes:
		return n.runes < w.name.runes
	default:
		return n.head <= w.name.head
	}
}

// better is h, or the match of another name of its entry, which is of class c.
func (h hit) better(e *entry, n int, c class) hit {
	if c == classNone {
		return h
	}
	if other := (hit{class: c, name: e.names[n], id: e.id}); compareHits(other, h) < 0 {
		return other
	}
	return h
}

// add puts a hit among the best, if it is one of them.
func (s *scan) add(h hit) {
	if compareHits(h, s.worst) >= 0 {
		return
	}
	if len(s.best) < s.limit {
		heap.Push(&s.best, h)
	} else {
		s.best[0] = h
		heap.Fix(&s.best, 0)
	}
	if len(s.best) == s.limit {
		s.worst = s.best[0]
	}
}
