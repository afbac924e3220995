package adminui

import (
	"encoding/json"
	"time"

	epacket "github.com/zishang520/engine.io-go-parser/packet"
	eio "github.com/zishang520/engine.io/v2/engine"
	"github.com/zishang520/engine.io/v2/events"
	"github.com/zishang520/engine.io/v2/transports"
	"github.com/zishang520/socket.io/v2/socket"
)

// instrument has the pages told of what happens on the server. In production mode that is only how many connections
// begin and end.
func (u *UI) instrument() error {
	if err := u.io.Engine().On("connection", func(args ...any) {
		if s, ok := args[0].(eio.Socket); ok {
			u.opened(s)
		}
	}); err != nil || u.o.Production {
		return err
	}
	for _, nsp := range u.namespaces() {
		if err := u.watch(nsp); err != nil {
			return err
		}
	}
	return nil
}

// opened counts an Engine.IO session.
func (u *UI) opened(s eio.Socket) {
	u.tally.add("rawConnection", "", 1)
	_ = s.Once("close", func(args ...any) {
		reason := ""
		if len(args) > 0 {
			reason, _ = args[0].(string)
		}
		u.tally.add("rawDisconnection", reason, 1)
	})
	if u.o.Production {
		return
	}
	count := func(packets, bytes string) func(...any) {
		return func(args ...any) {
			if p, ok := args[0].(*epacket.Packet); ok && p.Data != nil {
				u.tally.add(packets, "", 1)
				if sized, ok := p.Data.(interface{ Len() int }); ok {
					u.tally.add(bytes, "", sized.Len())
				}
			}
		}
	}
	_ = s.On("packet", count("packetsIn", "bytesIn"))
	_ = s.On("packetCreate", count("packetsOut", "bytesOut"))
}

// watch has the pages told of the sockets and rooms of a namespace.
func (u *UI) watch(nsp socket.Namespace) error {
	name := nsp.Name()
	if err := nsp.On("connection", func(args ...any) {
		if s, ok := args[0].(*socket.Socket); ok {
			u.connected(s, name)
		}
	}); err != nil {
		return err
	}
	for from, to := range map[events.EventName]string{"join-room": "room_joined", "leave-room": "room_left"} {
		err := nsp.Adapter().On(from, func(args ...any) {
			room, _ := args[0].(socket.Room)
			id, _ := args[1].(socket.SocketId)
			u.emit(to, name, string(room), string(id), timestamp(time.Now()))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// connected has the pages told of a socket.
func (u *UI) connected(s *socket.Socket, nsp string) {
	client := clientID(s.Conn().Id())
	describe := func(transport string) {
		if s.Data() == nil || internal(s.Data()) != nil { // else it is somebody's own
			s.SetData(map[string]any{"_admin": map[string]any{"clientId": client, "transport": transport}})
		}
	}
	describe(s.Conn().Transport().Name())
	u.emit("socket_connected", serialize(s, nsp), timestamp(time.Now()))
	id := string(s.Id())
	_ = s.Conn().On("upgrade", func(args ...any) {
		if t, ok := args[0].(transports.Transport); ok {
			describe(t.Name())
			u.emit("socket_updated", map[string]any{"id": id, "nsp": nsp, "transport": t.Name()})
		}
	})
	_ = s.On("disconnect", func(args ...any) {
		reason := ""
		if len(args) > 0 {
			reason, _ = args[0].(string)
		}
		u.emit("socket_disconnected", nsp, id, reason, timestamp(time.Now()))
	})
	if nsp == Namespace { // else what is shown would be shown again
		return
	}
	s.OnAny(func(args ...any) {
		if n := len(args); n > 0 {
			if _, ok := args[n-1].(socket.Ack); ok {
				args = args[:n-1]
			}
		}
		u.show("event_received", nsp, id, args)
	})
	s.OnAnyOutgoing(func(args ...any) { u.show("event_sent", nsp, id, args) })
}

// show has the pages told of an event of a socket.
func (u *UI) show(what, nsp, id string, args []any) {
	if !u.shown.Allow() {
		u.dropped.Add(1)
		return
	}
	u.emit(what, nsp, id, maskEvent(args), timestamp(time.Now()))
}

// Sent has the pages told of an event that was sent to sockets of the main namespace past the library. args is its JSON
// array.
func (u *UI) Sent(sockets []string, args []byte) {
	if u.o.Production || u.shown.Tokens() < 1 {
		u.dropped.Add(uint64(len(sockets)))
		return
	}
	var decoded []any
	if json.Unmarshal(args, &decoded) != nil {
		return
	}
	for _, id := range sockets {
		u.show("event_sent", "/", id, decoded)
	}
}

// timestamp returns a time as JavaScript writes it.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
