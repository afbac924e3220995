package adapter

import (
	"sync"
	"time"

	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter/internal/wire"
)

// listenerGrace is how long messages wait for a listener, so that what it does comes before what they do. A listener
// that takes longer no longer holds them up.
const listenerGrace = 100 * time.Millisecond

// onRequest serves a request of another server or of an emitter.
func (a *classic) onRequest(payload []byte) {
	if len(payload) > 0 && payload[0] != '{' {
		var err error
		if payload, err = decodeWith(a.opts.Codec, payload); err != nil {
			a.drop("request", err)
			return
		}
	}
	r, err := wire.DecodeRequest(payload)
	if err == nil {
		if r.LegacyID != "" {
			err = a.serveLegacy(r)
		} else {
			err = a.serve(r)
		}
	}
	if err != nil {
		a.drop("request", err)
		return
	}
	a.count.requests.Add(1)
}

func (a *classic) serve(r wire.Request) error {
	switch r.Type {
	case wire.RemoteJoin, wire.RemoteLeave, wire.RemoteDisconnect:
		a.serveCommand(r)
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
		a.serveFetch(r)
	case wire.ServerSideEmit:
		return a.serveEmit(r)
	case wire.BroadcastAck:
		return a.onBroadcastAck(r)
	default:
		return &wire.Error{Reason: wire.BadRequestType, Detail: "response on the request channel"}
	}
	return nil
}

// serveCommand makes local sockets join, leave or disconnect: those that the options select, or, up to version 7, the
// one that is named.
func (a *classic) serveCommand(r wire.Request) {
	if r.Options == nil {
		if s, ok := a.Nsp().Sockets().Load(socket.SocketId(r.SID)); ok && r.SID != "" {
			a.command1(r, s)
			a.respond(r, wire.Object{{Key: "requestId", Value: r.ID}})
		}
		return
	}
	if !a.concerns(r.Options.Rooms) {
		return
	}
	opts, rooms := libraryOptions(*r.Options), toRooms(r.Rooms.Names)
	switch r.Type {
	case wire.RemoteJoin:
		if len(rooms) > 0 {
			a.Adapter.AddSockets(opts, rooms)
		}
	case wire.RemoteLeave:
		a.Adapter.DelSockets(opts, rooms)
	case wire.RemoteDisconnect:
		a.listen(func() { a.Adapter.DisconnectSockets(opts, r.Close) })
	}
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

// listen runs f, which calls listeners of the application, on their lane.
func (a *classic) listen(f func()) {
	if !a.listeners.postAndWait(f, listenerGrace) {
		a.drop("call of a listener", &wire.Error{Reason: wire.Overflow, Detail: "listeners are too slow"})
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

func (a *classic) serveFetch(r wire.Request) {
	sockets := []any{}
	if r.Options == nil || a.concerns(r.Options.Rooms) {
		var opts *socket.BroadcastOptions
		if r.Options != nil {
			opts = libraryOptions(*r.Options)
		}
		a.Adapter.FetchSockets(opts)(func(found []socket.SocketDetails, _ error) {
			for _, s := range found {
				sockets = append(sockets, describe(s))
			}
		})
	}
	a.respond(r, wire.Object{{Key: "requestId", Value: r.ID}, {Key: "sockets", Value: sockets}})
}

// serveEmit calls the namespace's listeners of an event that another server emitted.
func (a *classic) serveEmit(r wire.Request) error {
	values, _ := r.Data.Go(toBuffer).([]any)
	if len(values) == 0 {
		return &wire.Error{Reason: wire.BadShape, Detail: "server side emit without event"}
	}
	event, ok := values[0].(string)
	if !ok || socket.NAMESPACE_RESERVED_EVENTS.Has(event) {
		return &wire.Error{Reason: wire.BadEventName, Detail: event}
	}
	if r.ID != "" {
		var once sync.Once // only one answer is expected
		values = append(values, socket.Ack(func(args []any, _ error) {
			once.Do(func() { a.answerEmit(r, args) })
		}))
	}
	a.listen(func() { a.Nsp().OnServerSideEmit(values) })
	return nil
}

// answerEmit publishes what a listener answered: the first value, and none where it gave none. It always goes to all
// servers, as it does from Node.
func (a *classic) answerEmit(r wire.Request, args []any) {
	o := wire.Object{{Key: "type", Value: int(wire.ServerSideEmit)}, {Key: "requestId", Value: r.ID}}
	if len(args) > 0 {
		o = append(o, wire.Field{Key: "data", Value: args[0]})
	}
	a.publishResponse(a.answer, o)
}

func (a *classic) responseChannel(r wire.Request) string {
	if a.opts.PublishOnSpecificResponseChannel && r.UID != "" {
		return a.answer + r.UID + "#"
	}
	return a.answer
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
		err = a.bus.Publish(channel, payload)
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
	a.publishResponse(a.answer, o)
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
