package search

import (
	"math/bits"
	"unicode/utf8"
)

// A sketch says of a name which marks it has (of its characters), which pairs (of neighbouring characters), the mark
// that it begins with, the marks that it and its words begin with, and how long it is.
type sketch [8]uint64

// Bits of a sketch.
const (
	firstPair    = 64
	firstLead    = 320
	firstInitial = 384
	firstLength  = 448
	lengthBits   = 6 // maxNameRunes is 63
	sketchBits   = firstLength + lengthBits
)

// sketchOf is the sketch of a folded name.
func sketchOf(name string) (s sketch) {
	var last rune
	for i, r := range name {
		s.add(markOf(r))
		if i > 0 {
			s.add(pairOf(last, r))
		} else {
			s.add(firstLead + markOf(r))
			s.add(firstInitial + markOf(r))
		}
		last = r
	}
	for start := range wordStarts(name) {
		r, _ := utf8.DecodeRuneInString(name[start:])
		s.add(firstInitial + markOf(r))
	}
	s[firstLength/64] = uint64(utf8.RuneCountInString(name))
	return s
}

func (s *sketch) add(bit uint32) { s[bit/64] |= 1 << (bit % 64) }

// pairOf is the bit of two neighbours, which all pairs that there are share.
func pairOf(a, b rune) uint32 { return firstPair + (uint32(a)*0x9e3779b1+uint32(b)*0x85ebca6b)>>24 }

const (
	blockWords = 8 // 64 bytes, as the memory is read
	blockSize  = 64 * blockWords
)

// A block holds the sketches of blockSize entries.
type block struct{ names [MaxNames]sketches }

// sketches are those of blockSize names, stored by column: a word holds the same bit of 64 names. So a search reads
// only the bits that its query concerns.
type sketches [sketchBits][blockWords]uint64

// change puts a sketch in the place of another.
func (b *sketches) change(slot int, old, fresh sketch) {
	for i := range old {
		for changed := old[i] ^ fresh[i]; changed != 0; changed &= changed - 1 {
			b[64*i+bits.TrailingZeros64(changed)][slot/64] ^= 1 << (slot % 64)
		}
	}
}

// literal are those names of a word that have all marks and pairs of the query.
func (b *sketches) literal(q *query, word int) uint64 {
	all := ^uint64(0)
	for _, bit := range q.all {
		if all &= b[bit][word]; all == 0 {
			break
		}
	}
	return all
}

// begins are those names of a word that can match as well as c, which is a match of names that have the query.
func (b *sketches) begins(q *query, c class, word int) uint64 {
	switch c {
	case classPrefix:
		return b[firstLead+q.marks[0]][word]
	case classWord:
		return b[firstInitial+q.marks[0]][word]
	case classSubstring:
		return ^uint64(0)
	}
	return 0
}

// near are those names of a word that can match the query with the mistakes that it forgives. Unless the query's first
// character begins a word, one of them is in the first two characters.
func (b *sketches) near(q *query, word int) uint64 {
	near := b.forgiven(q.marks, q.pairs, q.typos, word) &^ b.upTo(len(q.runes)-q.typos-1, word)
	if near != 0 {
		near &= b[firstInitial+q.marks[0]][word] | b.forgiven(q.marks[2:], q.pairs[2:], q.typos-1, word)
	}
	return near
}

// forgiven are those names of a word that have all of these marks and pairs but for what can be missing with so many
// mistakes. Each takes one character from the query at most. It then spoils two pairs, or three where it takes none,
// which is a swap. So as many marks can be missing, and of marks and pairs together three times as many.
//
// Names are counted 64 at once: each of the variables is one digit of 64 numbers, which begin so that what is too many
// overflows.
func (b *sketches) forgiven(marks, pairs []uint32, mistakes, word int) uint64 {
	var over, m0, m1, s0, s1, s2 uint64
	switch mistakes {
	case 0:
		m0, m1, s0, s1, s2 = ^m0, ^m1, ^s0, ^s1, ^s2 // 3 of 3, and 7 of 7
	case 1:
		m1, s2 = ^m1, ^s2 // 2 and 4
	case 2:
		m0, s0 = ^m0, ^s0 // 1 and 1
	}
	for _, bit := range pairs {
		x := ^b[bit][word]
		c := s0 & x
		s0 ^= x
		over |= s2 & s1 & c
		s1, s2 = s1^c, s2^(s1&c)
		if ^over == 0 {
			return 0
		}
	}
	for _, bit := range marks {
		x := ^b[bit][word]
		c := s0 & x
		s0 ^= x
		over |= (s2 & s1 & c) | (m1 & m0 & x)
		s1, s2 = s1^c, s2^(s1&c)
		m0, m1 = m0^x, m1^(m0&x)
		if ^over == 0 {
			return 0
		}
	}
	return ^over
}

// upTo are those names of a word that are n characters long at most.
func (b *sketches) upTo(n, word int) uint64 {
	shorter, equal := uint64(0), ^uint64(0)
	for i := lengthBits - 1; i >= 0; i-- {
		digit := b[firstLength+i][word]
		if n>>i&1 != 0 {
			shorter |= equal &^ digit
			equal &= digit
		} else {
			equal &^= digit
		}
	}
	return shorter | equal
}
