package handlers

import (
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

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
	bearer  *bearer          // by which revocations find the session; nil while it has no claims
	watched view             // what the socket spectates
	topics  held             // the subscriptions that watched needs

	admitted atomic.Bool // Admit has let in the event that comes next

	interpreting queue // interpret requests, one after another
	answering    queue // pool requests, one part after another
	scans        queue // pool requests that read more than one page of a pool

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

func newSession(g *Gateway, p peer, id string, conn *engine.Conn, address string) *session {
	s := &session{
		gateway: g, peer: p, id: id, conns: [1]*engine.Conn{conn}, address: address,
		events:   newLimiter(g.limits.SocketRate, g.limits.SocketBurst),
		refusals: newLimiter(max(g.limits.SocketRate, 1), g.limits.Flood),
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
