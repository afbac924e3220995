package handlers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/internal/search"
)

const (
	// directoryLinger is how long a directory is kept after the last socket that searched it left, so that a page that
	// is loaded again finds it.
	directoryLinger = 5 * time.Second

	// A directory of users gets minDirectoryAge to maxDirectoryAge old, since only events of the guilds at hand tell of
	// changes: within these directoryAgeFactor times what it took to build, which costs 1 % of the time at most.
	minDirectoryAge    = time.Second
	maxDirectoryAge    = time.Minute
	directoryAgeFactor = 100

	// buildTimeout bounds the reading of a pool into a directory.
	buildTimeout = 30 * time.Second

	// settleTimeout is how long a search waits for changes that were announced before it.
	settleTimeout = 100 * time.Millisecond

	// maxChanges are the changed entities that wait to be read again. With more the directory is given up, and built
	// again by the next search.
	maxChanges = 10_000

	// maxMentions are the ids that one event is searched for.
	maxMentions = 1000
)

// pool names one pool; guild is "" for one that belongs to no guild.
type pool struct{ guild, kind string }

// directories are the names of the pools that sockets of this node search.
type directories struct {
	gateway *Gateway

	mu     sync.Mutex
	byPool map[pool]*directory // at most Limits.SearchPools
}

// directory is the names in one pool. It is built by the first search and follows the guild's events from then on.
// While it exists it holds the guild's topic, and it exists while a socket that searched it does.
type directory struct {
	pool    pool
	gateway *Gateway
	index   *search.Index

	ready   chan struct{} // closed when err, release and expires are set
	err     error         // why it could not be built
	expires time.Time     // of a directory of users

	// Guarded by directories.mu.
	holders map[*session]struct{}
	used    time.Time
	linger  *time.Timer // nil while there are holders

	// Guarded by mu.
	mu      sync.Mutex
	release func()              // of the topic; nil where there is none
	ended   bool                // it was dropped: nothing is read for it any more
	changed map[string]struct{} // ids to be read again
	settled chan struct{}       // closed when changes were read; nil while there are none
}

func newDirectories(g *Gateway) *directories {
	return &directories{gateway: g, byPool: map[pool]*directory{}}
}

// of gives the directory of a pool for s to search, built and up to date.
func (x *directories) of(ctx context.Context, s *session, p pool) (*directory, error) {
	d, fresh, superfluous := x.hold(s, p)
	end(superfluous)
	if d == nil {
		return nil, errNotElevated()
	}
	if fresh && !x.gateway.spawn(d.build) {
		return nil, errNotElevated() // the node is going down
	}
	select {
	case <-d.ready:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if d.err != nil {
		return nil, d.err
	}
	d.settle(ctx)
	return d, nil
}

// hold finds or makes a directory, with s among its holders. It is nil for a socket that has left. What it took out for
// its sake is to be ended.
func (x *directories) hold(s *session, p pool) (d *directory, fresh bool, superfluous []*directory) {
	now := time.Now()
	x.mu.Lock()
	defer x.mu.Unlock()
	if s.claims.Load() == nil { // whoever takes them away calls leave afterwards
		return nil, false, nil
	}
	d = x.byPool[p]
	if d != nil && d.outdated(now) {
		x.takeOutLocked(d)
		superfluous = append(superfluous, d)
		d = nil
	}
	if d == nil {
		superfluous = append(superfluous, x.makeRoomLocked()...)
		d = &directory{
			pool: p, gateway: x.gateway, index: search.New(search.Options{MaxEntries: x.gateway.limits.SearchEntries}),
			ready: make(chan struct{}), holders: map[*session]struct{}{}, settled: make(chan struct{}),
		}
		x.byPool[p], fresh = d, true
	}
	d.holders[s] = struct{}{}
	d.used = now
	if d.linger != nil {
		d.linger.Stop()
		d.linger = nil
	}
	return d, fresh, superfluous
}

// outdated tells whether a directory should be built anew. directories.mu is held.
func (d *directory) outdated(now time.Time) bool {
	select {
	case <-d.ready:
		return d.err != nil || d.index.Len() == 0 || d.pool.guild == "" && now.After(d.expires)
	default:
		return false
	}
}

// makeRoomLocked takes out what was used longest ago where there is too much for one more.
func (x *directories) makeRoomLocked() (out []*directory) {
	for {
		var oldest *directory
		entries := 0
		for _, d := range x.byPool {
			entries += d.index.Len()
			if oldest == nil || d.used.Before(oldest.used) {
				oldest = d
			}
		}
		if oldest == nil || within(entries, x.gateway.limits.SearchEntries) && within(len(x.byPool)+1, x.gateway.limits.SearchPools) {
			return out
		}
		x.takeOutLocked(oldest)
		out = append(out, oldest)
	}
}

// takeOutLocked makes a directory one that nobody finds. It is to be ended once mu is free.
func (x *directories) takeOutLocked(d *directory) {
	if x.byPool[d.pool] == d {
		delete(x.byPool, d.pool)
	}
	if d.linger != nil {
		d.linger.Stop()
	}
}

func end(list []*directory) {
	for _, d := range list {
		d.end()
	}
}

// leave takes s from the holders of every directory.
func (x *directories) leave(s *session) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, d := range x.byPool {
		if _, held := d.holders[s]; !held {
			continue
		}
		delete(d.holders, s)
		if len(d.holders) == 0 {
			d.linger = time.AfterFunc(directoryLinger, func() {
				x.drop(func(o *directory) bool { return o == d && len(d.holders) == 0 })
			})
		}
	}
}

// lost drops the directories of a guild whose events may have been missed.
func (x *directories) lost(guild string) {
	x.drop(func(d *directory) bool { return d.pool.guild == guild })
}

func (x *directories) close() { x.drop(func(*directory) bool { return true }) }

func (x *directories) drop(which func(*directory) bool) {
	var out []*directory
	x.mu.Lock()
	for _, d := range x.byPool {
		if which(d) {
			x.takeOutLocked(d)
			out = append(out, d)
		}
	}
	x.mu.Unlock()
	end(out)
}

// changed has those entities read again that an event mentions.
func (x *directories) changed(e *event.Event) {
	if e.Kind != event.KindMember && e.Kind != event.KindUser {
		return
	}
	var ids []string
	for _, p := range [...]pool{{e.Topic.Guild, typeMember}, {"", typeUser}} {
		x.mu.Lock()
		d := x.byPool[p]
		x.mu.Unlock()
		if d == nil {
			continue
		}
		if ids == nil {
			ids = mentions(e.Payload)
		}
		if !d.note(ids) {
			x.lost(p.guild)
		}
	}
}

// mentions are the ids that a payload holds anywhere, strings or numbers: what is not an entity of the pool is looked
// up in vain.
func mentions(payload []byte) (ids []string) {
	d := json.NewDecoder(bytes.NewReader(payload))
	d.UseNumber() // ids are above 2^53
	for len(ids) < maxMentions {
		t, err := d.Token()
		if err != nil {
			return ids
		}
		var id string
		switch t := t.(type) {
		case string: // names of members too: {"<id>": {...}}
			id = t
		case json.Number:
			id = t.String()
		}
		if event.ValidID(id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// note has ids read again. It is false when there are too many changes to follow.
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
	if d.settled == nil { // nobody reads yet: not while it is built either
		d.settled = make(chan struct{})
		d.gateway.spawn(d.follow)
	}
	return true
}

// settle waits for what is being read again, but not for long.
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
	ctx, cancel := context.WithTimeout(d.gateway.ctx, buildTimeout)
	defer cancel()
	began := time.Now()
	d.err = d.read(ctx)
	took := time.Since(began)
	d.expires = began.Add(took + min(max(directoryAgeFactor*took, minDirectoryAge), maxDirectoryAge))
	close(d.ready)
	d.follow()
	if d.err != nil {
		d.end()
	}
}

func (d *directory) read(ctx context.Context) error {
	if d.pool.guild != "" {
		// The subscription comes first, so that no change falls between the two.
		release, err := d.gateway.topics.Acquire(ctx, event.Topic{Guild: d.pool.guild})
		if err != nil {
			return errRedis()
		}
		if !d.keep(release) {
			release()
			return context.Canceled
		}
	}
	err := d.gateway.pools.All(ctx, d.pool.guild, d.pool.kind, func(ids []string, values [][]byte) error {
		for i, v := range values {
			// An entity that can't be read is as good as one without a name: nobody finds it.
			if err := d.index.UpsertJSON(v); errors.Is(err, search.ErrFull) {
				d.gateway.log.Warn("search covers only a part of the pool", "guild_id", d.pool.guild, "type", d.pool.kind, "entities", i)
				return search.ErrFull
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, search.ErrFull) {
		return poolError(err)
	}
	return nil
}

// keep takes the topic's release over, unless the directory has ended.
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
		if len(ids) == 0 || d.ended || d.gateway.ctx.Err() != nil {
			close(d.settled)
			d.settled = nil
			d.mu.Unlock()
			return
		}
		d.mu.Unlock()
		values, err := d.gateway.pools.Get(d.gateway.ctx, d.pool.guild, d.pool.kind, ids)
		if err != nil { // what the directory says is no longer true
			d.gateway.directories.lost(d.pool.guild)
			continue
		}
		for i, id := range ids {
			if values[i] == nil {
				d.index.Remove(id)
			} else if err := d.index.UpsertJSON(values[i]); err != nil {
				d.index.Remove(id)
			}
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
