package search

import (
	"slices"
	"unicode/utf8"
)

// mistakes is the smallest number of mistakes with which a word of the name,
// or what begins with it, begins with the query; above q.typos it is any
// larger number.
func (q *query) mistakes(name string) int {
	best := q.typos + 1
	var buffer [maxNameRunes + 8]rune
	for start := range wordStarts(name) {
		n := 0
		for at := start; at < len(name) && n < len(q.runes)+q.typos && n < len(buffer); n++ {
			r, size := utf8.DecodeRuneInString(name[at:])
			buffer[n] = r
			at += size
		}
		if n+q.typos < len(q.runes) {
			break // what is left is too short, and later words are shorter
		}
		if !q.mayBegin(buffer[:n]) {
			continue
		}
		if best = min(best, prefixDistance(q.runes, buffer[:n], q.typos)); best <= 1 {
			break
		}
	}
	return best
}

// mayBegin reports whether the query can stand at the beginning of word but for
// the mistakes that are forgiven. They can't spoil all of the first characters,
// where those are one more, nor bring one farther from its place than they are
// many (a swap spoils none).
func (q *query) mayBegin(word []rune) bool {
	for i, r := range q.runes[:q.typos+1] {
		if slices.Contains(word[max(0, min(i-q.typos, len(word))):min(len(word), i+q.typos+1)], r) {
			return true
		}
	}
	return false
}

// prefixDistance is the smallest distance between a and any prefix of b, where
// an insertion, a deletion, a substitution and a swap of neighbours count one
// each (optimal string alignment). Above most it may give any larger number.
func prefixDistance(a, b []rune, most int) int {
	var rows [3][maxNameRunes + 8]uint8
	if len(a) >= len(rows[0]) {
		return most + 1
	}
	before, last, row := &rows[0], &rows[1], &rows[2]
	for i := range len(a) + 1 {
		last[i] = uint8(i)
	}
	best := int(last[len(a)])
	for j := 1; j <= len(b); j++ {
		row[0] = uint8(j)
		lowest := row[0]
		// Only cells near the diagonal can be small enough.
		from, to := max(1, j-most), min(len(a), j+most)
		if from > 1 {
			row[from-1] = uint8(most + 1)
		}
		for i := from; i <= to; i++ {
			d := last[i-1]
			if a[i-1] != b[j-1] {
				d++
			}
			d = min(d, row[i-1]+1)
			if i < j+most { // else the cell above was not computed
				d = min(d, last[i]+1)
			}
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, before[i-2]+1)
			}
			row[i] = d
			lowest = min(lowest, d)
		}
		if to == len(a) {
			best = min(best, int(row[len(a)]))
		}
		if int(lowest) > most {
			break
		}
		before, last, row = last, row, before
	}
	return best
}
