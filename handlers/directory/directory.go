package directory

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/internal/processor"
	"github.com/architus/guildcast/internal/search"
)

const (
	// settleTimeout is how long a search waits for changes that were announced before it.
	settleTimeout = 100 * time.Millisecond

	// maxChanges bounds the changed entities that wait to be read again. A directory with more is dropped, and built
	// again by the next search.
	maxChanges = 10_000

	// buildTimeout bounds the reading of a pool into a directory.
	buildTimeout = 30 * time.Second

	// A directory of users is used for directoryAgeFactor times the time that it took to build, but at least
	// minDirectoryAge and at most maxDirectoryAge: events of guilds report only some of the changes of users. Building
	// takes 1 % of the time at most.
	minDirectoryAge    = time.Second
	maxDirectoryAge    = time.Minute
	directoryAgeFactor = 100
)

// directory holds the names of one pool. The first search builds it; the guild's events keep it up to date. It holds
// the guild's topic for as long as it exists, and it exists while somebody who searched it is there.
type directory struct {
	set   *Set
	pool  Pool
	index *search.Index

	ready   chan struct{} // closed when err and expires are set
	err     error         // why it could not be built
	expires time.Time     // zero: never

	// Guarded by Set.mu.
	holders map[Holder]struct{}
	used    time.Time
	linger  *time.Timer // nil while there are holders
	entries int         // counted towards Options.MaxEntries

	// Guarded by mu.
	mu      sync.Mutex
	release func()              // of the topic; nil without one
	ended   bool                // it was dropped: nothing is read for it any more
	changed map[string]struct{} // ids to be read again
	settled chan struct{}       // closed when the changes are read; nil while there are none
}

// outdated reports whether a directory should be built anew.
func (d *directory) outdated(now time.Time) bool {
	return d.built() && (d.err != nil || d.index.Len() == 0 || !d.expires.IsZero() && now.After(d.expires))
}

// built reports whether the building is over.
func (d *directory) built() bool {
	select {
	case <-d.ready:
		return true
	default:
		return false
	}
}

// note has ids read again. It returns false if there are too many changes to follow.
func (d *directory) note(ids []string) bool {
	if len(ids) == 0 {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return true
	}
	if len(d.changed)+len(ids) > maxChanges {
		return false
	}
	if d.changed == nil {
		d.changed = map[string]struct{}{}
	}
	for _, id := range ids {
		d.changed[id] = struct{}{}
	}
	if d.settled == nil && d.set.spawn(d.follow) { // while it is built, build follows
		d.settled = make(chan struct{})
	}
	return true
}

// settle waits for the changes that are being read, for at most settleTimeout.
func (d *directory) settle(ctx context.Context) {
	d.mu.Lock()
	settled := d.settled
	d.mu.Unlock()
	if settled == nil {
		return
	}
	timer := time.NewTimer(settleTimeout)
	defer timer.Stop()
	select {
	case <-settled:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// build reads the whole pool, and then what changed meanwhile.
func (d *directory) build() {
	ctx, cancel := context.WithTimeout(d.set.ctx, buildTimeout)
	defer cancel()
	began := time.Now()
	partial, err := d.read(ctx)
	took := time.Since(began)
	d.err = err
	if partial || d.pool.Guild == "" {
		d.expires = began.Add(took + min(max(directoryAgeFactor*took, minDirectoryAge), maxDirectoryAge))
	}
	close(d.ready)
	d.follow()
	if d.err != nil {
		d.end()
	}
}

// read fills the index. It reports whether the pool is indexed in part only, for want of room.
func (d *directory) read(ctx context.Context) (partial bool, err error) {
	if d.pool.Guild != "" {
		// The subscription comes first, so that no change falls between the two.
		release, err := d.set.topics.Acquire(ctx, event.Topic{Guild: d.pool.Guild})
		if err != nil {
			return false, fmt.Errorf("follow the guild's events: %w", err)
		}
		if !d.keep(release) {
			release()
			return false, errDropped
		}
	}
	err = d.set.pools.All(ctx, d.pool.Guild, d.pool.Kind, func(ids []string, values [][]byte) error {
		room := d.set.reserve(d, len(values))
		if room < 0 {
			return errDropped
		}
		defer d.set.settleEntries(d)
		processor.Enter()
		defer processor.Leave()
		for _, v := range values[:room] {
			// An entity that can't be read has no name to be found by.
			if err := d.index.UpsertJSON(v); errors.Is(err, search.ErrFull) {
				return err
			}
		}
		if room < len(values) {
			return search.ErrFull
		}
		return nil
	})
	if errors.Is(err, search.ErrFull) {
		d.set.log.Warn("search covers only a part of the pool",
			"guild_id", d.pool.Guild, "type", d.pool.Kind, "entities", d.index.Len())
		return true, nil
	}
	return false, err
}

// keep takes over the topic's release. It returns false if the directory has ended.
func (d *directory) keep(release func()) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.ended {
		d.release = release
	}
	return !d.ended
}

// follow reads changed entities until there are none.
func (d *directory) follow() {
	for {
		d.mu.Lock()
		ids := make([]string, 0, len(d.changed))
		for id := range d.changed {
			ids = append(ids, id)
		}
		d.changed = nil
		if len(ids) == 0 || d.ended || d.set.ctx.Err() != nil {
			close(d.settled)
			d.settled = nil
			d.mu.Unlock()
			return
		}
		d.mu.Unlock()
		values, err := d.set.pools.Get(d.set.ctx, d.pool.Guild, d.pool.Kind, ids)
		if err != nil { // the directory is no longer true
			d.set.Lost(d.pool.Guild)
			continue
		}
		d.replace(ids, values)
	}
}

// replace puts the present state of entities into the index; a nil value is an entity that is gone.
func (d *directory) replace(ids []string, values [][]byte) {
	room := d.set.reserve(d, len(ids))
	defer d.set.settleEntries(d)
	for i, id := range ids {
		if values[i] == nil || i >= room || d.index.UpsertJSON(values[i]) != nil {
			d.index.Remove(id)
		}
	}
}

// end gives up the topic. It may be called again.
func (d *directory) end() {
	d.mu.Lock()
	release := d.release
	d.ended, d.release = true, nil
	d.mu.Unlock()
	if release != nil {
		release()
	}
}
