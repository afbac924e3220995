package engine

import (
	"io"
	"strings"

	epacket "github.com/zishang520/engine.io-go-parser/packet"
	eng "github.com/zishang520/engine.io/v2/engine"
	"github.com/zishang520/engine.io/v2/events"
	"github.com/zishang520/engine.io/v2/transports"
	"github.com/zishang520/engine.io/v2/types"

	"github.com/architus/guildcast/engine/internal/eio"
)

// engineSocket is a Conn with the methods that the library and users of socket.Conn() call.
//
// Its events: "data" and "message" (a types.BufferInterface), "close" (reason, error or nil), "packet" and
// "packetCreate" (*epacket.Packet), "flush", "drain", "heartbeat", "upgrading" and "upgrade" (the transport). An event
// without a listener costs nothing.
type engineSocket Conn

var _ eng.Socket = (*engineSocket)(nil)

func (c *Conn) socket() *engineSocket { return (*engineSocket)(c) }

func (s *engineSocket) conn() *Conn { return (*Conn)(s) }

// Id returns the session's id.
func (s *engineSocket) Id() string { return s.eio.ID() }

// Protocol returns the revision of Engine.IO, 3 or 4.
func (s *engineSocket) Protocol() int { return s.eio.Protocol() }

// ReadyState returns "opening", "open", "closing" or "closed".
func (s *engineSocket) ReadyState() string { return s.eio.State().String() }

// SetReadyState does nothing: the session keeps its own state.
func (s *engineSocket) SetReadyState(string) {}

// RemoteAddress returns the peer's address.
func (s *engineSocket) RemoteAddress() string { return s.shake.remote }

// Request returns a view of the handshake request.
func (s *engineSocket) Request() *types.HttpContext { return s.shake.context() }

// Transport returns the current transport.
func (s *engineSocket) Transport() transports.Transport { return (*transportView)(s) }

// Upgraded reports whether the session began as polling and is a WebSocket now.
func (s *engineSocket) Upgraded() bool {
	return !s.shake.webSocket && s.eio.Transport() == eio.WebSocket
}

// Upgrading reports whether a WebSocket is about to replace polling.
func (s *engineSocket) Upgrading() bool { return s.eio.Upgrading() }

// Construct does nothing: a Conn is made by its server.
func (s *engineSocket) Construct(string, eng.BaseServer, transports.Transport, *types.HttpContext, int) {
}

// MaybeUpgrade does nothing: sessions upgrade by themselves.
func (s *engineSocket) MaybeUpgrade(transports.Transport) {}

// Send is Write.
func (s *engineSocket) Send(data io.Reader, opts *epacket.Options, sent eng.SendCallback) eng.Socket {
	return s.Write(data, opts, sent)
}

// Write queues a message: text if data is a string reader or string buffer, binary otherwise. sent, if not nil, is
// called once the message is queued.
func (s *engineSocket) Write(data io.Reader, opts *epacket.Options, sent eng.SendCallback) eng.Socket {
	c := s.conn()
	m, err := messageOf(data)
	if err != nil {
		c.srv.log.Error("message is not sent", "err", err)
		return s
	}
	if c.srv.options.CompressFlagged && (opts == nil || !opts.Compress) {
		m = m.Uncompressed()
	}
	c.send(m)
	if sent != nil {
		sent(s.Transport())
	}
	return s
}

// messageOf returns data as a Message. Most of what the library writes is one already.
func messageOf(data io.Reader) (*Message, error) {
	switch d := data.(type) {
	case *wireBuffer:
		return d.message, nil
	case *types.StringBuffer:
		return rawMessage(eio.TextFrame(d.Bytes())), nil
	case *types.BytesBuffer:
		return rawMessage(eio.BinaryFrame(d.Bytes())), nil
	case *strings.Reader:
		b, err := io.ReadAll(d)
		return rawMessage(eio.TextFrame(b)), err
	default:
		b, err := io.ReadAll(d)
		return rawMessage(eio.BinaryFrame(b)), err
	}
}

// rawMessage returns a Message for bytes that the user's own parser has encoded.
func rawMessage(f *eio.Frame) *Message {
	m := &Message{frames: []*eio.Frame{f}}
	if f.Binary() {
		return m
	}
	if h, err := parseHeader(f.Data(), 1<<30); err == nil {
		m.kind, m.hasID, m.namespace = h.kind, h.hasID, "/"
		if len(h.namespace) > 0 {
			m.namespace = string(h.namespace)
		}
	}
	return m
}

// Close ends the session. Unless discard is true, queued messages are sent first.
func (s *engineSocket) Close(discard bool) { s.eio.Close(discard) }

// On registers listeners.
func (s *engineSocket) On(event events.EventName, fns ...events.Listener) error {
	c := s.conn()
	if event == "data" && c.feed == nil && len(fns) == 1 {
		c.feed = fns[0] // from the Client, during OnOpen
		return nil
	}
	c.observe(event)
	return c.users.On(event, fns...)
}

// AddListener registers listeners.
func (s *engineSocket) AddListener(event events.EventName, fns ...events.Listener) error {
	return s.On(event, fns...)
}

// Once registers listeners that run once.
func (s *engineSocket) Once(event events.EventName, fns ...events.Listener) error {
	c := s.conn()
	if event == "close" && c.hangUp == nil && len(fns) == 1 {
		c.hangUp = fns[0] // from the Client, during OnOpen
		return nil
	}
	c.observe(event)
	return c.users.Once(event, fns...)
}

// Emit calls the listeners of an event.
func (s *engineSocket) Emit(event events.EventName, args ...any) { s.users.Emit(event, args...) }

// RemoveListener removes one listener.
func (s *engineSocket) RemoveListener(event events.EventName, fn events.Listener) bool {
	return s.users.RemoveListener(event, fn)
}

// RemoveAllListeners removes the listeners of an event, but not the library's own.
func (s *engineSocket) RemoveAllListeners(event events.EventName) bool {
	return s.users.RemoveAllListeners(event)
}

// ListenerCount returns the number of listeners of an event.
func (s *engineSocket) ListenerCount(event events.EventName) int { return s.users.ListenerCount(event) }

// Listeners returns the listeners of an event.
func (s *engineSocket) Listeners(event events.EventName) []events.Listener {
	return s.users.Listeners(event)
}

// EventNames returns the events that have listeners.
func (s *engineSocket) EventNames() []events.EventName { return s.users.EventNames() }

// Len returns the number of events that have listeners.
func (s *engineSocket) Len() int { return s.users.Len() }

// Clear removes all listeners.
func (s *engineSocket) Clear() { s.users.Clear() }

// GetMaxListeners returns 0: there is no limit.
func (s *engineSocket) GetMaxListeners() uint { return 0 }

// SetMaxListeners does nothing.
func (s *engineSocket) SetMaxListeners(uint) {}
