// Package search finds entities by name as somebody types it: without regard to case and accents, prefixes first, then
// names that contain it, then names that it misspells.
package search

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/architus/guildcast/internal/defaults"
)

const (
	// DefaultMaxEntries is what Options.MaxEntries stands for when it is zero.
	DefaultMaxEntries = 250_000
	// MaxNames is how many names of an entry are looked at; more are ignored.
	MaxNames = 2
	// maxNameRunes is how much of a name is looked at. Discord's have at most 32 characters. The end of a query is one
	// more bit in a word.
	maxNameRunes = 63
	maxIDBytes   = 32
)

// ErrFull means that an entry was not added, for there are MaxEntries.
var ErrFull = errors.New("search index is full")

// Options bounds an Index; the zero value works.
type Options struct {
	// MaxEntries is how many entries there can be; default 250,000. An entry takes about 300 bytes.
	MaxEntries int
}

// Index holds the names of entities. All methods may be called concurrently; a search sees all of a change or nothing
// of it.
//
// A search looks at every entry, but at most of them only at some bits of the sketches of its names, 64 entries at a
// time, which rule it out: that is fast enough (a fraction of a millisecond for 100,000), costs nothing to update, and
// any rule of matching can be expressed in it.
type Index struct {
	max int // static

	// Guarded by mu.
	mu      sync.RWMutex
	slots   map[string]int32 // id to the index in entries
	entries []entry
	blocks  []*block // of blockSize entries each
}

// entry is an id with its folded names; a name that is not there is empty.
type entry struct {
	id    string
	names [MaxNames]name
}

// New makes an empty index.
func New(o Options) *Index {
	return &Index{max: defaults.Positive(o.MaxEntries, DefaultMaxEntries), slots: make(map[string]int32)}
}

// Len is how many entries there are.
func (x *Index) Len() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.entries)
}

// Upsert adds an entry or replaces its names. Empty names do not count; an entry without names is never found. The
// error is ErrFull, or says that the id is empty or too long to be one.
func (x *Index) Upsert(id string, names ...string) error {
	if id == "" || len(id) > maxIDBytes {
		return fmt.Errorf("index an entity: id of %d bytes", len(id))
	}
	e := entry{}
	n := 0
	for _, name := range names {
		if folded := fold(name); folded != "" && n < MaxNames && (n == 0 || folded != e.names[0].text) {
			e.names[n] = nameOf(folded)
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
		if int(slot) == blockSize*len(x.blocks) {
			x.blocks = append(x.blocks, new(block))
		}
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
	x.setLocked(last, entry{})
	x.entries = x.entries[:last]
	x.blocks = slices.Delete(x.blocks, (int(last)+blockSize-1)/blockSize, len(x.blocks))
}

func (x *Index) setLocked(slot int32, e entry) {
	for i := range e.names {
		x.blocks[slot/blockSize].names[i].change(int(slot%blockSize), sketchOf(x.entries[slot].names[i].text), sketchOf(e.names[i].text))
	}
	x.entries[slot] = e
}
