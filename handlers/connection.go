package handlers

import (
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/engine"
)

// connect begins the session of a new socket. It returns when the socket's first event may be handled.
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
	if socket.Recovered() { // its rooms came back; its elevation did not
		socket.Leave(s.room())
	}
	socket.OnAny(s.onEvent)
	_ = socket.On("disconnect", func(...any) { g.disconnected(s) }) // errs only for no listener
	if !socket.Connected() {                                        // the client left before we listened
		g.disconnected(s)
		return
	}
	s.elevateAtConnect(socket.Handshake())
}

func (g *Gateway) disconnected(s *session) {
	g.mu.Lock()
	if g.sessions[s.conn()] == s {
		delete(g.sessions, s.conn())
	}
	g.mu.Unlock()
	s.close()
}

// Sessions is the number of sockets connected.
func (g *Gateway) Sessions() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.sessions)
}

// sessionOf is the session of a connection; nil where it has none any more.
func (g *Gateway) sessionOf(c *engine.Conn) *session {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sessions[c]
}
