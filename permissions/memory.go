package permissions

import (
	"crypto/sha256"
	"sync"
)

// memory holds the claims of tokens that were verified, by the tokens' hashes. It holds at most max of them: when the
// younger half is full it becomes the older, and what was the older is forgotten. Claims that have expired may be among
// them.
type memory struct {
	max int // static after construction; nothing is remembered where it is negative

	mu      sync.Mutex
	younger map[[sha256.Size]byte]*Claims // guarded by mu
	older   map[[sha256.Size]byte]*Claims // guarded by mu
}

// recall gives the claims of a remembered token, or nil.
func (m *memory) recall(key [sha256.Size]byte) *Claims {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.younger[key]; c != nil {
		return c
	}
	return m.older[key]
}

// store remembers claims.
func (m *memory) store(key [sha256.Size]byte, c *Claims) {
	half := m.max / 2
	if half <= 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.younger[key] != nil {
		return
	}
	if m.younger == nil || len(m.younger) >= half {
		m.older, m.younger = m.younger, make(map[[sha256.Size]byte]*Claims)
	}
	m.younger[key] = c
}
