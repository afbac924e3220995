// Package directory keeps the names in pools of entities for as long as somebody searches them.
package directory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/internal/botwire"
	"github.com/architus/guildcast/internal/defaults"
	"github.com/architus/guildcast/internal/processor"
	"github.com/architus/guildcast/internal/search"
	"github.com/architus/guildcast/internal/service"
)

// linger is how long a directory is kept after the last holder left, so that a page that is loaded again finds it.
const linger = 5 * time.Second

// maxTries bounds how often a search builds a directory that is dropped, because of lost events or for want of room,
// before it is built.
const maxTries = 3

var errDropped = errors.New("the directory was dropped while it was built")

// ErrGone reports a search on behalf of a holder that is no longer present, or in a Set that is closed.
var ErrGone = errors.New("whoever searches is gone")

// Pool names one pool. Guild is "" if the pool belongs to no guild.
type Pool struct{ Guild, Kind string }

// Holder is somebody who searches. Its dynamic type must be comparable.
type Holder interface {
	// Present reports whether the holder may still search. Set.Leave must be called after it turns false.
	Present() bool
}

// pools is the cache of entities.
type pools interface {
	// Get returns the values of ids, in their order; nil for one that is not cached.
	Get(ctx context.Context, guild, kind string, ids []string) (values [][]byte, err error)

	// All calls yield with portions of a pool until it errs.
	All(ctx context.Context, guild, kind string, yield func(ids []string, values [][]byte) error) error
}

// topics subscribes to the events of guilds.
type topics interface {
	// Acquire returns when the subscription is confirmed; release, to be called once, gives it up.
	Acquire(ctx context.Context, t event.Topic) (release func(), err error)
}

// Options bound a Set. A negative number is no bound, and so is zero.
type Options struct {
	MaxEntries int          // entities indexed, all directories together
	MaxPools   int          // directories
	Logger     *slog.Logger // nil discards
}

// Set is the directories of one node. All methods may be called concurrently.
//
// Lock order: directory.mu before Set.mu.
type Set struct {
	pools  pools
	topics topics
	log    *slog.Logger

	life   service.Life
	ctx    context.Context // ends with Run
	cancel context.CancelFunc

	mu      sync.Mutex
	max     Options // see SetMax
	closed  bool
	byPool  map[Pool]*directory // at most Options.MaxPools
	entries int                 // the sum over byPool, with what is reserved; at most Options.MaxEntries

	goroutines sync.WaitGroup // Add under mu while not closed
}

// New returns an empty set over a cache and its events. It must be run, and events must be reported by Changed and
// Lost.
func New(p pools, t topics, o Options) *Set {
	x := &Set{
		pools: p, topics: t, log: cmp.Or(o.Logger, slog.New(slog.DiscardHandler)), max: o,
		byPool: map[Pool]*directory{},
	}
	x.ctx, x.cancel = context.WithCancel(context.Background())
	return x
}

// SetMax replaces Options.MaxEntries and MaxPools. What is indexed stays until another pool needs the room.
func (x *Set) SetMax(entries, pools int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.max.MaxEntries, x.max.MaxPools = entries, pools
}

// Search returns the ids of the entities of a pool whose names are like text, best first. It reports cached as false
// if the cache does not hold the pool. The directory is kept until h has left.
func (x *Set) Search(ctx context.Context, h Holder, p Pool, text string, limit int) (ids []string, cached bool,
	err error) {
	for range maxTries {
		d, superfluous := x.hold(h, p)
		end(superfluous)
		if d == nil {
			return nil, false, ErrGone
		}
		select {
		case <-d.ready:
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
		if err = d.err; err == nil {
			return d.search(ctx, text, limit)
		}
		if !errors.Is(err, errDropped) {
			break
		}
	}
	return nil, false, err
}

// longSearch is the number of entities from which a search takes long.
const longSearch = 10_000

// search returns what Set.Search does, from a directory that is built.
func (d *directory) search(ctx context.Context, text string, limit int) (ids []string, cached bool, err error) {
	d.settle(ctx)
	if d.index.Len() == 0 {
		return nil, false, nil
	}
	if d.index.Len() >= longSearch {
		processor.Enter()
		defer processor.Leave()
	}
	return d.index.Search(text, limit), true, nil
}

// Leave removes h from the holders of every directory.
func (x *Set) Leave(h Holder) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, d := range x.byPool {
		if _, held := d.holders[h]; !held {
			continue
		}
		delete(d.holders, h)
		if len(d.holders) == 0 {
			d.linger = time.AfterFunc(linger, func() {
				x.drop(func(o *directory) bool { return o == d && len(d.holders) == 0 })
			})
		}
	}
}

// Changed has the entities that an event mentions read again.
func (x *Set) Changed(e *event.Event) {
	if e.Kind != event.KindMember && e.Kind != event.KindUser {
		return
	}
	var ids []string
	for _, p := range [...]Pool{{e.Topic.Guild, botwire.TypeMember}, {"", botwire.TypeUser}} {
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
			x.Lost(p.Guild)
		}
	}
}

// Lost drops the directories of a guild whose events may have been missed.
func (x *Set) Lost(guild string) {
	x.drop(func(d *directory) bool { return d.pool.Guild == guild })
}

// Run waits until ctx ends. Then it drops all directories, and returns nil once nothing runs on their behalf. It may be
// called once.
func (x *Set) Run(ctx context.Context) error {
	if err := x.life.Begin(); err != nil {
		return fmt.Errorf("run directories: %w", err)
	}
	<-ctx.Done()
	x.mu.Lock()
	x.closed = true
	x.mu.Unlock()
	x.cancel()
	x.drop(func(*directory) bool { return true })
	x.goroutines.Wait()
	return nil
}

// hold finds a directory, or begins to build it, and counts h among its holders. The directory is nil for a holder that
// is gone. Superfluous directories were taken out for it, and are to be ended.
func (x *Set) hold(h Holder, p Pool) (d *directory, superfluous []*directory) {
	now := time.Now()
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed || !h.Present() { // a holder that goes calls Leave afterwards
		return nil, nil
	}
	d = x.byPool[p]
	if d != nil && d.outdated(now) {
		x.takeOutLocked(d)
		superfluous = append(superfluous, d)
		d = nil
	}
	if d == nil {
		for x.max.MaxPools > 0 && len(x.byPool) >= x.max.MaxPools {
			oldest := x.oldestLocked((*directory).built)
			if oldest == nil {
				oldest = x.oldestLocked(func(*directory) bool { return true })
			}
			x.takeOutLocked(oldest)
			superfluous = append(superfluous, oldest)
		}
		entries := defaults.Positive(x.max.MaxEntries, math.MaxInt32)
		d = &directory{
			set: x, pool: p, index: search.New(search.Options{MaxEntries: entries}),
			ready: make(chan struct{}), holders: map[Holder]struct{}{}, settled: make(chan struct{}),
		}
		x.byPool[p] = d
		x.goroutines.Go(d.build) // at once: whoever finds it waits until it is built
	}
	d.holders[h] = struct{}{}
	d.used = now
	if d.linger != nil {
		d.linger.Stop()
		d.linger = nil
	}
	return d, superfluous
}

// reserve makes room for n entities in d, and returns for how many there is room. It drops directories that were
// searched longest ago, but none that is being built: many that are built at once share the room.
//
// It returns -1 if d was dropped.
func (x *Set) reserve(d *directory, n int) int {
	var superfluous []*directory
	defer func() { end(superfluous) }()
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.byPool[d.pool] != d { // nobody finds it any more: it must not grow
		return -1
	}
	for x.max.MaxEntries > 0 && x.entries+n > x.max.MaxEntries {
		oldest := x.oldestLocked(func(o *directory) bool { return o != d && o.built() && o.entries > 0 })
		if oldest == nil {
			n = max(x.max.MaxEntries-x.entries, 0)
			break
		}
		x.takeOutLocked(oldest)
		superfluous = append(superfluous, oldest)
	}
	d.entries += n
	x.entries += n
	return n
}

// settleEntries counts what d holds, in place of what was reserved for it.
func (x *Set) settleEntries(d *directory) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.byPool[d.pool] == d {
		held := d.index.Len()
		x.entries += held - d.entries
		d.entries = held
	}
}

// oldestLocked returns the directory that was searched longest ago of those that may be taken out; nil without one.
func (x *Set) oldestLocked(may func(*directory) bool) (oldest *directory) {
	for _, d := range x.byPool {
		if may(d) && (oldest == nil || d.used.Before(oldest.used)) {
			oldest = d
		}
	}
	return oldest
}

// takeOutLocked hides a directory from searches. It is to be ended once mu is free.
func (x *Set) takeOutLocked(d *directory) {
	if x.byPool[d.pool] == d {
		delete(x.byPool, d.pool)
		x.entries -= d.entries
	}
	if d.linger != nil {
		d.linger.Stop()
	}
}

func (x *Set) drop(which func(*directory) bool) {
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

func end(list []*directory) {
	for _, d := range list {
		d.end()
	}
}

// spawn runs f in a goroutine that Run waits for. It returns false if the set is closed.
func (x *Set) spawn(f func()) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return false
	}
	x.goroutines.Go(f)
	return true
}
