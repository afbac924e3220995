// Package search finds entities by name as somebody types it: without regard
// to case and accents, prefixes first, then names that contain it, then names
// that it misspells.
package search

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
)

const (
	// DefaultMaxEntries is what Options.MaxEntries stands for when it is zero.
	DefaultMaxEntries = 250_000
	// MaxNames is how many names of an entry are looked at; more are ignored.
	MaxNames = 2
	// maxNameRunes is how much of a name is looked at. Discord's have at most
	// 32 characters.
	maxNameRunes = 64
	maxIDBytes   = 32
)

// ErrFull means that an entry was not added, for there are MaxEntries.
var ErrFull = errors.New("search index is full")

// Options bounds an Index; the zero value works.
type Options struct {
	// MaxEntries is how many entries there can be; default 250,000. An entry
	// takes about 200 bytes.
	MaxEntries int
}

// Index holds the names of entities. All methods may be called concurrently;
// a search sees all of a change or nothing of it.
//
// A search looks at every entry, but at most of them only at sketches of its
// names, 16 bytes each, which rule it out: that is fast enough (a millisecond or
// so for 100,000), costs nothing to update, and any rule of matching can be
// expressed in it.
type Index struct {
	max int // static

	// Guarded by mu. What a search looks at first lies together, so that it reads
	// little memory, and that in order.
	mu       sync.RWMutex
	slots    map[string]int32 // id to the index in those that follow
	sketches [][MaxNames]sketch
	keys     [][MaxNames]key
	entries  []entry
}

// entry is an id with its folded names; a name that is not there is empty.
type entry struct {
	id    string
	names [MaxNames]string
}

// New makes an empty index.
func New(o Options) *Index {
	if o.MaxEntries <= 0 {
		o.MaxEntries = DefaultMaxEntries
	}
	return &Index{max: o.MaxEntries, slots: make(map[string]int32)}
}

// Len is how many entries there are.
func (x *Index) Len() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.entries)
}

// Upsert adds an entry or replaces its names. Empty names do not count; an
// entry without names is never found. The error is ErrFull, or says that the id
// is empty or too long to be one.
func (x *Index) Upsert(id string, names ...string) error {
	if id == "" || len(id) > maxIDBytes {
		return fmt.Errorf("index an entity: id of %d bytes", len(id))
	}
	e := entry{}
	n := 0
	for _, name := range names {
		if folded := fold(name); folded != "" && n < MaxNames && (n == 0 || folded != e.names[0]) {
			e.names[n] = folded
			n++
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	slot, known := x.slots[id]
	if !known {
		if len(x.entries) >= x.max {
			return ErrFull
		}
		slot = int32(len(x.entries))
		e.id = strings.Clone(id) // it may be part of a large message
		x.slots[e.id] = slot
		x.entries = append(x.entries, entry{})
		x.sketches = append(x.sketches, [MaxNames]sketch{})
		x.keys = append(x.keys, [MaxNames]key{})
	} else {
		e.id = x.entries[slot].id
	}
	x.setLocked(slot, e)
	return nil
}

// UpsertJSON adds or replaces a user or a member, given as JSON.
func (x *Index) UpsertJSON(entity []byte) error {
	var e struct {
		ID       string  `json:"id"`
		Username string  `json:"username"`
		Name     string  `json:"name"`
		Nick     *string `json:"nick"`
	}
	if err := json.Unmarshal(entity, &e); err != nil {
		return fmt.Errorf("index an entity: %w", err)
	}
	names := []string{e.Username + e.Name} // one or the other
	if e.Nick != nil {
		names = append(names, *e.Nick)
	}
	return x.Upsert(e.ID, names...)
}

// Remove takes an entry out, if it is there.
func (x *Index) Remove(id string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	slot, known := x.slots[id]
	if !known {
		return
	}
	delete(x.slots, id)
	last := int32(len(x.entries) - 1)
	if slot != last {
		x.setLocked(slot, x.entries[last])
		x.slots[x.entries[last].id] = slot
	}
	x.entries[last] = entry{}
	x.entries = x.entries[:last]
	x.sketches, x.keys = x.sketches[:last], x.keys[:last]
}

func (x *Index) setLocked(slot int32, e entry) {
	x.entries[slot] = e
	for i, name := range e.names {
		x.sketches[slot][i], x.keys[slot][i] = sketchOf(name), keyOf(name)
	}
}
