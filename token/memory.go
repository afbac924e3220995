package token

import (
	"crypto/sha256"
	"sync"

	"github.com/architus/guildcast/permissions"
)

// memory holds the claims of tokens that were verified, by the tokens' hashes, in two generations: when the younger is
// full it becomes the older, and what was the older is forgotten. permissions.Claims that have expired may be among
// them.
//
// It is bounded by the tokens' bytes, which is what the size of claims follows from: those of a user in hundreds of
// guilds take as much as those of a hundred others.
type memory struct {
	max int // of the bytes of all tokens; static after construction; nothing is remembered if it is negative

	mu      sync.Mutex
	younger map[[sha256.Size]byte]*permissions.Claims // guarded by mu
	older   map[[sha256.Size]byte]*permissions.Claims // guarded by mu
	bytes   int                                       // of the tokens in younger; guarded by mu
}

// recall returns the claims of a remembered token, or nil.
func (m *memory) recall(key [sha256.Size]byte) *permissions.Claims {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.younger[key]; c != nil {
		return c
	}
	return m.older[key]
}

// store remembers the claims of a token of this many bytes.
func (m *memory) store(key [sha256.Size]byte, c *permissions.Claims, size int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.younger[key] != nil || size > m.max/2 {
		return
	}
	if m.younger == nil || m.bytes+size > m.max/2 {
		m.older, m.younger, m.bytes = m.younger, make(map[[sha256.Size]byte]*permissions.Claims), 0
	}
	m.younger[key] = c
	m.bytes += size
}
