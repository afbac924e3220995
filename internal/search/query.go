package search

import (
	"cmp"
	"container/heap"
	"math/bits"
	"slices"
	"strings"
	"unicode"
)

// MaxLimit is the most that a search gives.
const MaxLimit = 100

// How well a name matches, best first.
type class uint8

const (
	classEqual     class = iota // it is the name
	classPrefix                 // the name begins with it
	classWord                   // a word of the name begins with it
	classSubstring              // the name has it somewhere
	classTypo                   // a word begins with it but for one mistake
	classTypos                  // or two
	classNone
)

// query is what is looked for, prepared once for all names.
type query struct {
	text  string // folded
	runes []rune
	sketch
	key   key
	mask  uint64 // of the bytes of key.head that count
	typos int    // how many mistakes are forgiven

	counts [64]uint8 // how many of its characters share a mark
}

func newQuery(text string) query {
	q := query{text: fold(text)}
	q.runes = []rune(q.text)
	q.sketch = sketchOf(q.text)
	q.key = keyOf(q.text)
	q.mask = ^uint64(0)
	if n := len(q.text); n < 8 {
		q.mask <<= 8 * (8 - n)
	}
	for _, r := range q.runes {
		q.counts[markOf(r)]++
	}
	// One mistake in three characters leaves too little to go by.
	switch n := len(q.runes); {
	case n >= 8:
		q.typos = 2
	case n >= 4:
		q.typos = 1
	}
	return q
}

// hit is an entry that matches.
type hit struct {
	class class
	runes int // of the name
	name  string
	id    string
}

// compareHits orders them, best first. The order is total, so that the same
// entries give the same answer whatever happened before: better match, shorter
// name, alphabet, older id.
func compareHits(a, b hit) int {
	return cmp.Or(
		cmp.Compare(a.class, b.class),
		cmp.Compare(a.runes, b.runes),
		strings.Compare(a.name, b.name),
		cmp.Compare(len(a.id), len(b.id)),
		strings.Compare(a.id, b.id),
	)
}

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

// Search gives the ids of at most limit entries that match text, best first.
// limit is brought within 1 and MaxLimit. An empty text matches nothing.
func (x *Index) Search(text string, limit int) []string {
	q := newQuery(text)
	if q.text == "" {
		return []string{}
	}
	best := x.best(&q, max(1, min(limit, MaxLimit)))
	slices.SortFunc(best, compareHits)
	ids := make([]string, len(best))
	for i, h := range best {
		ids[i] = h.id
	}
	return ids
}

// best finds the entries that match best, in no order.
func (x *Index) best(q *query, limit int) hits {
	best := make(hits, 0, limit)
	worst := hit{class: classNone} // of best, once it is full
	x.mu.RLock()
	defer x.mu.RUnlock()
	for i := range x.sketches {
		if s := &x.sketches[i]; !q.near(&s[0]) && !q.near(&s[1]) {
			continue
		}
		h := x.match(i, q, &worst)
		if h.class == classNone {
			continue
		}
		if len(best) < limit {
			heap.Push(&best, h)
		} else {
			best[0] = h
			heap.Fix(&best, 0)
		}
		if len(best) == limit {
			worst = best[0]
		}
	}
	return best
}

// match finds the better of an entry's names, if one is a better hit than
// worst.
func (x *Index) match(i int, q *query, worst *hit) hit {
	best := hit{class: classNone}
	for n := range MaxNames {
		k := &x.keys[i][n]
		top := q.atBest(&x.sketches[i][n], k)
		if top == classNone || top > worst.class || top == worst.class && int(k.runes) > worst.runes {
			continue
		}
		e := &x.entries[i]
		c := q.classOf(e.names[n], top, worst.class)
		if c == classNone {
			continue
		}
		h := hit{class: c, runes: int(k.runes), name: e.names[n], id: e.id}
		if compareHits(h, *worst) < 0 && (best.class == classNone || compareHits(h, best) < 0) {
			best = h
		}
	}
	return best
}

// near reports whether a name with this sketch can match.
func (q *query) near(s *sketch) bool {
	missing := bits.OnesCount64(q.marks &^ s.marks)
	// A mistake spoils two pairs at most; only a swap spoils three, but no character is missing then.
	return missing <= q.typos && bits.OnesCount64(q.pairs&^s.pairs) <= 3*q.typos-missing
}

// atBest is the best match that a name with this sketch and key can be; classTypo
// stands for classTypos, too.
func (q *query) atBest(s *sketch, k *key) class {
	missing := q.marks &^ s.marks
	switch {
	case !q.near(s) || k.runes == 0 || int(k.runes)+q.typos < len(q.runes) || !q.forgives(missing):
		return classNone
	case missing != 0 || q.pairs&^s.pairs != 0:
		return classTypo
	case k.head&q.mask != q.key.head:
		return classWord
	case k.runes > q.key.runes:
		return classPrefix
	}
	return classEqual
}

// forgives reports whether all of its characters with these marks can be
// mistakes.
func (q *query) forgives(marks uint64) bool {
	n := 0
	for ; marks != 0; marks &= marks - 1 {
		if n += int(q.counts[bits.TrailingZeros64(marks)]); n > q.typos {
			return false
		}
	}
	return true
}

// classOf says how well a name matches that matches no better than top; no closer
// look is taken at what is worse than worst.
func (q *query) classOf(name string, top, worst class) class {
	if top < classTypo {
		switch at := strings.Index(name, q.text); {
		case at == 0 && len(name) == len(q.text):
			return classEqual
		case at == 0:
			return classPrefix
		case at > 0 && beginsWord(name, q.text):
			return classWord
		case at > 0:
			return classSubstring
		}
	}
	if q.typos == 0 || worst < classTypo {
		return classNone
	}
	switch n := q.mistakes(name); {
	case n > q.typos:
		return classNone
	case n <= 1:
		return classTypo
	}
	return classTypos
}

// beginsWord reports whether text stands at the beginning of a word of name.
func beginsWord(name, text string) bool {
	for start := range wordStarts(name) {
		if strings.HasPrefix(name[start:], text) {
			return true
		}
	}
	return false
}

// wordStarts gives where words begin: at the start, and after what is neither
// letter nor digit.
func wordStarts(name string) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		inWord := false
		for i, r := range name {
			letter := unicode.IsLetter(r) || unicode.IsDigit(r)
			if letter && !inWord && !yield(i) {
				return
			}
			inWord = letter
		}
	}
}
