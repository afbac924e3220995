package adapter

import (
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter/internal/wire"
)

// legacyCommands are the requests of socket.io-redis 5 that make a socket join, leave or disconnect.
var legacyCommands = map[wire.LegacyType]messageKind{
	wire.LegacyJoin: join, wire.LegacyLeave: leave, wire.LegacyDisconnect: disconnect,
}

// serveLegacy serves a request of socket.io-redis 5.
func (a *classic) serveLegacy(r wire.Request) error {
	o := wire.Object{{Key: "requestid", Value: r.LegacyID}}
	switch r.Type {
	case wire.LegacyClients:
		o = append(o, wire.Field{Key: "clients", Value: a.localSockets(r.Rooms)})
	case wire.LegacyAllRooms:
		o = append(o, wire.Field{Key: "rooms", Value: fromRooms(a.localRooms())})
	case wire.LegacyCustom: // what a server without a custom hook answers
		o = append(o, wire.Field{Key: "data", Value: nil})
	default: // about one socket: the server that has it answers
		if r.SID == "" {
			return &wire.Error{Reason: wire.BadShape, Detail: "request without sid"}
		}
		s, ok := a.Nsp().Sockets().Load(socket.SocketId(r.SID))
		if !ok {
			return nil
		}
		if r.Type == wire.LegacyClientRooms {
			o = append(o, wire.Field{Key: "rooms", Value: a.roomsOf(s)})
		} else {
			a.commandSocket(legacyCommands[r.Type], r, s)
		}
	}
	a.publishResponse(a.answers, o)
	return nil
}

func (a *classic) roomsOf(s *socket.Socket) []string {
	if rooms := a.SocketRooms(s.Id()); rooms != nil {
		return fromRooms(rooms.Keys())
	}
	return []string{}
}
