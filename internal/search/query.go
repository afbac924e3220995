package search

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxLimit is the most ids that a search returns.
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

// query is the text of a search, prepared once for all names.
type query struct {
	text  string // folded
	runes []rune
	typos int // how many mistakes are forgiven

	// Bits of a sketch: a mark for each character, a pair for each two neighbours, and all of them, the rarest first.
	marks, pairs, all []uint32

	ascii [utf8.RuneSelf]uint64 // see places
}

func newQuery(text string) *query {
	q := &query{text: fold(text)}
	q.runes = []rune(q.text)
	for i, r := range q.runes {
		if r < utf8.RuneSelf {
			q.ascii[r] |= 1 << i
		}
		q.marks = append(q.marks, markOf(r))
		if i > 0 {
			q.pairs = append(q.pairs, pairOf(q.runes[i-1], r))
		}
	}
	q.all = slices.Concat(q.pairs, q.marks)
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
	name  name
	id    string
}

// compareHits orders them, best first. The order is total, so that the same entries give the same answer whatever
// happened before: better match, shorter name, alphabet, older id.
func compareHits(a, b hit) int {
	return cmp.Or(
		cmp.Compare(a.class, b.class),
		cmp.Compare(a.name.runes, b.name.runes),
		strings.Compare(a.name.text, b.name.text),
		cmp.Compare(len(a.id), len(b.id)),
		strings.Compare(a.id, b.id),
	)
}

// Search returns the ids of at most limit entries that match text, best first. A limit outside of 1 to MaxLimit counts
// as the nearest of these. An empty text matches nothing.
func (x *Index) Search(text string, limit int) []string {
	q := newQuery(text)
	if q.text == "" {
		return []string{}
	}
	best := x.best(q, max(1, min(limit, MaxLimit)))
	slices.SortFunc(best, compareHits)
	ids := make([]string, len(best))
	for i, h := range best {
		ids[i] = h.id
	}
	return ids
}

// literally returns how well a name matches that contains the query.
func (q *query) literally(name string) class {
	switch at := strings.Index(name, q.text); {
	case at < 0:
		return classNone
	case at == 0 && len(name) == len(q.text):
		return classEqual
	case at == 0:
		return classPrefix
	case beginsWord(name, q.text):
		return classWord
	}
	return classSubstring
}

// forgivingly returns how well a name matches that does not contain it.
func (q *query) forgivingly(name string) class {
	switch q.mistakes(name) {
	case 1:
		return classTypo
	case 2:
		return classTypos
	}
	return classNone
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

// wordly reports whether r is part of a word.
func wordly(r rune) bool {
	if r < utf8.RuneSelf {
		return 'a' <= r && r <= 'z' || '0' <= r && r <= '9' // folded text has no others
	}
	return unicode.IsLetter(r) || unicode.IsDigit(r)
}

// wordStarts returns where words begin: at the start, and after a character that is neither letter nor digit.
func wordStarts(name string) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		inWord := false
		for i, r := range name {
			letter := wordly(r)
			if letter && !inWord && !yield(i) {
				return
			}
			inWord = letter
		}
	}
}
