package adapter

import (
	"bytes"
	"strings"
	"sync"

	"github.com/zishang520/socket.io-go-parser/v2/parser"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter/bus"
	"github.com/architus/guildcast/adapter/internal/wire"
	"github.com/architus/guildcast/engine"
)

// shardedReceiver is the bus.Filter of what other servers want.
type shardedReceiver struct{ a *sharded }

// Wants spares us the reading of what is meant for a room that has no member here (any more).
func (r shardedReceiver) Wants(channel string) bool {
	room, one := r.a.roomOf(channel)
	return !one || r.a.HasMembers(room)
}

func (r shardedReceiver) HandleMessage(m bus.Message) {
	a := r.a
	if m.Missed > 0 {
		a.count.dropped[wire.Overflow].Add(uint64(m.Missed))
	}
	guard(a.opts.Logger, func() {
		if err := a.onMessage(m.Channel, m.Payload); err != nil {
			a.drop("message", err)
		}
	})
}

// roomOf returns the room of a channel that belongs to one.
func (a *sharded) roomOf(channel string) (socket.Room, bool) {
	if len(channel) <= len(a.base)+1 {
		return "", false
	}
	return socket.Room(strings.TrimSuffix(channel[len(a.base):], "#")), true
}

// drop counts a message that was not understood.
func (a *sharded) drop(what string, err error) {
	a.count.dropped[wire.ReasonOf(err)].Add(1)
	a.opts.Logger.Debug("message from redis dropped", "namespace", a.nsp, "what", what, "err", err)
}

// ownSuffix is how the JSON of our own messages ends, so that they need not be read when they come back.
func ownSuffix(uid, nsp string) []byte {
	b, err := wire.AppendJSON(nil, wire.Object{{Key: "uid", Value: uid}, {Key: "nsp", Value: nsp}})
	if err != nil {
		return []byte(uid) // can't be: two strings
	}
	return append([]byte(","), b[1:]...)
}

// onMessage does what another server wants.
func (a *sharded) onMessage(channel string, payload []byte) error {
	if bytes.HasSuffix(payload, a.own) {
		a.count.own.Add(1)
		return nil
	}
	if room, one := a.roomOf(channel); one && !a.HasMembers(room) {
		a.count.filtered.Add(1)
		return nil
	}
	m, err := decodeMessage(payload)
	switch {
	case err != nil:
		return err
	case m.uid == a.uid:
		a.count.own.Add(1)
		return nil
	case m.nsp != a.nsp:
		return &wire.Error{Reason: wire.OtherNamespace, Detail: m.nsp}
	case m.typ == typeBroadcast:
		return a.onBroadcast(m)
	}
	a.count.requests.Add(1)
	switch m.typ {
	case typeSocketsJoin, typeSocketsLeave, typeDisconnect:
		return a.onCommand(m)
	case typeFetch:
		return a.onFetch(m)
	case typeServerSideEmit:
		return a.onServerSideEmit(m)
	}
	return nil // heartbeats and the like, which this protocol does not use
}

// selection reads the options of a message, and tells whether they can select anybody here.
func (a *sharded) selection(m shardedMessage) (o wire.Options, some bool, err error) {
	o, err = wire.DecodeOptions(m.data.Get("opts"))
	if err != nil || o.Rooms.All {
		return o, err == nil, err
	}
	for _, r := range o.Rooms.Names {
		if a.HasMembers(socket.Room(r)) {
			return o, true, nil
		}
	}
	return o, false, nil
}

func (a *sharded) onBroadcast(m shardedMessage) error {
	o, some, err := a.selection(m)
	if err != nil {
		return err
	}
	request := scalarText(m.data.Get("requestId"))
	if !some && request == "" {
		a.count.filtered.Add(1)
		return nil
	}
	p, err := wire.DecodePacket(m.data.Get("packet"))
	if err != nil {
		return err
	}
	if request != "" {
		a.onBroadcastWithAck(m.uid, request, p, o, some)
		return nil
	}
	args, attachments, err := p.Args()
	if err != nil {
		return err
	}
	a.count.broadcasts.Add(1)
	a.BroadcastMessage(engine.NewEventMessage(a.nsp, args, attachments), libraryOptions(o))
	return nil
}

// onBroadcastWithAck sends a packet to local sockets, and to the asking server how many they are, and their answers.
func (a *sharded) onBroadcastWithAck(asker, request string, p wire.Packet, o wire.Options, some bool) {
	count := func(n uint64) {
		a.respond(asker, typeClientCount, request, wire.Field{Key: "clientCount", Value: n})
	}
	if !some {
		count(0)
		return
	}
	a.count.broadcasts.Add(1)
	packet := &parser.Packet{Type: parser.EVENT, Data: p.Values(toBuffer)}
	a.Adapter.BroadcastWithAck(packet, libraryOptions(o), count, func(args []any, err error) {
		if err == nil {
			a.respond(asker, typeBroadcastAck, request, firstValue(args)...)
		}
	})
}

// firstValue is the field of an acknowledgement, absent where there is no value, as JavaScript's undefined.
func firstValue(args []any) []wire.Field {
	if len(args) == 0 {
		return nil
	}
	return []wire.Field{{Key: "packet", Value: args[0]}}
}

func (a *sharded) onCommand(m shardedMessage) error {
	o, some, err := a.selection(m)
	if err != nil || !some {
		return err
	}
	opts := libraryOptions(o)
	if m.typ == typeDisconnect {
		closing := m.data.Get("close").Truthy()
		a.listen(func() { a.Adapter.DisconnectSockets(opts, closing) })
		return nil
	}
	var rooms []socket.Room
	switch v := m.data.Get("rooms"); v.Kind() {
	case wire.Array:
		for r := range v.Elems() {
			rooms = append(rooms, socket.Room(r.Text()))
		}
	case wire.String:
		rooms = append(rooms, socket.Room(v.Text()))
	default:
		return &wire.Error{Reason: wire.BadShape, Detail: "rooms"}
	}
	if m.typ == typeSocketsJoin {
		a.Adapter.AddSockets(opts, rooms)
	} else {
		a.Adapter.DelSockets(opts, rooms)
	}
	return nil
}

func (a *sharded) onFetch(m shardedMessage) error {
	request := scalarText(m.data.Get("requestId"))
	if request == "" {
		return &wire.Error{Reason: wire.BadShape, Detail: "no requestId"}
	}
	o, some, err := a.selection(m)
	if err != nil {
		return err
	}
	list := []any{}
	if some {
		a.Adapter.FetchSockets(libraryOptions(o))(func(found []socket.SocketDetails, _ error) {
			for _, s := range found {
				list = append(list, describe(s))
			}
		})
	}
	a.respond(m.uid, typeFetched, request, wire.Field{Key: "sockets", Value: list})
	return nil
}

// reservedNamespaceEvent tells whether only this server may emit an event of this name on a namespace.
func reservedNamespaceEvent(name string) bool {
	return name == "connect" || name == "connection" || name == "new_namespace"
}

func (a *sharded) onServerSideEmit(m shardedMessage) error {
	args, ok := m.data.Get("packet").Go(toBuffer).([]any)
	if !ok || len(args) == 0 {
		return &wire.Error{Reason: wire.BadShape, Detail: "packet"}
	}
	name, ok := args[0].(string)
	if !ok || reservedNamespaceEvent(name) {
		return &wire.Error{Reason: wire.BadEventName, Detail: name}
	}
	if request := scalarText(m.data.Get("requestId")); request != "" {
		var once sync.Once // further calls are ignored, as in Node
		args = append(args, socket.Ack(func(values []any, _ error) {
			once.Do(func() { a.respond(m.uid, typeServerSideAck, request, firstValue(values)...) })
		}))
	}
	a.listen(func() { a.Nsp().OnServerSideEmit(args) })
	return nil
}

// listen runs f, which calls listeners of the application.
func (a *sharded) listen(f func()) {
	if !a.listeners.postAndWait(f, listenerGrace) && a.run.Err() == nil {
		a.drop("server side event", &wire.Error{Reason: wire.Overflow, Detail: "listeners"})
	}
}

// respond answers a request of server asker.
func (a *sharded) respond(asker string, t messageType, request string, more ...wire.Field) {
	data := append(wire.Object{{Key: "requestId", Value: request}}, more...)
	payload, err := encodeMessage(t, data, a.uid, a.nsp)
	if err == nil {
		err = a.bus.SPublish(a.base+asker+"#", payload)
	}
	if err != nil {
		a.unsent("answer", err)
	}
}

// onResponse takes the answers of other servers.
func (a *sharded) onResponse(m bus.Message) {
	if m.Missed > 0 {
		a.count.dropped[wire.Overflow].Add(uint64(m.Missed))
	}
	if len(m.Payload) == 0 { // Ready's
		return
	}
	guard(a.opts.Logger, func() {
		r, err := decodeMessage(m.Payload)
		if err == nil && r.nsp != a.nsp {
			err = &wire.Error{Reason: wire.OtherNamespace, Detail: r.nsp}
		}
		if err == nil && !a.answered(r) {
			err = &wire.Error{Reason: wire.Unanswerable, Detail: "no such request"}
		}
		if err != nil {
			a.drop("response", err)
		}
	})
}

// answered gives r to the request that it answers. It is false where none waits.
func (a *sharded) answered(r shardedMessage) bool {
	request := scalarText(r.data.Get("requestId"))
	switch r.typ {
	case typeClientCount:
		call := a.acks.get(request)
		if call == nil {
			return false
		}
		n := r.data.Get("clientCount").Float()
		if !(n >= 0 && n < 1<<53) {
			n = 0
		}
		call.counted(r.uid, uint64(n))
		return true
	case typeBroadcastAck:
		call := a.acks.get(request)
		if call == nil {
			return false
		}
		call.acked(r.data.Get("packet").Go(toBuffer))
		return true
	case typeFetched:
		return a.pending.add(request, answer{r.uid, r.data.Get("sockets")})
	case typeServerSideAck:
		return a.pending.add(request, answer{r.uid, r.data.Get("packet")})
	}
	return false
}
