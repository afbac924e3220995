package handlers

import (
	"sync"

	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/internal/recent"
	"github.com/architus/guildcast/permissions"
)

// maxContexts bounds the contexts of a node, which take 8 KiB each. With more classes, those whose events are the
// oldest begin anew.
const maxContexts = 2048

// contexts are the deflate contexts of spectators, one for all who get the same events in the same form. A nil
// *contexts has none.
type contexts struct {
	mu     sync.Mutex
	groups recent.Map[contextKey, *engine.Group] // guarded by mu
}

type contextKey struct {
	guild string
	class permissions.Class
}

// newContexts returns nil if there is nothing to share.
func newContexts(share bool) *contexts {
	if !share {
		return nil
	}
	return &contexts{groups: recent.New[contextKey, *engine.Group](maxContexts, nil)}
}

// of returns the context of a class of a guild, or nil.
func (x *contexts) of(guild string, class permissions.Class) *engine.Group {
	if x == nil {
		return nil
	}
	key := contextKey{guild, class}
	x.mu.Lock()
	defer x.mu.Unlock()
	g, ok := x.groups.Get(key)
	if !ok {
		g = new(engine.Group)
		x.groups.Put(key, g)
	}
	return g
}
