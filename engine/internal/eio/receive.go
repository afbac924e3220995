package eio

import (
	"errors"
	"fmt"

	"github.com/architus/guildcast/engine/internal/payload"
	"github.com/architus/guildcast/engine/internal/ws"
)

// errDirection reports a ping in revision 4 or a pong in revision 3.
var errDirection = fmt.Errorf("%w: invalid heartbeat direction", ErrProtocol)

// packetIn handles a packet from a WebSocket. c.in is held.
func (c *Conn) packetIn(m ws.Message) {
	p := Packet{Type: PacketMessage, Binary: m.Op == ws.Binary, Own: m.Own, Data: m.Data}
	switch {
	case c.srv.cfg.BareMessages:
		c.handle(p)
		return
	case !p.Binary:
		c.textIn(m.Data, m.Own)
		return
	case c.protocol == 4:
		c.handle(p)
		return
	}
	// In revision 3 the first byte is the type. One that there is not is no error, as in Node.js.
	if len(p.Data) > 0 && p.Data[0] <= byte(PacketNoop) {
		p.Type, p.Data = PacketType(p.Data[0]), p.Data[1:]
		c.handle(p)
	}
}

// textIn handles a text packet. c.in is held.
func (c *Conn) textIn(data []byte, own bool) {
	if len(data) > 0 && data[0] == 'b' {
		p, err := payload.DecodeBase64(data, int(c.protocol))
		if err != nil {
			c.finish(ReasonParseError, nil)
			return
		}
		c.handle(Packet{Type: PacketMessage, Binary: true, Own: true, Data: p.Data})
		return
	}
	p, ok := parseText(data)
	if !ok {
		c.finish(ReasonParseError, nil)
		return
	}
	p.Own = own
	c.handle(p)
}

// handle handles a packet, unless the session has ended or is about to. c.in is held.
func (c *Conn) handle(p Packet) {
	if c.State() != Open {
		return
	}
	if hook := c.srv.cfg.Hooks.Packet; hook != nil && c.observes(ObservePacket) {
		hook(c, p)
	}
	if p.Type != PacketPong {
		c.srv.beats.packet(c)
	}
	switch p.Type {
	case PacketMessage:
		c.handler.OnMessage(c, p)
	case PacketPing, PacketPong:
		c.heartbeat(p)
	case PacketClose:
		c.finish(ReasonTransportClose, nil)
	case PacketOpen, PacketUpgrade, PacketNoop: // nothing to do
	}
}

// heartbeat handles a ping (revision 3) or a pong (revision 4).
func (c *Conn) heartbeat(p Packet) {
	if (p.Type == PacketPing) != (c.protocol == 3) {
		c.finish(ReasonTransportError, errDirection)
		return
	}
	c.srv.beats.beat(c)
	if p.Type == PacketPing {
		pong := c.srv.frames.pong
		if len(p.Data) > 0 && !p.Binary {
			pong = plainPacket(PacketPong, string(p.Data))
		}
		c.Send(pong)
	}
	c.notify(ObserveHeartbeat, c.srv.cfg.Hooks.Heartbeat)
}

// Errors of polling clients, in the words of Node.js.
var (
	errOverlapPost = errors.New("data request overlap from client")
	errOverlapPoll = errors.New("overlap from client")
	errContent     = errors.New("invalid content")
	errPostBroken  = errors.New("data request connection closed prematurely")
	errPollBroken  = errors.New("poll connection closed prematurely")
)
