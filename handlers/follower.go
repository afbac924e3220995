package handlers

import (
	"context"
	"errors"
	"time"
	"weak"

	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/permissions"
)

const (
	// followStep is how often a follower that has caught up checks whether it can go live.
	followStep = 20 * time.Millisecond

	// followBatch bounds the events of one batch.
	followBatch = 128
)

// follower replays a guild's past events to one socket, at the socket's own pace, until it has caught up. The socket
// has come back, or it reads slowly. Meanwhile it is not in the filter, and gets no live events.
type follower struct {
	session *session
	stream  *stream
	ctx     context.Context // ends with the follower
	began   time.Time       // when the replay was asked for, or became necessary; zero if nothing is replayed
	cancel  context.CancelFunc

	// Guarded by stream.mu.
	view   permissions.View
	cursor int64            // the number of the next entry
	plain  int64            // plain events before this number came before the client did
	at     history.Position // the client has the durable events up to here
	slow   bool             // the client read slowly, rather than came back
	missed bool             // something was left out and can't be replayed

	mu    lock // held from the choice of a batch until it is queued
	ended bool // guarded by mu

	unsent []*past // rest of the last batch, if the claims had expired; guarded by mu

	page int // how many entries of the history are read at once; owned by run
}

func newFollower(s *session, st *stream, v permissions.View) *follower {
	f := &follower{session: s, stream: st, view: v, mu: make(lock, 1), page: followBatch, began: time.Now()}
	f.ctx, f.cancel = context.WithCancel(s.gateway.ctx)
	return f
}

// end ends the follower. Nothing more is queued after it returns.
func (f *follower) end() {
	f.cancel()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
}

// owes reports whether something was left out that the client can't notice by itself. Call it after end.
func (f *follower) owes() bool { return f.missed || f.slow && !f.view.Positions }

// begin replays a first batch and, if that is all, makes the socket live. It does not wait. It returns false if run has
// to do the rest.
func (f *follower) begin() (done bool) {
	if f.session.gateway.outlet.queued(f.session.conn()) > maxAhead {
		return false
	}
	for range 2 { // the batch, and that nothing follows
		batch, step := f.next()
		switch step {
		case followDone:
			f.cancel()
			return true
		case followSend:
			if !f.send(batch) {
				f.leave()
				f.cancel()
				return true
			}
		default:
			return false
		}
	}
	return false
}

// run replays batches until the socket is live or no longer spectates.
func (f *follower) run() {
	defer f.cancel()
	g := f.session.gateway
	for {
		if g.outlet.room(f.ctx, f.session.conn(), maxAhead) != nil {
			f.leave()
			return
		}
		batch, step := f.next()
		switch step {
		case followDone:
			return
		case followWait:
			f.wait()
		case followHistory:
			f.readBack()
		case followSend:
			if !f.send(batch) {
				f.leave()
				return
			}
		}
	}
}

func (f *follower) leave() {
	f.stream.mu.Lock()
	defer f.stream.mu.Unlock()
	f.stream.dropFollowerLocked(f)
}

// wait waits a moment.
func (f *follower) wait() {
	timer := time.NewTimer(followStep)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-f.ctx.Done():
		return
	}
	f.stream.mu.Lock()
	ahead := f.at.Compare(f.stream.position) > 0
	f.stream.mu.Unlock()
	if ahead { // perhaps of entries that are for nobody here
		f.stream.catchUp(f.ctx)
	}
}

// What a follower does next.
type followStepKind int

const (
	followDone    followStepKind = iota // the socket is live, or the follower has ended
	followSend                          // send the batch
	followWait                          // it has caught up, and can't go live yet
	followHistory                       // the window has dropped what comes next: read the history
)

// batch is a list of events to replay, and the view that chooses among them.
type batch struct {
	list   []*past
	view   permissions.View
	viewer permissions.Viewer
}

// next returns the next step. If the follower has caught up, next makes the socket live. It returns followSend with
// f.mu locked.
func (f *follower) next() (b batch, step followStepKind) {
	st := f.stream
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.followers[f.session.conn()] != f {
		return b, followDone
	}
	f.rewindLocked()
	w := st.window
	if f.cursor < w.first {
		f.missed = f.missed || max(f.cursor, f.plain) < w.plain
		return b, followHistory
	}
	if f.cursor == w.end() {
		if f.at.Compare(st.position) > 0 || !st.gateway.outlet.resume(f.session.conn()) {
			return b, followWait
		}
		f.goLiveLocked()
		return b, followDone
	}
	var err error
	if b.viewer, err = st.gateway.filter.Viewer(f.view, time.Now()); err != nil {
		return b, followWait // its elevation is ending
	}
	b.view = f.view
	begin := int(f.cursor - w.first)
	end := min(begin+followBatch, len(w.entries))
	for bytes := 0; begin < end && bytes < maxAhead/4; begin++ {
		p, number := w.entries[begin], f.cursor
		f.cursor++
		switch {
		case p.position.IsZero() && number < f.plain:
			continue
		case p.position.IsZero():
		case p.position.Compare(f.at) <= 0:
			continue
		default:
			f.at = p.position
		}
		bytes += p.size()
		b.list = append(b.list, p)
	}
	f.mu.Lock() // before st.mu is released: a change of the view waits for what is sent by the view before
	return b, followSend
}

// goLiveLocked hands the socket to the filter. No event is being delivered.
func (f *follower) goLiveLocked() {
	g, s := f.session.gateway, f.session
	if g.filter.Spectate(s.conn(), f.view, time.Now()) == nil && g.revocations.Revoked(f.view.Claims, time.Now()) {
		g.filter.Remove(s.conn()) // revoked before the filter had it
	}
	f.stream.dropFollowerLocked(f)
	g.metrics.durations.observeReplay(f.began)
	if f.missed { // after everything that was replayed
		g.resyncLater(s, f.stream.guild)
	}
}

// send queues a batch and unlocks f.mu. It returns false if the follower has ended or its claims are revoked.
func (f *follower) send(b batch) bool {
	defer f.mu.Unlock()
	g := f.session.gateway
	if f.ended || g.revocations.Revoked(b.view.Claims, time.Now()) {
		return false
	}
	messages := make([]*engine.Message, 0, len(b.list))
	for _, p := range b.list {
		if p.event != nil && b.viewer.Sees(p.event) {
			messages = append(messages, g.messageOf(p, b.view))
		}
	}
	if b.view.Claims.Expired(time.Now()) { // perhaps while they were encoded
		f.unsent = b.list
		return true
	}
	g.outlet.deliverAll(f.session.conn(), messages)
	g.metrics.replayed.Add(float64(len(messages)))
	return true
}

// rewindLocked goes back to the events that were not sent because the claims had expired. The client gets them if it
// has refreshed the claims.
func (f *follower) rewindLocked() {
	f.mu.Lock()
	list := f.unsent
	f.unsent = nil
	f.mu.Unlock()
	if len(list) == 0 {
		return
	}
	w := f.stream.window
	for n := f.cursor; n > w.first; n-- {
		if w.entries[n-1-w.first] == list[0] {
			f.cursor, f.at = n-1, w.before(n-1)
			return
		}
	}
	f.missed = true
}

// messageOf returns an entry encoded for a view. Followers share the message.
func (g *Gateway) messageOf(p *past, v permissions.View) *engine.Message {
	slot := &p.messages[messageKind(v.Form, v.Positions)]
	if shared := slot.Load(); shared != nil {
		if m := shared.Value(); m != nil {
			return m
		}
	}
	m := g.encodeEvent(p.event, p.position, v.Form, v.Positions)
	shared := weak.Make(m)
	slot.Store(&shared)
	return m
}

// readBack replays from the history some of what the window has dropped.
func (f *follower) readBack() {
	st := f.stream
	st.mu.Lock()
	at, from := f.at, history.Position{}
	if st.followers[f.session.conn()] == f {
		from = st.window.from
	}
	st.mu.Unlock()
	var list []*past
	whole := true
	if at.Compare(from) < 0 {
		done, err := st.gateway.readsPast(f.ctx)
		if err != nil {
			return // it has ended
		}
		defer done()
		if list, whole, err = f.readAfter(at); errors.Is(err, history.ErrUnavailable) { // temporary
			f.wait()
			return
		}
	}
	st.mu.Lock()
	if st.followers[f.session.conn()] != f {
		st.mu.Unlock()
		return
	}
	b := batch{view: f.view}
	var err error
	if b.viewer, err = st.gateway.filter.Viewer(f.view, time.Now()); err != nil { // its elevation is ending
		st.mu.Unlock()
		f.wait()
		return
	}
	b.list = f.joinLocked(list, whole)
	f.mu.Lock()
	st.mu.Unlock()
	f.send(b)
}

// readAfter reads some of the history after at. whole reports whether nothing in between is missing.
func (f *follower) readAfter(at history.Position) (list []*past, whole bool, err error) {
	ctx, cancel := context.WithTimeout(f.ctx, historyTimeout)
	defer cancel()
	g := f.session.gateway
	page, err := g.history.After(ctx, f.stream.guild, at, f.page)
	if err != nil || !page.Whole {
		return nil, false, err
	}
	total := 0
	for _, e := range page.Entries {
		if total < maxAhead/4 { // no more, or the client's queue would overflow
			list = append(list, g.pastOf(e))
		}
		total += len(e.Message) + 1
	}
	if n := len(page.Entries); n > 0 { // large entries are read one by one
		f.page = max(1, min(followBatch, maxAhead*n/total))
	}
	return list, true, nil
}

// joinLocked returns those of list, which follow f.at in the history, that come before the window begins. If no more
// do, or the history lacks them, f continues in the window.
func (f *follower) joinLocked(list []*past, whole bool) []*past {
	w := f.stream.window
	n := 0
	for n < len(list) && list[n].position.Compare(w.from) <= 0 {
		f.at = list[n].position
		n++
	}
	switch {
	case n < len(list) || f.at.Compare(w.from) >= 0:
		f.cursor = max(f.cursor, w.first)
	case n == 0: // the history lacks the event after which the window begins
		f.cursor, f.missed = max(f.cursor, w.first), true
	}
	f.missed = f.missed || !whole
	return list[:n]
}
