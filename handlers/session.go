package handlers

import (
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	eio "github.com/zishang520/engine.io/v2/engine"
	"github.com/zishang520/socket.io/v2/socket"
	"golang.org/x/time/rate"

	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/permissions"
)

// session is what a node knows about one socket. Its changes are elevation, refresh, demotion, spectating and the end.
// They never overlap: each holds the turn from its beginning to its end. So the state, the room, the filter and what
// the client was told always agree, even if a revocation meets a refresh, or the token expires while a spectate waits
// for Redis.
type session struct {
	gateway *Gateway
	peer    peer
	id      string          // the socket's
	conns   [1]*engine.Conn // the socket's connection, in the form that engine.Deliver takes
	address string          // as the address limits count it

	// Static after construction, and safe for concurrent use.
	events   *rate.Limiter // bounds the events of the socket
	refusals *rate.Limiter // bounds those refused, before the socket counts as flooding

	rates atomic.Pointer[Limits] // what events and refusals go by

	// claims are those of the elevation, or nil if there is none. Written by the holder of the turn, read by anybody.
	claims atomic.Pointer[permissions.Claims]

	// turn holds a value while nobody changes the session. It is a channel instead of a mutex because a change may join
	// a room, and may wait up to 50 ms for a delivery under way that the engine paces. A change that needs Redis asks
	// it before taking the turn.
	turn chan struct{}

	// Owned by the holder of the turn.
	closed  bool
	cookie  *permissions.Claims // that a cookie gave at connect, for the first dashboard; nil if none did
	form    permissions.Form    // of pushes: that of the latest elevation
	lost    *Error              // why the last elevation ended, for requests that were in progress; nil before
	alarm   alarm               // for elevation_expiring and elevation_expired
	bearer  *bearer             // by which revocations find the session; nil while it has no claims
	watched view                // what the socket spectates
	topics  subscriptions       // those that watched needs

	// seat is the stream of the guild that the socket spectates, or nil. Written by the holder of the turn, read by
	// anybody.
	seat atomic.Pointer[stream]

	// positions is whether the latest spectate asked for positions.
	positions atomic.Bool

	admitted atomic.Bool // whether Admit has admitted the next event

	interpreting queue // interpret requests, one after another
	answering    queue // pool requests, one part after another
	scans        queue // pool requests that read more than one page of a pool

	// Guarded by mu.
	mu    sync.Mutex
	gone  bool
	tasks map[*task]struct{} // in progress
	held  int                // bytes that the tasks hold
}

// peer is the session's side of its socket: *socket.Socket.
type peer interface {
	Join(rooms ...socket.Room)
	Leave(room socket.Room)
	Disconnect(closeConnection bool) *socket.Socket
	Conn() eio.Socket
}

func newSession(g *Gateway, p peer, id string, conn *engine.Conn, address string) *session {
	l := g.limits()
	s := &session{
		gateway: g, peer: p, id: id, conns: [1]*engine.Conn{conn}, address: address,
		events: newLimiter(l.SocketRate, l.SocketBurst), refusals: newLimiter(max(l.SocketRate, 1), l.Flood),
		turn: make(chan struct{}, 1),
	}
	s.rates.Store(l)
	s.turn <- struct{}{}
	return s
}

func (s *session) conn() *engine.Conn { return s.conns[0] }

func (s *session) log() *slog.Logger { return s.gateway.log.With("socket_id", s.id) }

func (s *session) room() socket.Room { return socket.Room(event.AuthRoom(s.id)) }

// Present reports whether the socket is elevated. A search ends if it is not.
func (s *session) Present() bool { return s.claims.Load() != nil }

// take waits for the turn, and give returns it.
func (s *session) take() { <-s.turn }
func (s *session) give() { s.turn <- struct{}{} }

// close ends the session after its socket has disconnected.
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
