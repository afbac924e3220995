package adapter

import (
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter/internal/wire"
)

// onRequest serves a request of another server or of an emitter.
func (a *classic) onRequest(payload []byte) error {
	payload, err := a.decodeUnlessJSON(payload)
	if err != nil {
		return err
	}
	r, err := wire.DecodeRequest(payload)
	if err != nil {
		return err
	}
	if r.LegacyID != "" {
		err = a.serveLegacy(r)
	} else {
		err = a.serve(r)
	}
	if err == nil {
		a.count.requests.Add(1)
	}
	return err
}

// decodeUnlessJSON decodes a request or response with the codec unless it is JSON.
func (a *classic) decodeUnlessJSON(payload []byte) ([]byte, error) {
	if len(payload) > 0 && payload[0] == '{' {
		return payload, nil
	}
	return wire.DecodeWith(a.opts.Codec, payload)
}

func (a *classic) serve(r wire.Request) error {
	if r.UID == a.uid { // our own
		return nil
	}
	if kind, ok := commands[r.Type]; ok {
		return a.onCommand(kind, r)
	}
	switch r.Type {
	case wire.Sockets, wire.AllRooms, wire.RemoteFetch:
		return a.onQuestion(r)
	case wire.ServerSideEmit:
		var reply func([]any)
		if r.ID != "" {
			reply = func(values []any) { a.answerEmit(r, values) }
		}
		return a.serveEmit(r.Data, reply)
	case wire.BroadcastAck:
		return a.onBroadcastAck(r)
	default:
		return &wire.Error{Reason: wire.BadRequestType, Detail: "response on the request channel"}
	}
}

// onQuestion answers what another server asks about sockets and rooms.
func (a *classic) onQuestion(r wire.Request) error {
	if r.ID == "" {
		return &wire.Error{Reason: wire.BadShape, Detail: "question without requestId"}
	}
	answer := wire.Field{Key: "sockets"}
	switch r.Type {
	case wire.Sockets:
		answer.Value = a.localSockets(r.Rooms)
	case wire.RemoteFetch:
		answer.Value = a.describeSockets(r.Options)
	default:
		answer = wire.Field{Key: "rooms", Value: fromRooms(a.localRooms())}
	}
	a.respond(r, wire.Object{{Key: "requestId", Value: r.ID}, answer})
	return nil
}

// commands are the requests that make sockets join, leave or disconnect.
var commands = map[wire.RequestType]messageKind{
	wire.RemoteJoin: join, wire.RemoteLeave: leave, wire.RemoteDisconnect: disconnect,
}

// onCommand makes the local sockets that the options select join, leave or disconnect. Versions up to 7 name one socket
// instead.
func (a *classic) onCommand(kind messageKind, r wire.Request) error {
	switch {
	case r.Options == nil && r.SID == "":
		return &wire.Error{Reason: wire.BadShape, Detail: "command without opts and sid"}
	case r.Options == nil:
		if s, ok := a.Nsp().Sockets().Load(socket.SocketId(r.SID)); ok {
			a.commandSocket(kind, r, s)
			a.respond(r, wire.Object{{Key: "requestId", Value: r.ID}})
		}
		return nil
	case kind != disconnect && !r.Rooms.All && len(r.Rooms.Names) == 0:
		return &wire.Error{Reason: wire.BadShape, Detail: "command without rooms"}
	}
	a.serveCommand(message{kind: kind, opts: *r.Options, rooms: r.Rooms.Names, close: r.Close})
	return nil
}

// commandSocket makes one socket join, leave or disconnect.
func (a *classic) commandSocket(kind messageKind, r wire.Request, s *socket.Socket) {
	switch kind {
	case join:
		s.Join(socket.Room(r.Room))
	case leave:
		s.Leave(socket.Room(r.Room))
	case disconnect:
		a.listen(func() { s.Disconnect(r.Close) })
	}
}

// onBroadcastAck serves another server's BroadcastWithAck. It answers with the number of clients that it asks, and then
// with the answer of each.
func (a *classic) onBroadcastAck(r wire.Request) error {
	p, err := r.Packet()
	if err != nil {
		return err
	}
	if own, err := a.checkNamespace(p.Nsp); !own {
		return err
	}
	o := wire.Options{Rooms: wire.Rooms{All: true}}
	if r.Options != nil {
		o = *r.Options
	}
	a.serveAckRequest(p, o, func(n uint64) {
		a.respond(r, wire.Object{
			{Key: "type", Value: int(wire.ClientCount)},
			{Key: "requestId", Value: r.ID},
			{Key: "clientCount", Value: n},
		})
	}, func(values []any) { a.respondAck(r, values) })
	return nil
}

// localSockets returns the ids of the local sockets in rooms.
func (a *classic) localSockets(rooms wire.Rooms) []string {
	if !rooms.All && len(rooms.Names) == 0 {
		return []string{}
	}
	ids := a.Adapter.Sockets(roomSet(rooms.Names)).Keys()
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = string(id)
	}
	return out
}
