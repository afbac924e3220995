// Package compact has a map that gives its memory back. A map of Go's keeps the room that it once needed: a server that
// thousands of clients have left would hold it until they come again.
package compact

// small is the size up to which a map is left alone.
const small = 64

// Map is a map of Go's that is copied into a smaller one when three quarters of what was in it have gone, which costs
// a constant time per Delete on average. The zero value is ready. It is not safe for concurrent use, as maps are.
type Map[K comparable, V any] struct {
	m    map[K]V
	peak int // the most that was in m
}

// Get returns the value of a key, and whether there is one.
func (m *Map[K, V]) Get(k K) (V, bool) {
	v, ok := m.m[k]
	return v, ok
}

// Set gives a key its value.
func (m *Map[K, V]) Set(k K, v V) {
	if m.m == nil {
		m.m = make(map[K]V)
	}
	m.m[k] = v
	m.peak = max(m.peak, len(m.m))
}

// Delete forgets a key.
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

// Len is the number of keys.
func (m *Map[K, V]) Len() int { return len(m.m) }

// All yields keys and values in no order. The loop must not change the map.
func (m *Map[K, V]) All(yield func(K, V) bool) {
	for k, v := range m.m {
		if !yield(k, v) {
			return
		}
	}
}

// Slice returns s, or a copy of it without the room that it does not need, where that is more than three quarters.
func Slice[S ~[]E, E any](s S) S {
	if cap(s) <= small || len(s) > cap(s)/4 {
		return s
	}
	return append(make(S, 0, 2*len(s)), s...)
}
