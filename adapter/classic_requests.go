package adapter

import (
	"github.com/zishang520/engine.io/v2/types"
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

// decodeUnlessJSON decodes a request or response, which a codec concerns only if it is not JSON.
func (a *classic) decodeUnlessJSON(payload []byte) ([]byte, error) {
	if len(payload) > 0 && payload[0] == '{' {
		return payload, nil
	}
	return wire.DecodeWith(a.opts.Codec, payload)
}

func (a *classic) serve(r wire.Request) error {
	switch r.Type {
	case wire.RemoteJoin, wire.RemoteLeave, wire.RemoteDisconnect:
		a.onCommand(r)
		return nil
	}
	if r.UID == a.uid { // our own question
		return nil
	}
	switch r.Type {
	case wire.Sockets:
		a.respond(r, wire.Object{{Key: "requestId", Value: r.ID}, {Key: "sockets", Value: a.localSockets(r.Rooms)}})
	case wire.AllRooms:
		a.respond(r, wire.Object{{Key: "requestId", Value: r.ID}, {Key: "rooms", Value: fromRooms(a.localRooms())}})
	case wire.RemoteFetch:
		a.respond(r, wire.Object{{Key: "requestId", Value: r.ID}, {Key: "sockets", Value: a.describeSockets(r.Options)}})
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
	return nil
}

// onCommand makes local sockets join, leave or disconnect: those that the options select, or, up to version 7, the one
// that is named.
func (a *classic) onCommand(r wire.Request) {
	if r.Options == nil {
		if s, ok := a.Nsp().Sockets().Load(socket.SocketId(r.SID)); ok && r.SID != "" {
			a.command1(r, s)
			a.respond(r, wire.Object{{Key: "requestId", Value: r.ID}})
		}
		return
	}
	m := message{kind: join, opts: *r.Options, rooms: r.Rooms.Names, close: r.Close}
	switch r.Type {
	case wire.RemoteLeave:
		m.kind = leave
	case wire.RemoteDisconnect:
		m.kind = disconnect
	}
	a.serveCommand(m)
}

func (a *classic) command1(r wire.Request, s *socket.Socket) {
	switch r.Type {
	case wire.RemoteJoin:
		s.Join(socket.Room(r.Room))
	case wire.RemoteLeave:
		s.Leave(socket.Room(r.Room))
	case wire.RemoteDisconnect:
		a.listen(func() { s.Disconnect(r.Close) })
	}
}

// localSockets lists the ids of the local sockets in rooms.
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

// answerEmit publishes what a listener answered: the first value, and none where it gave none. It always goes to all
// servers, as it does from Node.
func (a *classic) answerEmit(r wire.Request, args []any) {
	o := wire.Object{{Key: "type", Value: int(wire.ServerSideEmit)}, {Key: "requestId", Value: r.ID}}
	if len(args) > 0 {
		o = append(o, wire.Field{Key: "data", Value: args[0]})
	}
	a.publishResponse(a.answers, o)
}

func (a *classic) responseChannel(r wire.Request) string {
	if a.opts.PublishOnSpecificResponseChannel && r.UID != "" {
		return a.answers + r.UID + "#"
	}
	return a.answers
}

// respond answers r, if an answer is wanted.
func (a *classic) respond(r wire.Request, o wire.Object) {
	if r.ID != "" {
		a.publishResponse(a.responseChannel(r), o)
	}
}

// publishResponse adds who answers, which Node does not, so that the asking server can say who did not.
func (a *classic) publishResponse(channel string, o wire.Object) {
	payload, err := wire.AppendJSON(nil, append(o, wire.Field{Key: "uid", Value: a.uid}))
	if err == nil {
		err = a.publish(channel, payload)
	}
	if err != nil {
		a.unsent("response", err)
	}
}

// serveLegacy serves a request of socket.io-redis 5.
func (a *classic) serveLegacy(r wire.Request) error {
	o := wire.Object{{Key: "requestid", Value: r.LegacyID}}
	s, found := a.Nsp().Sockets().Load(socket.SocketId(r.SID))
	switch r.Type {
	case wire.LegacyClients:
		o = append(o, wire.Field{Key: "clients", Value: a.localSockets(r.Rooms)})
	case wire.LegacyAllRooms:
		o = append(o, wire.Field{Key: "rooms", Value: fromRooms(a.localRooms())})
	case wire.LegacyCustom: // what a server without a custom hook answers
		o = append(o, wire.Field{Key: "data", Value: nil})
	case wire.LegacyClientRooms, wire.LegacyJoin, wire.LegacyLeave, wire.LegacyDisconnect:
		if !found { // the server that has the socket answers
			return nil
		}
		o = append(o, a.serveLegacySocket(r, s)...)
	}
	a.publishResponse(a.answers, o)
	return nil
}

func (a *classic) serveLegacySocket(r wire.Request, s *socket.Socket) wire.Object {
	switch r.Type {
	case wire.LegacyClientRooms:
		rooms := a.SocketRooms(s.Id())
		if rooms == nil {
			rooms = types.NewSet[socket.Room]()
		}
		return wire.Object{{Key: "rooms", Value: fromRooms(rooms.Keys())}}
	case wire.LegacyJoin:
		s.Join(socket.Room(r.Room))
	case wire.LegacyLeave:
		s.Leave(socket.Room(r.Room))
	case wire.LegacyDisconnect:
		a.listen(func() { s.Disconnect(r.Close) })
	}
	return nil
}
