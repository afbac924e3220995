// Package recent remembers what was stored or used lately, in bounded memory and without a sweep.
package recent

// Map has two generations. What is stored or used is in the younger one; if that has no room left it becomes the older
// one, and what the older one held is forgotten. So an entry in use is never forgotten, and no entry costs a search for
// one that may go.
//
// It is guarded by its owner's lock. The zero value never turns by itself.
type Map[K comparable, V any] struct {
	max    int         // of the weight of both generations; 0 is no bound, and a negative one stores nothing
	weight func(V) int // nil: each entry has 1

	younger, older map[K]V
	size           int // weight of younger
}

// New returns a Map that holds entries of a total weight of max. The weight of a value must not change; a nil weight
// counts entries. An entry of more than half of max is not stored, and a negative max stores nothing.
func New[K comparable, V any](max int, weight func(V) int) Map[K, V] {
	if max == 0 {
		max = -1
	}
	return Map[K, V]{max: max, weight: weight}
}

// Get returns the value of key. It is used, and so as young as if it was stored now.
func (m *Map[K, V]) Get(key K) (v V, ok bool) {
	if v, ok = m.younger[key]; ok {
		return v, true
	}
	if v, ok = m.older[key]; ok {
		m.Put(key, v)
	}
	return v, ok
}

// Has reports whether key is held. It does not count as use.
func (m *Map[K, V]) Has(key K) bool {
	_, young := m.younger[key]
	_, old := m.older[key]
	return young || old
}

// Put stores a value.
func (m *Map[K, V]) Put(key K, v V) {
	size := m.weigh(v)
	if m.max != 0 && size > m.max/2 {
		m.Delete(key) // the value before
		return
	}
	if before, ok := m.younger[key]; ok {
		m.size -= m.weigh(before)
	}
	if m.max != 0 && m.size+size > m.max/2 {
		m.Turn()
	}
	if m.younger == nil {
		m.younger = map[K]V{}
	}
	delete(m.older, key)
	m.younger[key] = v
	m.size += size
}

// Delete forgets key.
func (m *Map[K, V]) Delete(key K) {
	if v, ok := m.younger[key]; ok {
		m.size -= m.weigh(v)
		delete(m.younger, key)
	}
	delete(m.older, key)
}

// Turn makes the younger generation the older one, and forgets what that held.
func (m *Map[K, V]) Turn() { m.younger, m.older, m.size = nil, m.younger, 0 }

// Len returns how many entries are held.
func (m *Map[K, V]) Len() int { return len(m.younger) + len(m.older) }

func (m *Map[K, V]) weigh(v V) int {
	if m.weight == nil {
		return 1
	}
	return m.weight(v)
}
