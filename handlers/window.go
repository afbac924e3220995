package handlers

import (
	"context"
	"errors"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
)

const (
	// windowLinger is how long a window is kept after the last who needed it: clients that come back come together.
	windowLinger = 5 * time.Second

	// historyPage is how many entries are read at once.
	historyPage = 256

	// historyTimeout bounds one reading of a guild's history.
	historyTimeout = 5 * time.Second
)

// Why the past can't be had.
var (
	errNoHistory  = errors.New("the guild has no history that can be read")
	errWindowFull = errors.New("too much of the past is kept")
)

// past is one entry of a window. It is shared and immutable, except for the messages.
type past struct {
	position history.Position // zero for a plain event
	key      history.Position // that of the latest durable entry, this one included
	event    *event.Event     // nil: the message was none
	gap      bool             // before it events may be missing
	messages [4]atomic.Pointer[engine.Message]
}

const pastOverhead = 320 // bytes of an entry besides its payload

func (p *past) size() int {
	if p.event == nil {
		return pastOverhead
	}
	return len(p.event.Payload) + pastOverhead
}

// window is what is kept of a guild's events: all since one position. Entries have numbers that grow by one. Guarded by
// stream.mu.
type window struct {
	entries []*past
	first   int64            // the number of entries[0]
	from    history.Position // all after it is kept
	sure    bool             // from is a place where a client can stand: an entry, or the very beginning
	whole   bool             // the history has nothing before the window
	partial bool             // log entries may be missing: nobody heard them
	broken  bool             // any entries may be missing: they were lost on their way
	plain   int64            // the number behind the last plain event that was dropped
	bytes   int
	max     func() int // bound of bytes; negative means none
	budget  *tally     // of the node
}

func (w *window) end() int64 { return w.first + int64(len(w.entries)) }

// append adds an event, and drops the oldest ones at a bound.
func (w *window) append(p *past) {
	w.entries = append(w.entries, p)
	w.bytes += p.size()
	over := !w.budget.take(p.size())
	for len(w.entries) > 0 && (over || !within(w.bytes, w.max())) {
		over = false
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

// prepend adds what came between from and the window. It is false if that is too much.
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

// after returns the number of the first entry that came after the event at p, and false if the window does not know it.
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

// before returns the position behind which the entry with a number stands.
func (w *window) before(number int64) history.Position {
	if number == w.first {
		return w.from
	}
	return w.entries[number-1-w.first].key
}

// next returns the number of the first entry that did not come before or with the event at p.
func (w *window) next(p history.Position) int64 {
	if n, found := w.after(p); found {
		return n
	}
	i := sort.Search(len(w.entries), func(i int) bool { return w.entries[i].key.Compare(p) > 0 })
	return w.first + int64(i)
}

// openWindowLocked begins to keep what comes from now on, after p.
func (st *stream) openWindowLocked(p history.Position) {
	if st.window == nil {
		there := st.known && (st.lostAt.IsZero() || p.Compare(st.lostAt) > 0)
		st.window = &window{
			from: p, sure: there, partial: p.Compare(st.logsFrom) < 0, broken: p.Compare(st.soundFrom) < 0,
			budget: &st.gateway.streams.windows,
			max:    func() int { return st.gateway.limits().GuildReplayBytes },
		}
	}
}

// catchUp takes note that everything up to a position was handled, though what came last may have been no event for
// this node: log entries that nobody wanted, or garbage.
func (st *stream) catchUp(ctx context.Context) {
	p, known := st.gateway.topics.Passed(ctx, st.guild)
	if !known {
		return
	}
	st.gateway.backlogs.pass(st.guild)
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.known && p.Compare(st.position) > 0 {
		st.position = p
	}
}

// mend returns once the window has all entries, those of logs included if logs is set, since where it begins. The caller
// needs the window.
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

// sound reports whether no entry is missing in the window.
func (st *stream) sound(logs bool) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return !st.known || !st.window.broken && !(logs && st.window.partial)
}

// beginAnew has a window in which entries are missing begin anew, if it can have all from now on. Followers that need
// what it had get that from the history.
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

// load calls f while nobody else reads the history for the window.
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

// need keeps the window until release is called.
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

// releaseWindowLocked closes the window some time after nobody needs it any more.
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

// reachesLocked reports whether the window says all about what came after the event at p.
func (st *stream) reachesLocked(p history.Position, all bool) bool {
	w := st.window
	if w.whole {
		return true
	}
	_, found := w.after(p)
	return !all && (found || p.Compare(w.from) > 0 && p.Compare(st.position) <= 0)
}

// cover makes the window reach back to the event at from or, if the history does not have it or all is set, to the
// beginning of the history. Those who come back together share one reading. The caller needs the window.
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

// reach reads the history after from, up to the window, which begins after to.
func (st *stream) reach(ctx context.Context, from, to history.Position) error {
	list, sure, err := st.read(ctx, from, to)
	whole := from.IsZero()
	if err == nil && !sure && !whole { // what the history has, so that the next need not look
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
	if w == nil || w.from != to || !joins || !w.prepend(list, from, sure, whole) {
		return errWindowFull
	}
	return nil
}

// read returns what the history has between two positions, that of to included. Sure reports whether the event at from
// is there, or nothing was ever trimmed: whether nothing is missing.
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
		p.event = &parsed
	}
	return p
}

// tally counts bytes, or other things, under a bound that is shared.
type tally struct {
	max  atomic.Int64 // negative means none
	used atomic.Int64
}

// take counts bytes, and reports whether the sum is within the bound. They count in any case.
func (b *tally) take(bytes int) bool { return within(int(b.used.Add(int64(bytes))), int(b.max.Load())) }

func (b *tally) give(bytes int) { b.used.Add(-int64(bytes)) }
