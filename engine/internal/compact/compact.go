// Package compact provides a map that gives its memory back. Go's own map keeps the memory that it once needed, so a
// server would hold the memory of thousands of clients that have left.
package compact

// small is the size up to which a map never shrinks.
const small = 64

// Map is a Go map that is copied into a smaller one when three quarters of its keys have been deleted. The copying
// takes amortized constant time per Delete. The zero value is ready to use. Like a Go map it is not safe for concurrent
// use.
type Map[K comparable, V any] struct {
	m    map[K]V
	peak int // the most that was in m
}

// Get returns the value of a key, and reports whether there is one.
func (m *Map[K, V]) Get(k K) (V, bool) {
	v, ok := m.m[k]
	return v, ok
}

// Set sets the value of a key.
func (m *Map[K, V]) Set(k K, v V) {
	if m.m == nil {
		m.m = make(map[K]V)
	}
	m.m[k] = v
	m.peak = max(m.peak, len(m.m))
}

// Delete removes a key.
func (m *Map[K, V]) Delete(k K) {
	delete(m.m, k)
	if m.peak <= small || len(m.m) > m.peak/4 {
		return
	}
	fewer := make(map[K]V, len(m.m))
	for k, v := range m.m {
		fewer[k] = v
	}
	m.m, m.peak = fewer, len(fewer)
}

// Len returns the number of keys.
func (m *Map[K, V]) Len() int { return len(m.m) }

// All yields keys and values in no order. The loop must not change the map.
func (m *Map[K, V]) All(yield func(K, V) bool) {
	for k, v := range m.m {
		if !yield(k, v) {
			return
		}
	}
}

// Slice returns s, or a copy of the right size if more than three quarters of s's capacity are unused.
func Slice[S ~[]E, E any](s S) S {
	if cap(s) <= small || len(s) > cap(s)/4 {
		return s
	}
	return append(make(S, 0, 2*len(s)), s...)
}
