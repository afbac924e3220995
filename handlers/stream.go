package handlers

import (
	"sync"
	"time"

	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/permissions"
)

// streams holds a stream for each guild that a client of this node spectates.
type streams struct {
	gateway *Gateway

	mu      sync.Mutex
	guilds  map[string]*stream
	windows tally // of all streams
}

func newStreams(g *Gateway) *streams {
	x := &streams{gateway: g, guilds: map[string]*stream{}}
	x.windows.max.Store(int64(g.limits().NodeReplayBytes))
	return x
}

// enter returns the stream of guild and counts a spectator of it. The topic's subscription must be confirmed. The
// caller must call leave.
func (x *streams) enter(guild string) *stream {
	x.mu.Lock()
	defer x.mu.Unlock()
	st := x.guilds[guild]
	if st == nil {
		st = &stream{gateway: x.gateway, guild: guild, loads: make(chan struct{}, 1), mu: make(lock, 1)}
		st.position, st.known = x.gateway.topics.Position(guild)
		st.base = st.position
		x.guilds[guild] = st
	}
	st.users++
	return st
}

func (x *streams) leave(st *stream) {
	st.mu.Lock() // a delivery ends before, or finds that the stream has
	defer st.mu.Unlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	if st.users--; st.users > 0 {
		return
	}
	delete(x.guilds, st.guild)
	st.ended = true
	st.closeWindowLocked()
}

// enterLogs counts a view with logs, whose subscription is confirmed. The function that it returns ends that, and calls
// release.
func (st *stream) enterLogs(release func()) func() {
	p, _ := st.gateway.topics.Position(st.guild)
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.loggers++; st.loggers == 1 {
		st.logsFrom = p
		if st.window != nil {
			st.window.partial = true
		}
	}
	return func() {
		st.mu.Lock()
		st.loggers--
		st.mu.Unlock()
		release()
	}
}

// of returns the stream of guild, or nil if nobody spectates it.
func (x *streams) of(guild string) *stream {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.guilds[guild]
}

// stream is the sequence of a guild's events, on both its topics, as this node delivers it: live to the spectators that
// the filter has, and later to its followers, each at its own pace.
//
// Lock order: stream.mu, then streams.mu, follower.mu or a lock of the filter or the gateway.
type stream struct {
	gateway *Gateway
	guild   string
	users   int // guarded by streams.mu

	loads chan struct{} // holds a value while a goroutine reads the history

	// mu is held while an event is delivered. Guarded by it:
	mu        lock
	ended     bool             // nobody uses the stream any more
	known     bool             // position is valid: the guild's history can be read, or a durable event has come
	position  history.Position // of the last durable message that was handled
	base      history.Position // messages up to it were handled before the stream began, and may still arrive
	window    *window          // nil if nobody needs it
	needed    int              // requests that need the window; followers do too
	idle      uint64           // how often the window was left without users
	anew      int              // how often the window has begun anew to have log entries
	loggers   int              // views with logs
	logsFrom  history.Position // log entries up to it may be missing: nobody had subscribed to them
	soundFrom history.Position // entries up to it may have been lost
	lostAt    history.Position // position at the last loss: the history may no longer have it
	followers map[*engine.Conn]*follower
	wanted    history.Position // the earliest position that calls of cover wait to read from
	waiting   int              // how many calls of cover wait
}

// deliver delivers an event, which came as n, to the clients that may see it. It returns the recipients to wait for. It
// does nothing if the stream has ended: another one of the guild may have begun.
func (st *stream) deliver(e *event.Event, n notice) (behind []lag, ended bool) {
	p, bytes := n.position, len(n.data)
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.ended {
		return nil, true
	}
	if st.repeatsLocked(p) {
		return nil, false
	}
	before := st.position
	behind, shed := st.gateway.route(e, p, n.received)
	if len(shed) > 0 && st.known && !(before.IsZero() && p.IsZero()) {
		st.openWindowLocked(before)
	}
	st.handledLocked(&past{position: p, event: e, bytes: bytes})
	if len(shed) == 0 {
		return behind, false
	}
	st.gateway.metrics.shed.Add(float64(len(shed)))
	if st.window != nil {
		shed = st.fallBehindLocked(shed, st.window.end()-1, before)
		st.releaseWindowLocked() // unless some can follow
	}
	if len(shed) > 0 {
		st.gateway.stragglers.note(st.guild, shed)
	}
	return behind, false
}

// skip records a message that is not an event. gap says that events may be missing before it.
func (st *stream) skip(p history.Position, gap bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if !p.IsZero() && !st.repeatsLocked(p) {
		st.handledLocked(&past{position: p, gap: gap})
	}
}

// handledLocked advances the position past a message and keeps it for the followers.
func (st *stream) handledLocked(p *past) {
	if !p.position.IsZero() {
		switch {
		case !st.known && st.window != nil:
			st.window.broken = true // nobody knows what came before it was opened
		case st.known && p.position.Compare(st.position) <= 0:
			st.restartLocked()
		}
		st.position, st.known = p.position, true
	}
	p.key = st.position
	if st.window != nil {
		st.window.append(p)
	}
}

// restartLocked empties the window: the history has begun anew, with positions that this node has seen before.
func (st *stream) restartLocked() {
	if st.window == nil {
		return
	}
	end := st.window.end()
	st.closeWindowLocked()
	st.openWindowLocked(history.Position{})
	st.window.first, st.window.sure = end, false
	for _, f := range st.followers {
		f.cursor, f.at, f.missed = end, history.Position{}, true
	}
}

// repeatsLocked reports whether the message at p was handled before the stream began.
func (st *stream) repeatsLocked(p history.Position) bool {
	if p.IsZero() || st.base.IsZero() {
		return false
	}
	if p.Compare(st.base) <= 0 {
		return true
	}
	st.base = history.Position{} // messages come in order
	return false
}

// lost records that events may have been missed. It no longer recognizes repeated messages: if Redis has lost data, it
// assigns their positions anew.
func (st *stream) lost() {
	p, _ := st.gateway.topics.Position(st.guild)
	st.mu.Lock()
	defer st.mu.Unlock()
	st.base, st.soundFrom, st.lostAt = history.Position{}, p, st.position
	if st.window != nil {
		st.window.broken = true
	}
}

// lock is a mutex on which a goroutine in a synctest bubble blocks durably.
type lock chan struct{}

func (l lock) Lock()   { l <- struct{}{} }
func (l lock) Unlock() { <-l }

// admit makes a socket spectate v in this guild, as Filter.Spectate does. A follower gets view v at once, and enters
// the filter when it has caught up.
func (st *stream) admit(conn *engine.Conn, v permissions.View) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	now := time.Now()
	f := st.followers[conn]
	if f == nil {
		return st.gateway.filter.Spectate(conn, v, now)
	}
	if err := v.Check(now); err != nil {
		return err
	}
	f.view = v
	f.mu.Lock() // wait for what is being sent by the view before
	defer f.mu.Unlock()
	return nil
}

// fallBehindLocked makes followers of the connections for which the latest event was left out. cursor is the event's
// number in the window, before the guild's position before it. It returns the connections that can't follow.
func (st *stream) fallBehindLocked(shed []*engine.Conn, cursor int64, before history.Position) (rest []*engine.Conn) {
	for _, c := range shed {
		s := st.gateway.sessionOf(c)
		if s == nil || s.seat.Load() != st {
			rest = append(rest, c)
			continue
		}
		view, there := st.gateway.filter.Take(c)
		if !there {
			continue // it was removed meanwhile, and told why
		}
		f := newFollower(s, st, view)
		f.cursor, f.plain, f.at, f.slow = cursor, cursor, before, true
		st.followLocked(f)
		st.gateway.metrics.replays.WithLabelValues(replaySlow).Inc()
		if !st.gateway.spawn(f.run) {
			st.dropFollowerLocked(f) // the gateway is closed: nobody hears anything any more
		}
	}
	return rest
}

func (st *stream) followLocked(f *follower) {
	if st.followers == nil {
		st.followers = map[*engine.Conn]*follower{}
	}
	st.followers[f.session.conn()] = f
}

// unfollow ends the connection's follower, if it has one, and returns it, or nil. Nothing is replayed to the connection
// after it returns.
func (st *stream) unfollow(conn *engine.Conn) *follower {
	st.mu.Lock()
	f := st.followers[conn]
	st.dropFollowerLocked(f)
	st.mu.Unlock()
	if f != nil {
		f.end()
	}
	return f
}

func (st *stream) dropFollowerLocked(f *follower) {
	if f != nil && st.followers[f.session.conn()] == f {
		delete(st.followers, f.session.conn())
		st.releaseWindowLocked()
	}
}

// await waits until the batch that is being replayed to a connection, if any, is queued. Every later batch respects
// revocations from before the call.
func (st *stream) await(conn *engine.Conn) {
	st.mu.Lock()
	f := st.followers[conn]
	st.mu.Unlock()
	if f != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
	}
}
