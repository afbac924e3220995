// Package demo is the guild that `guildcast serve --demo` shows: its people and things, a stream of events that happen
// to them, and a backend worker that answers for it. Everything follows from a seed.
package demo

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/architus/guildcast/internal/defaults"
	"github.com/architus/guildcast/internal/search"
)

// Config says what the demo world is made from.
type Config struct {
	Seed    uint64 // default 1
	Members int    // of the main guild, accounts included; default 240, at most 100,000
}

// World holds the entities of the demo guilds. The generator changes it, the worker reads it; all methods may be called
// concurrently. Entities are replaced and never changed, so that what was read stays as it was.
type World struct {
	// Static after construction.
	seed   uint64
	former []string // ids of users who have left every guild

	mu     sync.RWMutex
	pools  map[poolKey]*pool
	online map[string]map[string]bool // guild id to user ids
}

// poolKey names a pool; an empty guild stands for the guild-agnostic pools.
type poolKey struct {
	guild string
	typ   string
}

// pool keeps entities in the order in which they were first put.
type pool struct {
	ids   []string
	byID  map[string]entity
	names *search.Index // of members and users, else nil
}

// entity is one value of a pool.
type entity interface{ entityID() string }

func (e *Guild) entityID() string        { return e.ID }
func (e *User) entityID() string         { return e.ID }
func (e *Member) entityID() string       { return e.ID }
func (e *Channel) entityID() string      { return e.ID }
func (e *Role) entityID() string         { return e.ID }
func (e *CustomEmoji) entityID() string  { return e.ID }
func (e *AutoResponse) entityID() string { return e.ID }
func (e *SettingValue) entityID() string { return e.ID }

// NewWorld returns the two demo guilds.
func NewWorld(c Config) *World {
	c.Seed = cmp.Or(c.Seed, 1)
	c.Members = defaults.Positive(c.Members, 240)
	w := &World{
		seed:   c.Seed,
		pools:  make(map[poolKey]*pool),
		online: make(map[string]map[string]bool),
	}
	newBuilder(w, c).build()
	return w
}

// Has reports whether there is a guild with that id.
func (w *World) Has(guildID string) bool {
	return lookup[*Guild](w, "", TypeGuild, guildID) != nil
}

// Fetch returns the entities with these ids as JSON, in the order of ids, and the ids that are not there. guildID is
// empty for guild-agnostic types.
func (w *World) Fetch(guildID, typ string, ids []string) (data []json.RawMessage, nonexistent []string, err error) {
	var found []entity
	w.mu.RLock()
	p := w.pools[poolKey{guildID, typ}]
	for _, id := range ids {
		if p == nil || p.byID[id] == nil {
			nonexistent = append(nonexistent, id)
			continue
		}
		found = append(found, p.byID[id])
	}
	w.mu.RUnlock()
	data, err = marshalAll(found)
	return data, nonexistent, err
}

// All returns every entity of a pool as JSON, oldest first.
func (w *World) All(guildID, typ string) ([]json.RawMessage, error) {
	return marshalAll(all[entity](w, guildID, typ))
}

// Search returns the members or users whose names match, best first. For other types, which have no names to search, it
// returns none.
func (w *World) Search(guildID, typ, query string, limit int) ([]json.RawMessage, error) {
	w.mu.RLock()
	p := w.pools[poolKey{guildID, typ}]
	w.mu.RUnlock()
	if p == nil || p.names == nil {
		return nil, nil
	}
	data, _, err := w.Fetch(guildID, typ, p.names.Search(query, limit))
	return data, err
}

// Online returns the ids of the guild's members who are online, sorted.
func (w *World) Online(guildID string) []string {
	w.mu.RLock()
	defer w.mu.RUnlock()
	ids := make([]string, 0, len(w.online[guildID]))
	for id := range w.online[guildID] {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func (w *World) isOnline(guild, id string) bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.online[guild][id]
}

// count returns the number of entities of a pool.
func (w *World) count(guild, typ string) int {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if p := w.pools[poolKey{guild, typ}]; p != nil {
		return len(p.ids)
	}
	return 0
}

func (w *World) put(guild, typ string, e entity) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := poolKey{guild, typ}
	p := w.pools[k]
	if p == nil {
		p = &pool{byID: make(map[string]entity)}
		if typ == TypeMember || typ == TypeUser {
			p.names = search.New(search.Options{})
		}
		w.pools[k] = p
	}
	id := e.entityID()
	if p.byID[id] == nil {
		p.ids = append(p.ids, id)
	}
	p.byID[id] = e
	if p.names != nil {
		// It can't fail: there are fewer entities than the index can hold.
		_ = p.names.Upsert(id, namesOf(e)...)
	}
}

func namesOf(e entity) []string {
	switch e := e.(type) {
	case *User:
		return []string{e.Username}
	case *Member:
		if e.Nick != nil {
			return []string{e.Name, *e.Nick}
		}
		return []string{e.Name}
	}
	return nil
}

func (w *World) remove(guild, typ, id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.pools[poolKey{guild, typ}]
	if p == nil || p.byID[id] == nil {
		return
	}
	delete(p.byID, id)
	if p.names != nil {
		p.names.Remove(id)
	}
	i := slices.Index(p.ids, id)
	p.ids = slices.Delete(p.ids, i, i+1)
}

func (w *World) setOnline(guild, id string, online bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !online {
		delete(w.online[guild], id)
		return
	}
	if w.online[guild] == nil {
		w.online[guild] = make(map[string]bool)
	}
	w.online[guild][id] = true
}

// keys returns all pools in a fixed order.
func (w *World) keys() []poolKey {
	w.mu.RLock()
	defer w.mu.RUnlock()
	keys := make([]poolKey, 0, len(w.pools))
	for k := range w.pools {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b poolKey) int {
		if a.guild != b.guild {
			return strings.Compare(a.guild, b.guild)
		}
		return strings.Compare(a.typ, b.typ)
	})
	return keys
}

// all returns a pool's entities of type T, oldest first.
func all[T entity](w *World, guild, typ string) []T {
	w.mu.RLock()
	defer w.mu.RUnlock()
	p := w.pools[poolKey{guild, typ}]
	if p == nil {
		return nil
	}
	list := make([]T, 0, len(p.ids))
	for _, id := range p.ids {
		if e, ok := p.byID[id].(T); ok {
			list = append(list, e)
		}
	}
	return list
}

// lookup returns one entity, or T's zero value (nil).
func lookup[T entity](w *World, guild, typ, id string) T {
	w.mu.RLock()
	defer w.mu.RUnlock()
	var none T
	p := w.pools[poolKey{guild, typ}]
	if p == nil {
		return none
	}
	e, ok := p.byID[id].(T)
	if !ok {
		return none
	}
	return e
}

func marshalAll(list []entity) ([]json.RawMessage, error) {
	data := make([]json.RawMessage, 0, len(list))
	for _, e := range list {
		b, err := json.Marshal(e)
		if err != nil {
			return nil, fmt.Errorf("encode entity %s: %w", e.entityID(), err)
		}
		data = append(data, b)
	}
	return data, nil
}
