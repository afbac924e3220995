package handlers

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
)

const (
	// windowLinger is how long a window is kept after its last use: clients that reconnect come in crowds.
	windowLinger = 5 * time.Second

	// historyPage is the number of entries that one read returns.
	historyPage = 256

	// maxPastReads bounds the histories that are read at once: each may hold 16 MiB, which are held twice meanwhile.
	maxPastReads = 4

	// historyTimeout bounds one request's reads of a guild's history.
	historyTimeout = 5 * time.Second
)

// Reasons why the past is not available.
var (
	errNoHistory   = errors.New("the guild has no history that can be read")
	errWindowFull  = errors.New("too much of the past is kept")
	errWindowMoved = errors.New("the history does not go on where the window begins")
)

// past is one entry of a window. Followers share it. It is immutable except for messages, which are encoded when first
// needed.
type past struct {
	position history.Position // zero for a plain event
	key      history.Position // position of the latest durable entry, this one included
	event    *event.Event     // nil if the message was not an event
	gap      bool             // events may be missing before it
	bytes    int              // of the message that event holds

	// Clients' queues hold what is encoded, and count it.
	messages [4]atomic.Pointer[weak.Pointer[engine.Message]]
}

const pastOverhead = 320 // bytes of an entry besides its message

func (p *past) size() int { return p.bytes + pastOverhead }

// window holds all of a guild's events since one position. Entries are numbered consecutively. Guarded by stream.mu.
type window struct {
	entries []*past
	first   int64            // the number of entries[0]
	from    history.Position // the window holds everything after it
	sure    bool             // from is an event's position or the very beginning: a client may be there
	whole   bool             // the history has nothing before the window
	partial bool             // log entries may be missing: nobody had subscribed to them
	broken  bool             // any entries may be missing: they were lost on their way
	plain   int64            // the number after that of the last plain event that was dropped
	bytes   int
	max     func() int // returns the bound of bytes; negative means none
	budget  *tally     // of the node
}

func (w *window) end() int64 { return w.first + int64(len(w.entries)) }

// append adds an entry, and drops the oldest ones at a bound.
func (w *window) append(p *past) {
	w.entries = append(w.entries, p)
	w.bytes += p.size()
	w.budget.take(p.size())
	for len(w.entries) > 0 && !(w.budget.fits() && within(w.bytes, w.max())) {
		w.drop()
	}
}

// drop drops the oldest entry.
func (w *window) drop() {
	p := w.entries[0]
	w.entries[0] = nil
	w.entries = w.entries[1:]
	w.first++
	w.bytes -= p.size()
	w.budget.give(p.size())
	if p.position.IsZero() {
		w.plain = w.first
	} else {
		w.from, w.sure = p.position, true
	}
	w.whole = false
}

// prepend adds the entries between from and the window. It returns false, and adds nothing, if they exceed a bound.
func (w *window) prepend(list []*past, from history.Position, sure, whole bool) bool {
	bytes := 0
	for _, p := range list {
		bytes += p.size()
	}
	if !within(w.bytes+bytes, w.max()) {
		return false
	}
	if !w.budget.take(bytes) {
		w.budget.give(bytes)
		return false
	}
	w.bytes += bytes
	w.entries = slices.Concat(list, w.entries)
	w.first -= int64(len(list))
	w.from, w.sure, w.whole = from, sure, whole
	return true
}

// after returns the number of the first entry after the event at p, and false if the window does not know p.
func (w *window) after(p history.Position) (int64, bool) {
	if p == w.from && w.sure {
		return w.first, true
	}
	i := sort.Search(len(w.entries), func(i int) bool { return w.entries[i].key.Compare(p) >= 0 })
	for ; i < len(w.entries) && w.entries[i].key == p; i++ {
		if w.entries[i].position == p {
			return w.first + int64(i) + 1, true
		}
	}
	return 0, false
}

// behind returns the number of the first entry after p, which is within the window.
func (w *window) behind(p history.Position) int64 {
	i := sort.Search(len(w.entries), func(i int) bool { return w.entries[i].key.Compare(p) > 0 })
	return w.first + int64(i)
}

// before returns the position after which the entry with this number comes.
func (w *window) before(number int64) history.Position {
	if number == w.first {
		return w.from
	}
	return w.entries[number-1-w.first].key
}

// openWindowLocked opens a window, if there is none, that keeps what comes from now on, after p.
func (st *stream) openWindowLocked(p history.Position) {
	if st.window == nil {
		there := st.known && (st.lostAt.IsZero() || p.Compare(st.lostAt) > 0)
		st.window = &window{
			from: p, sure: there,
			partial: p.Compare(st.logsFrom) < 0, broken: p.Compare(st.soundFrom) < 0,
			plain:  math.MinInt64, // numbers go below zero
			max:    func() int { return st.gateway.limits().GuildReplayBytes },
			budget: &st.gateway.streams.windows,
		}
	}
}

// catchUp advances the stream's position to that of the topic once everything up to it was handled. The two differ if
// the last messages were not delivered to the stream: log entries that nobody wanted, or garbage.
func (st *stream) catchUp(ctx context.Context) {
	p, known := st.gateway.topics.Passed(ctx, st.guild)
	if !known {
		return
	}
	st.gateway.backlogs.pass(st.guild)
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.known && p.Compare(st.position) > 0 {
		st.handledLocked(&past{position: p})
	}
}

// mend returns once no entry is missing in the window; log entries count only if logs is set. The caller must hold the
// window with need.
func (st *stream) mend(ctx context.Context, logs bool) error {
	tick := time.NewTicker(followStep)
	defer tick.Stop()
	for !st.sound(logs) {
		st.catchUp(ctx)
		if err := st.load(ctx, st.beginAnew); err != nil || st.sound(logs) {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// sound reports whether the window is complete; log entries count only if logs is set.
func (st *stream) sound(logs bool) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return !st.known || !st.window.broken && !(logs && st.window.partial)
}

// beginAnew empties a window in which entries are missing, if it will get all entries from now on. Followers read from
// the history what they still need.
func (st *stream) beginAnew() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	w := st.window
	if !w.partial && !w.broken || st.position.Compare(st.logsFrom) < 0 || st.position.Compare(st.soundFrom) < 0 {
		return nil
	}
	for len(w.entries) > 0 {
		w.drop()
	}
	w.from, w.sure, w.whole, w.partial, w.broken = st.position, false, false, false, false
	st.anew++
	return nil
}

// load calls f while no other goroutine reads the history for the window.
func (st *stream) load(ctx context.Context, f func() error) error {
	select {
	case st.loads <- struct{}{}:
		defer func() { <-st.loads }()
		return f()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (st *stream) closeWindowLocked() {
	if st.window != nil {
		st.window.budget.give(st.window.bytes)
		st.window = nil
	}
}

// need opens the window, and keeps it until release is called.
func (st *stream) need() (release func()) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.openWindowLocked(st.position)
	st.needed++
	return sync.OnceFunc(func() {
		st.mu.Lock()
		defer st.mu.Unlock()
		st.needed--
		st.releaseWindowLocked()
	})
}

// releaseWindowLocked closes the window after windowLinger if nobody needs it then.
func (st *stream) releaseWindowLocked() {
	if st.needed > 0 || len(st.followers) > 0 || st.window == nil {
		return
	}
	st.idle++
	idle := st.idle
	time.AfterFunc(windowLinger, func() {
		st.mu.Lock()
		defer st.mu.Unlock()
		if st.idle == idle && st.needed == 0 && len(st.followers) == 0 {
			st.closeWindowLocked()
		}
	})
}

// reachesLocked reports whether the window already answers what came after the event at p or, with all, in the whole
// history.
func (st *stream) reachesLocked(p history.Position, all bool) bool {
	w := st.window
	if w.whole {
		return true
	}
	_, found := w.after(p)
	return !all && (found || p.Compare(w.from) > 0 && p.Compare(st.position) <= 0)
}

// cover makes the window reach back to the event at from. If the history does not have that event or all is set, it
// reaches back to the beginning of the history. Concurrent calls share one read. The caller must hold the window with
// need.
func (st *stream) cover(ctx context.Context, from history.Position, all bool) error {
	if all {
		from = history.Position{}
	}
	st.mu.Lock()
	if known := st.known; !known || st.reachesLocked(from, all) {
		st.mu.Unlock()
		if !known {
			return errNoHistory
		}
		return nil
	}
	if st.waiting++; st.waiting == 1 || from.Compare(st.wanted) < 0 {
		st.wanted = from
	}
	st.mu.Unlock()
	waits := sync.OnceFunc(func() { st.waiting-- }) // under mu
	err := st.load(ctx, func() error {
		st.mu.Lock()
		waits()
		done, wanted, to := st.reachesLocked(from, all), st.wanted, st.window.from
		st.mu.Unlock()
		if done {
			return nil
		}
		return st.reach(ctx, wanted, to)
	})
	st.mu.Lock()
	defer st.mu.Unlock()
	waits()
	return err
}

// reach reads the history from after from to to, where the window begins, and prepends it to the window.
func (st *stream) reach(ctx context.Context, from, to history.Position) error {
	read, err := st.gateway.readsPast(ctx)
	if err != nil {
		return err
	}
	defer read()
	list, sure, err := st.read(ctx, from, to)
	whole := from.IsZero()
	if err == nil && !sure && !whole { // from is gone: take the whole history, so that the next call need not read
		from, whole = history.Position{}, true
		list, sure, err = st.read(ctx, from, to)
	}
	if err != nil {
		return err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	w := st.window
	joins := len(list) == 0 && (whole || from == to) || len(list) > 0 && list[len(list)-1].position == to
	if w == nil || w.from != to || !joins {
		return fmt.Errorf("%w: read %d entries after %v, up to %v", errWindowMoved, len(list), from, to)
	}
	if !w.prepend(list, from, sure, whole) {
		return errWindowFull
	}
	return nil
}

// read returns the entries after from, up to and including to. sure reports whether nothing is missing: the history
// still has the event at from, or was never trimmed.
func (st *stream) read(ctx context.Context, from, to history.Position) (list []*past, sure bool, err error) {
	at, bytes := from, 0
	for more := true; more; {
		page, err := st.gateway.history.After(ctx, st.guild, at, historyPage)
		switch {
		case err != nil:
			return nil, false, err
		case at == from:
			sure = page.Whole
		case !page.Whole: // it was trimmed meanwhile
			return nil, false, nil
		}
		more = page.More
		for _, e := range page.Entries {
			if at = e.Position; at.Compare(to) > 0 {
				return list, sure, nil
			}
			p := st.gateway.pastOf(e)
			list = append(list, p)
			if bytes += p.size(); !within(bytes, st.gateway.limits().GuildReplayBytes) {
				return nil, false, errWindowFull
			}
		}
	}
	return list, sure, nil
}

// readsPast waits for one of the places for those who read histories. They keep it until what they have read is counted
// elsewhere, or sent.
func (g *Gateway) readsPast(ctx context.Context) (done func(), err error) {
	select {
	case g.pasts <- struct{}{}:
		return func() { <-g.pasts }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait to read a history: %w: %w", history.ErrUnavailable, ctx.Err())
	}
}

// pastOf parses an entry of the history.
func (g *Gateway) pastOf(e history.Entry) *past {
	p := &past{position: e.Position, key: e.Position}
	if e.Message == nil {
		return p
	}
	if _, p.gap = history.ParseMarker(e.Message); p.gap {
		return p
	}
	if parsed, err := event.Parse(e.Topic, e.Message); err == nil {
		p.event, p.bytes = &parsed, len(e.Message)
	}
	return p
}

// tally counts bytes or other units under a shared bound.
type tally struct {
	max  atomic.Int64 // negative means none
	used atomic.Int64
}

// take adds bytes and reports whether the sum is within the bound. If it is not, the caller must still give them back.
func (b *tally) take(bytes int) bool { return within(int(b.used.Add(int64(bytes))), int(b.max.Load())) }

// fits reports whether the sum is within the bound.
func (b *tally) fits() bool { return within(int(b.used.Load()), int(b.max.Load())) }

func (b *tally) give(bytes int) { b.used.Add(-int64(bytes)) }
