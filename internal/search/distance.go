package search

// mistakes is the smallest number of mistakes with which a word of the name, or what begins with it, begins with the
// query, where an insertion, a deletion, a substitution and a swap of neighbours count one each (optimal string
// alignment): 1 stands for 0 too, and 3 for all above q.typos.
//
// It is an automaton that reads the name once. Bit i of r0 says that the first i characters of the query end here
// without a mistake, of r1 with at most one, of r2 with two.
func (q *query) mistakes(name string) int {
	end := uint64(1) << len(q.runes)
	best := 3
	var r0, r1, r2, half0, half1 uint64 // half0: without a mistake but for a swap that waits for its other half
	inWord := false
	for _, r := range name {
		letter := wordly(r)
		if letter && !inWord {
			r0, r1, r2 = r0|0b1, r1|0b11, r2|0b111
		}
		inWord = letter
		m := q.places(r)
		swapped0, swapped1 := (half0&m)<<2, (half1&m)<<2
		half0, half1 = r0&(m>>1), r1&(m>>1)
		n0 := (r0 & m) << 1
		n1 := (r1&m)<<1 | r0 | (r0|n0)<<1 | swapped0
		n2 := (r2&m)<<1 | r1 | (r1|n1)<<1 | swapped1
		if n1&end != 0 {
			return 1
		}
		if n2&end != 0 && q.typos == 2 {
			best = 2
		}
		r0, r1, r2 = n0, n1, n2
	}
	return best
}

// places has bit i set where character i of the query is r.
func (q *query) places(r rune) (m uint64) {
	if r < rune(len(q.ascii)) {
		return q.ascii[r]
	}
	for i, c := range q.runes {
		if c == r {
			m |= 1 << i
		}
	}
	return m
}
