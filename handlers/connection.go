package handlers

import (
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/engine"
)

// connect begins the session of a new socket. The socket's first event is handled after it returns.
func (g *Gateway) connect(socket *socket.Socket) {
	conn := engine.ConnOf(socket)
	if conn == nil {
		g.log.Error("socket of a foreign engine refused", "socket_id", string(socket.Id()))
		socket.Disconnect(true)
		return
	}
	s := newSession(g, socket, string(socket.Id()), conn, clientAddress(socket, g.config.TrustedProxies))
	g.mu.Lock()
	closed := g.closed
	if !closed {
		g.sessions[conn] = s
	}
	g.mu.Unlock()
	if closed {
		socket.Disconnect(true)
		return
	}
	if socket.Recovered() { // recovery restores its rooms, but not its elevation
		socket.Leave(s.room())
	}
	socket.OnAny(s.onEvent)
	_ = socket.On("disconnect", func(...any) { g.disconnected(s) }) // errs only for no listener
	if !socket.Connected() {                                        // it left before we listened
		g.disconnected(s)
		return
	}
	s.elevateAtConnect(socket)
}

func (g *Gateway) disconnected(s *session) {
	g.mu.Lock()
	if g.sessions[s.conn()] == s {
		delete(g.sessions, s.conn())
	}
	g.mu.Unlock()
	s.close()
}

// Sessions returns the number of connected sockets.
func (g *Gateway) Sessions() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.sessions)
}

// sessionOf returns the session of a connection, or nil if it has ended.
func (g *Gateway) sessionOf(c *engine.Conn) *session {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sessions[c]
}

// Busy reports whether pool or interpret requests of a connection are in progress. It is engine.Options.Busy: at a
// shutdown they are answered before the connection is closed.
func (g *Gateway) Busy(c *engine.Conn) bool {
	s := g.sessionOf(c)
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.tasks) > 0
}
