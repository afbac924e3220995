package engine

import (
	"context"

	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/engine/internal/eio"
)

// Conn is the delivery handle of one client connection. It is comparable by pointer and stays the same while the
// connection lives, through upgrades. All methods may be called concurrently.
//
// The library sees it as an engineSocket, Engine.IO as a session, users who ask for the transport as a transportView:
// all of them are this struct under another name.
type Conn struct {
	eio eio.Conn
	srv *server
	// feed is the library's Client: it takes *parser.Packet, error and *foreignInput. Set in OnOpen, constant from then
	// on.
	feed func(...any)
	// hangUp tells the Client that the connection has closed. Set in OnOpen too.
	hangUp func(...any)
	inbox  inbox
	asm    assembler // Owned by the reader.
	shake  handshake
	users  emitter // listeners of users, and the Client's

	prev, next *Conn // Guarded by srv.mu.
}

// ConnOf returns the handle of the connection that s uses, or nil when s runs on another engine.
func ConnOf(s *socket.Socket) *Conn {
	if c, ok := s.Conn().(*engineSocket); ok {
		return c.conn()
	}
	return nil
}

// ID is the Engine.IO session id. It is a secret of the client.
func (c *Conn) ID() string { return c.eio.ID() }

// Queued is the number of bytes that wait for the peer to read. Who sends something long to one connection keeps it
// low, so that what is sent meanwhile isn't held up for long, and nobody's queue overflows.
func (c *Conn) Queued() int { return c.eio.Queued() }

// AwaitRoom waits until at most limit bytes wait for the peer, or the connection has closed. It returns ctx's error if
// ctx ends before.
func (c *Conn) AwaitRoom(ctx context.Context, limit int) error { return c.eio.AwaitRoom(ctx, limit) }

// Resume ends the leaving out of messages (see DeliverOptions.Loss) if the peer has caught up, and reports whether it
// has. It is true, too, for a connection that is closed, or for which nothing was left out.
func (c *Conn) Resume() bool { return c.eio.Resume() }

// send queues a message of the library, or of ours for one socket, and waits for a connection that lags, 50 ms at most.
// It never fails: a closed connection drops it.
func (c *Conn) send(m *Message) {
	if !c.inbox.sent(c, m) {
		return
	}
	if c.eio.Send(m.frames...) == eio.Lagging {
		eio.Pace([]*eio.Conn{&c.eio}, paceLimit, nil)
	}
}

// session is a Conn as Engine.IO sees it.
type session Conn

var _ eio.Handler = (*session)(nil)

func (s *session) conn() *Conn { return (*Conn)(s) }

// OnOpen implements eio.Handler: the library makes its Client, which sets feed.
func (s *session) OnOpen(*eio.Conn) {
	c := s.conn()
	c.srv.register(c)
	if c.eio.Protocol() == 3 {
		c.inbox.connecting("/") // revision 3 joins the main namespace by itself
	}
	c.srv.BaseServer.Emit("connection", c.socket())
}

// OnMessage implements eio.Handler.
func (s *session) OnMessage(_ *eio.Conn, m eio.Packet) { s.conn().receive(m) }

// OnClose implements eio.Handler: what the client sent before is handled first, then its sockets disconnect.
func (s *session) OnClose(_ *eio.Conn, reason string, err error) {
	c := s.conn()
	if reason == eio.ReasonForcedClose && c.srv.draining.Load() {
		reason = reasonShutdown
	}
	args := []any{reason, nil}
	if err != nil {
		args[1] = err
	}
	c.inbox.close(c, args)
	c.asm.pending.Store(nil)
	if c.hangUp != nil {
		c.hangUp(args...)
	}
	c.users.Emit("close", args...)
	c.srv.unregister(c)
}

// reasonShutdown is Node's reason for a socket that the server's end disconnects.
const reasonShutdown = "server shutting down"
