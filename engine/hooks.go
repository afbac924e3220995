package engine

import (
	"net/http"

	epacket "github.com/zishang520/engine.io-go-parser/packet"
	"github.com/zishang520/engine.io/v2/config"
	eng "github.com/zishang520/engine.io/v2/engine"
	"github.com/zishang520/engine.io/v2/events"
	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/engine.io/v2/utils"

	"github.com/architus/guildcast/engine/internal/eio"
)

// observable returns the hooks of package eio that an event of an Engine.IO socket needs.
func observable(event events.EventName) eio.Events {
	switch event {
	case "packet":
		return eio.ObservePacket
	case "packetCreate":
		return eio.ObservePacketCreate
	case "flush":
		return eio.ObserveFlush
	case "drain":
		return eio.ObserveDrain
	case "heartbeat":
		return eio.ObserveHeartbeat
	case "upgrading":
		return eio.ObserveUpgrading
	case "upgrade":
		return eio.ObserveUpgrade
	}
	return 0
}

// observe turns on the hooks for an event that has a listener now.
func (c *Conn) observe(event events.EventName) {
	if event == "data" || event == "message" {
		c.srv.rawListeners.Store(true)
		return
	}
	if observable(event) == 0 {
		return
	}
	set := observable(event)
	for _, other := range c.users.EventNames() {
		set |= observable(other)
	}
	c.eio.Observe(set)
}

// On registers listeners for the server's events, which are those of Node.js: "connection", "connection_error",
// "initial_headers", "headers", "flush" and "drain".
func (s *server) On(event events.EventName, fns ...events.Listener) error {
	s.observe(event)
	return s.BaseServer.On(event, fns...)
}

// AddListener is On.
func (s *server) AddListener(event events.EventName, fns ...events.Listener) error {
	s.observe(event)
	return s.BaseServer.AddListener(event, fns...)
}

// Once registers listeners that run once.
func (s *server) Once(event events.EventName, fns ...events.Listener) error {
	s.observe(event)
	return s.BaseServer.Once(event, fns...)
}

func (s *server) observe(event events.EventName) {
	if event != "flush" && event != "drain" {
		return
	}
	set := observable(event)
	for _, other := range []events.EventName{"flush", "drain"} {
		if s.ListenerCount(other) > 0 {
			set |= observable(other)
		}
	}
	s.eio.Observe(set)
}

func ownerOf(c *eio.Conn) *Conn { return c.Handler().(*session).conn() }

// hooks returns the hooks that emit the library's events.
func (s *server) hooks() eio.Hooks {
	toUsers := func(event events.EventName) func(*eio.Conn) {
		return func(c *eio.Conn) {
			o := ownerOf(c)
			o.users.Emit(event, o.socket().Transport())
		}
	}
	return eio.Hooks{
		InitialHeaders:  s.headersHook("initial_headers"),
		Headers:         s.headersHook("headers"),
		ConnectionError: s.connectionError,
		Packet: func(c *eio.Conn, p eio.Packet) {
			ownerOf(c).users.Emit("packet", libraryPacket(p))
		},
		PacketCreate: func(c *eio.Conn, p eio.Packet) {
			ownerOf(c).users.Emit("packetCreate", libraryPacket(p))
		},
		Flush: func(c *eio.Conn) {
			o := ownerOf(c)
			o.users.Emit("flush", []*epacket.Packet(nil)) // nil: the packets are frames already
			s.BaseServer.Emit("flush", o.socket(), []*epacket.Packet(nil))
		},
		Drain: func(c *eio.Conn) {
			o := ownerOf(c)
			o.users.Emit("drain")
			s.BaseServer.Emit("drain", o.socket())
		},
		Heartbeat: toUsers("heartbeat"),
		Upgrading: toUsers("upgrading"),
		Upgrade:   toUsers("upgrade"),
	}
}

func (s *server) headersHook(event events.EventName) func(http.Header, *http.Request) {
	return func(h http.Header, r *http.Request) {
		if s.ListenerCount(event) > 0 {
			s.BaseServer.Emit(event, utils.NewParameterBag(h), detachedContext(r))
		}
	}
}

func (s *server) connectionError(e *eio.ConnectionError) {
	if s.ListenerCount("connection_error") == 0 {
		return
	}
	s.BaseServer.Emit("connection_error", &types.ErrorMessage{
		CodeMessage: codeMessage(e), Req: detachedContext(e.Request), Context: e.Context,
	})
}

// codeMessage returns the library's own value for an error if there is one, because users compare pointers.
func codeMessage(e *eio.ConnectionError) *types.CodeMessage {
	switch e.Code {
	case eio.CodeUnknownTransport:
		return eng.UNKNOWN_TRANSPORT
	case eio.CodeUnknownSID:
		return eng.UNKNOWN_SID
	case eio.CodeBadHandshakeMethod:
		return eng.BAD_HANDSHAKE_METHOD
	case eio.CodeBadRequest:
		return eng.BAD_REQUEST
	case eio.CodeForbidden:
		return eng.FORBIDDEN
	}
	// The library's value for an unsupported protocol has the wrong code, 4.
	return &types.CodeMessage{Code: int(e.Code), Message: e.Message}
}

// libraryPacket copies a packet into the library's form.
func libraryPacket(p eio.Packet) *epacket.Packet {
	kinds := [...]epacket.Type{
		epacket.OPEN, epacket.CLOSE, epacket.PING, epacket.PONG, epacket.MESSAGE, epacket.UPGRADE, epacket.NOOP,
	}
	out := &epacket.Packet{Type: epacket.ERROR}
	if int(p.Type) < len(kinds) {
		out.Type = kinds[p.Type]
	}
	if len(p.Data) > 0 {
		out.Data = rawBuffer(p.Binary, append([]byte(nil), p.Data...))
	}
	return out
}

// allowRequest adapts the user's function that accepts or refuses handshakes.
func (s *server) allowRequest(allow config.AllowRequest) func(*http.Request) error {
	if allow == nil {
		return nil
	}
	return func(r *http.Request) error { return allow(detachedContext(r)) }
}
