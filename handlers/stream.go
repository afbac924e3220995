package handlers

import (
	"sync"
	"time"

	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/permissions"
)

// streams are those of the guilds that somebody spectates on this node.
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

// enter returns the stream of guild, whose topic is confirmed, and counts a spectator of it. The caller must leave it.
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
	x.mu.Lock()
	st.users--
	last := st.users == 0
	if last {
		delete(x.guilds, st.guild)
	}
	x.mu.Unlock()
	if !last {
		return
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.closeWindowLocked()
}

// enterLogs counts a view with logs, whose topic is confirmed, until what it returns is called, which calls release too.
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
// Lock order: stream.mu, then follower.mu or a lock of the filter or the gateway.
type stream struct {
	gateway *Gateway
	guild   string
	users   int // guarded by streams.mu

	loads chan struct{} // holds a value while somebody reads the history

	// mu is held while an event is delivered. Guarded by it:
	mu        lock
	known     bool             // position is one: the guild's history can be read, or was heard of
	position  history.Position // of the last durable event that was handled
	base      history.Position // what is not after it was handled before the stream began, and may come only now
	window    *window          // nil unless somebody needs it
	needed    int              // requests that need it, beside the followers
	idle      uint64           // counts the times that nobody needed it any more
	anew      int              // how often the window has begun anew to have log entries
	loggers   int              // views with logs
	logsFrom  history.Position // log entries that are not after it may not have been heard
	soundFrom history.Position // entries that are not after it may have been lost
	lostAt    history.Position // of the stream at the last loss: the history may not have it any more
	followers map[*engine.Conn]*follower
	wanted    history.Position // the earliest that those who wait to read the history want
	waiting   int              // how many wait
}

// deliver delivers an event to those who may see it. It returns the recipients to wait for.
func (st *stream) deliver(e *event.Event, p history.Position) (behind []lag) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.repeatsLocked(p) {
		return nil
	}
	before := st.position
	behind, shed := st.gateway.route(e, p)
	if len(shed) > 0 && st.known && !(before.IsZero() && p.IsZero()) {
		st.openWindowLocked(before)
	}
	st.handledLocked(p, e, false)
	if len(shed) == 0 {
		return behind
	}
	st.gateway.metrics.shed.Add(float64(len(shed)))
	if st.window != nil {
		shed = st.fallBehindLocked(shed, st.window.end()-1, before)
	}
	if len(shed) > 0 {
		st.gateway.stragglers.note(st.guild, shed)
	}
	return behind
}

// skip takes note of a message that is no event. With gap, events may be missing before it.
func (st *stream) skip(p history.Position, gap bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if !p.IsZero() && !st.repeatsLocked(p) {
		st.handledLocked(p, nil, gap)
	}
}

// handledLocked moves on behind a message, which was no event if e is nil, and keeps it for the followers.
func (st *stream) handledLocked(p history.Position, e *event.Event, gap bool) {
	if !p.IsZero() {
		if st.known && p.Compare(st.position) <= 0 {
			st.restartLocked()
		}
		st.position, st.known = p, true
	}
	if st.window != nil {
		st.window.append(&past{position: p, key: st.position, event: e, gap: gap})
	}
}

// restartLocked gives up what is kept: the history begins anew, with positions that this node has seen before.
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

// repeatsLocked reports whether a message was handled before the stream began.
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

// lost takes note that events may have been missed. It forgets which messages repeat others: Redis may have lost data,
// and give their positions once more.
func (st *stream) lost() {
	p, _ := st.gateway.topics.Position(st.guild)
	st.mu.Lock()
	defer st.mu.Unlock()
	st.base, st.soundFrom, st.lostAt = history.Position{}, p, st.position
	if st.window != nil {
		st.window.broken = true
	}
}

// lock is a mutex for which a test in virtual time can wait.
type lock chan struct{}

func (l lock) Lock()   { l <- struct{}{} }
func (l lock) Unlock() { <-l }

// admit makes a socket spectate v in this guild, as Filter.Spectate. If the socket follows, it spectates v once it has
// caught up.
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
	v.Positions = f.view.Positions
	f.view = v
	f.mu.Lock() // what is sent by the view before
	defer f.mu.Unlock()
	return nil
}

// fallBehindLocked makes followers of the connections for which the latest event was left out. Its number in the window
// is cursor, and before is the position of the guild before it. It returns the connections that can't follow.
func (st *stream) fallBehindLocked(shed []*engine.Conn, cursor int64, before history.Position) (rest []*engine.Conn) {
	for _, c := range shed {
		s := st.gateway.sessionOf(c)
		if s == nil || s.seat.Load() != st || !st.gateway.begin() {
			rest = append(rest, c)
			continue
		}
		view, there := st.gateway.filter.Take(c)
		if !there {
			st.gateway.goroutines.Done()
			continue // it has been told why meanwhile
		}
		f := newFollower(s, st, view)
		f.cursor, f.at, f.slow = cursor, before, true
		st.followLocked(f)
		st.gateway.metrics.replays.WithLabelValues(replaySlow).Inc()
		go func() {
			defer st.gateway.goroutines.Done()
			f.run()
		}()
	}
	return rest
}

func (st *stream) followLocked(f *follower) {
	if st.followers == nil {
		st.followers = map[*engine.Conn]*follower{}
	}
	st.followers[f.session.conn()] = f
}

// unfollow ends the following of a connection, if it follows. After it returns, nothing more is replayed to it. It
// returns the former follower if that had not caught up.
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

// await waits until what is being replayed to a connection this moment is queued. What follows sees a revocation from
// before the call.
func (st *stream) await(conn *engine.Conn) {
	st.mu.Lock()
	f := st.followers[conn]
	st.mu.Unlock()
	if f != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
	}
}
