package engine

import (
	"context"

	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/engine/internal/eio"
)

// Conn is one client connection, to which Deliver sends. The same *Conn stands for it as long as it lives, upgrades
// included. All methods may be called concurrently.
//
// The same struct has three more types, each with the methods of one reader: engineSocket for the library, session for
// package eio, and transportView for users who ask for the transport.
type Conn struct {
	eio eio.Conn
	srv *server
	// feed passes a *parser.Packet, an error or a *foreignInput to the library's Client. Set in OnOpen, constant from
	// then on.
	feed func(...any)
	// hangUp tells the Client that the connection has closed. Set in OnOpen too.
	hangUp func(...any)
	inbox  inbox
	asm    assembler // Owned by the reader.
	shake  handshake
	users  emitter // listeners of users and of the Client

	prev, next *Conn // Guarded by srv.mu.
}

// ConnOf returns the connection of s, or nil if s runs on another engine.
func ConnOf(s *socket.Socket) *Conn {
	if c, ok := s.Conn().(*engineSocket); ok {
		return c.conn()
	}
	return nil
}

// ID returns the Engine.IO session id. Keep it secret: who knows it can take over the session.
func (c *Conn) ID() string { return c.eio.ID() }

// Queued returns the number of bytes that wait for the peer to read. Before you send the next part of something long,
// wait until it is low (see AwaitRoom), so that other messages are not held up and the queue does not overflow.
func (c *Conn) Queued() int { return c.eio.Queued() }

// AwaitRoom waits until at most limit bytes wait for the peer or the connection has closed. It returns ctx's error if
// ctx ends first.
func (c *Conn) AwaitRoom(ctx context.Context, limit int) error { return c.eio.AwaitRoom(ctx, limit) }

// DeliverAll queues messages, in order and with nothing in between, and sends them together. Like Deliver with Keep it
// never fails. It does not wait while the connection lags: see AwaitRoom.
func (c *Conn) DeliverAll(messages []*Message) {
	frames := make([]*eio.Frame, 0, len(messages))
	for _, m := range messages {
		if m.hasID {
			c.inbox.expectAck()
		}
		frames = append(frames, m.frames...)
	}
	c.eio.Hold(eio.Keep, frames...)
	c.eio.Flush()
}

// Flush sends what is queued: messages that were delivered with DeliverOptions.Hold.
func (c *Conn) Flush() { c.eio.Flush() }

// Resume stops leaving out messages (see DeliverOptions.Loss) if the peer has caught up, and reports whether it has. It
// also returns true if the connection is closed or nothing was left out.
func (c *Conn) Resume() bool { return c.eio.Resume() }

// send queues a message for one socket, and waits if the connection lags, at most 50 ms. It never fails: a closed
// connection drops the message.
func (c *Conn) send(m *Message) {
	if !c.inbox.sent(c, m) {
		return
	}
	if c.eio.Send(m.frames...) == eio.Lagging {
		eio.Pace([]*eio.Conn{&c.eio}, paceLimit, nil)
	}
}

// session is a Conn as package eio sees it.
type session Conn

var _ eio.Handler = (*session)(nil)

func (s *session) conn() *Conn { return (*Conn)(s) }

// OnOpen implements eio.Handler. It makes the library create its Client, which sets feed.
func (s *session) OnOpen(*eio.Conn) {
	c := s.conn()
	c.srv.register(c)
	if c.eio.Protocol() == 3 {
		c.inbox.connecting("/") // revision 3: the client is in the main namespace without a CONNECT
	}
	c.srv.BaseServer.Emit("connection", c.socket())
}

// OnMessage implements eio.Handler.
func (s *session) OnMessage(_ *eio.Conn, m eio.Packet) { s.conn().receive(m) }

// OnClose implements eio.Handler. It waits until what the client had sent is handled; then its sockets disconnect.
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

// reasonShutdown is the reason in Node.js for a socket that a server's shutdown disconnects.
const reasonShutdown = "server shutting down"
