package token

import (
	"crypto/sha256"
	"sync"

	"github.com/architus/guildcast/internal/recent"
	"github.com/architus/guildcast/permissions"
)

// memory holds the claims of verified tokens by the tokens' hashes. Some may have expired.
//
// Its bound is in bytes of tokens, since the claims of a user in hundreds of guilds take as much as those of a hundred
// others.
type memory struct {
	mu     sync.Mutex
	tokens recent.Map[[sha256.Size]byte, remembered] // guarded by mu
}

// remembered is the claims of a token and the token's size in bytes.
type remembered struct {
	claims *permissions.Claims
	size   int
}

// newMemory returns a memory for this many bytes of tokens; if it is negative, the memory stays empty.
func newMemory(bytes int) *memory {
	return &memory{tokens: recent.New[[sha256.Size]byte](bytes, func(r remembered) int { return r.size })}
}

// recall returns the claims of a remembered token, or nil.
func (m *memory) recall(key [sha256.Size]byte) *permissions.Claims {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, _ := m.tokens.Get(key)
	return r.claims
}

// store remembers the claims of a token of size bytes.
func (m *memory) store(key [sha256.Size]byte, c *permissions.Claims, size int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tokens.Put(key, remembered{c, size})
}
