package handlers

import (
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zishang520/socket.io/v2/socket"
	"golang.org/x/time/rate"

	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/permissions"
)

// session is what a node knows about one socket. Its changes of state, which are elevation, refresh, demotion,
// spectating and the end, are carried out whole and one after another: whoever carries one out holds the turn. So
// whatever runs into whatever (a refresh into a revocation, an expiry into a spectate that waits for Redis), the state,
// the room, the filter and what the client was told agree.
type session struct {
	gateway *Gateway
	peer    peer
	id      string          // the socket's
	conns   [1]*engine.Conn // the socket's connection, in the form that engine.Deliver takes
	address string          // what the address limits count by

	// Static after construction, and safe for concurrent use.
	events   *rate.Limiter // what the socket may send
	refusals *rate.Limiter // how much of it may be refused before the socket is taken for a flooder

	// claims are those of the elevation, or nil. Written by the holder of the turn, read by anybody.
	claims atomic.Pointer[permissions.Claims]

	// turn holds a token while nobody changes the session. It is a channel and no mutex because changes take as long as
	// it takes to join a room, and up to the 50 ms for which the engine paces a delivery that is under way. What the
	// session itself asks of Redis, it asks before its turn.
	turn chan struct{}

	// Owned by the holder of the turn.
	closed  bool
	form    permissions.Form // of the pushes: that of the latest elevation
	lost    *Error           // why the last elevation ended, for a request that it ended under; nil before
	alarm   alarm            // elevation_expiring, then elevation_expired
	watched view             // what the socket spectates
	topics  held             // the subscriptions that watched needs

	admitted atomic.Bool // Admit has let in the event that comes next

	interpreting queue // interpret requests, one after another

	// Guarded by mu.
	mu    sync.Mutex
	gone  bool
	tasks map[*task]struct{} // requests in progress
	held  int                // the bytes that they hold
}

// peer is what a session asks of its socket: *socket.Socket.
type peer interface {
	Join(rooms ...socket.Room)
	Leave(room socket.Room)
	Disconnect(closeConnection bool) *socket.Socket
}

// view is what a socket spectates; the zero value is nothing.
type view struct {
	guild string
	logs  bool
}

// held are the releases of a view's confirmed subscriptions; nil where there is none.
type held struct{ guild, logs func() }

func (h held) release() {
	if h.guild != nil {
		h.guild()
	}
	if h.logs != nil {
		h.logs()
	}
}

func newSession(g *Gateway, p peer, id string, conn *engine.Conn, address string) *session {
	s := &session{
		gateway: g, peer: p, id: id, conns: [1]*engine.Conn{conn}, address: address,
		events:   newLimiter(g.limits.SocketPerSecond, g.limits.SocketBurst),
		refusals: newLimiter(max(g.limits.SocketPerSecond, 1), g.limits.FloodRefusals),
		turn:     make(chan struct{}, 1),
	}
	s.turn <- struct{}{}
	return s
}

func (s *session) conn() *engine.Conn { return s.conns[0] }

func (s *session) log() *slog.Logger { return s.gateway.log.With("socket_id", s.id) }

func (s *session) room() socket.Room { return socket.Room(event.AuthRoom(s.id)) }

// Present reports whether the socket is elevated: nobody else searches.
func (s *session) Present() bool { return s.claims.Load() != nil }

// take waits for the turn; give gives it back.
func (s *session) take() { <-s.turn }
func (s *session) give() { s.turn <- struct{}{} }

// elevate gives the socket what claims allow: in place of the claims that it has, where they are the same user's, and
// else after everything that the old ones gave is gone. The turn is held.
func (s *session) elevate(c *permissions.Claims, f permissions.Form) *Error {
	g := s.gateway
	now := time.Now()
	switch {
	case s.closed:
		return errNotElevated()
	case c.Expired(now):
		return errTokenExpired()
	}
	if old := s.claims.Load(); old != nil && old.Subject != c.Subject {
		s.drop(errDemoted("The socket was elevated as another user."))
	}
	s.form = f
	fresh := s.claims.Swap(c) == nil
	if fresh {
		g.metrics.elevated.Inc()
		s.peer.Join(s.room())
	}
	s.schedule(c)
	// A revocation that arrived while the token was verified has passed this session by, which had no claims yet.
	if g.revocations.Revoked(c, now) {
		body := s.demote(reasonRevoked, errTokenRevoked(), nil)
		if !fresh {
			s.emit("elevation_expired", s.form, body)
		}
		return errTokenRevoked()
	}
	if !fresh {
		s.review(c, now)
	}
	return nil
}

// review takes away what refreshed claims no longer allow, and says so. The turn is held.
func (s *session) review(c *permissions.Claims, now time.Time) {
	s.abortTasks(func(t *task) error { return t.allowed(c) })
	if s.watched.guild == "" {
		return
	}
	v := s.watched
	err := s.gateway.filter.Spectate(s.conn(), s.viewOf(v, c), now)
	without := view{guild: v.guild}
	switch {
	case err == nil:
	case errors.Is(err, permissions.ErrNoLogAccess) && s.gateway.filter.Spectate(s.conn(), s.viewOf(without, c), now) == nil:
		s.settle(without, held{guild: s.topics.guild}, held{logs: s.topics.logs})
	default: // the filter still has the old view
		s.unwatch()
	}
	// What was on its way by the old claims comes before the answer to the refresh, and not after it.
	s.gateway.flights.wait(v.guild)
	if err != nil {
		s.emit("error", s.form, viewError(err).body(nil, "spectate", v.guild))
	}
}

func (s *session) viewOf(v view, c *permissions.Claims) permissions.View {
	return permissions.View{Guild: v.guild, Logs: v.logs, Form: s.form, Claims: c}
}

// watch makes the socket spectate v through confirmed subscriptions, in place of what it spectated before. On an error
// nothing has changed. The turn is held.
func (s *session) watch(v view, topics held) *Error {
	if err := s.gateway.filter.Spectate(s.conn(), s.viewOf(v, s.claims.Load()), time.Now()); err != nil {
		return viewError(err)
	}
	old := s.watched.guild
	s.settle(v, topics, s.topics)
	if old != "" {
		s.gateway.flights.wait(old)
	}
	return nil
}

// unwatch ends spectating. When it returns, no event of the guild is on its way to the client. The turn is held.
func (s *session) unwatch() {
	old := s.watched.guild
	if old == "" {
		return
	}
	s.gateway.filter.Remove(s.conn())
	s.settle(view{}, held{}, s.topics)
	if !s.closed {
		s.gateway.flights.wait(old)
	}
}

// settle records what the filter was told. The turn is held.
func (s *session) settle(v view, topics, superfluous held) {
	s.gateway.spectators.move(s, s.watched, v)
	s.watched, s.topics = v, topics
	superfluous.release()
}

// drop takes away everything that the elevation gave; requests in progress end with why. When it returns, nothing that
// needed the elevation can reach the client any more. The turn is held.
func (s *session) drop(why *Error) {
	if s.claims.Swap(nil) == nil {
		return
	}
	s.gateway.metrics.elevated.Dec()
	s.lost = why
	s.alarm.stop()
	s.gateway.filter.Remove(s.conn())
	s.peer.Leave(s.room())
	s.abortTasks(func(*task) error { return why })
	s.unwatch()
	s.gateway.directories.Leave(s)
}

// demote is drop for a reason that the client gets to know: it returns the payload of elevation_expired. The turn is
// held.
func (s *session) demote(reason string, why *Error, id []byte) []byte {
	s.drop(why)
	s.gateway.metrics.demotions.WithLabelValues(reason).Inc()
	return encode(expiredBody{Reason: reason, ID: id})
}

// close ends the session with its socket.
func (s *session) close() {
	s.mu.Lock()
	s.gone = true
	tasks := slices.Collect(maps.Keys(s.tasks))
	s.mu.Unlock()
	for _, t := range tasks {
		t.discard()
	}
	s.take()
	defer s.give()
	s.closed = true
	s.drop(errNotElevated())
}
