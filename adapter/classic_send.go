package adapter

import (
	"context"

	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter/internal/wire"
)

// send implements protocol.
func (a *classic) send(m message) error {
	switch {
	case m.kind == broadcast && m.id == "":
		return a.sendBroadcast(m)
	case m.kind == broadcast:
		return a.sendAckBroadcast(m)
	}
	o := wire.Object{{Key: "uid", Value: a.uid}}
	if m.id != "" {
		o = append(o, wire.Field{Key: "requestId", Value: m.id})
	}
	payload, err := wire.AppendJSON(nil, append(o, requestFields(m)...))
	if err != nil {
		return err
	}
	return a.publish(a.ask, payload)
}

// requestFields are those of a request beside uid and requestId.
func requestFields(m message) wire.Object {
	typed := func(t wire.RequestType, more ...wire.Field) wire.Object {
		return append(wire.Object{{Key: "type", Value: int(t)}}, more...)
	}
	opts := wire.Field{Key: "opts", Value: m.opts.Selection()}
	rooms := wire.Field{Key: "rooms", Value: m.rooms}
	switch m.kind {
	case join:
		return typed(wire.RemoteJoin, opts, rooms)
	case leave:
		return typed(wire.RemoteLeave, opts, rooms)
	case disconnect:
		return typed(wire.RemoteDisconnect, opts, wire.Field{Key: "close", Value: m.close})
	case fetchSockets:
		return typed(wire.RemoteFetch, opts)
	case listSockets:
		return typed(wire.Sockets, rooms)
	case listRooms:
		return typed(wire.AllRooms)
	default:
		return typed(wire.ServerSideEmit, wire.Field{Key: "data", Value: m.data})
	}
}

func (a *classic) sendBroadcast(m message) error {
	msgpack, err := wire.EncodeBroadcast(a.uid, a.nsp, m.data, m.opts)
	if err != nil {
		return err
	}
	payload, err := wire.EncodeWith(a.opts.Codec, msgpack)
	if err != nil {
		return err
	}
	channel := a.base
	if len(m.opts.Rooms.Names) == 1 {
		channel += m.opts.Rooms.Names[0] + "#"
	}
	return a.publish(channel, payload)
}

func (a *classic) sendAckBroadcast(m message) error {
	msgpack, err := wire.AppendMsgpack(nil, wire.Object{
		{Key: "uid", Value: a.uid},
		{Key: "requestId", Value: m.id},
		{Key: "type", Value: int(wire.BroadcastAck)},
		{Key: "packet", Value: wire.PacketObject(a.nsp, m.data)},
		{Key: "opts", Value: m.opts.Object()},
	})
	if err != nil {
		return err
	}
	payload, err := wire.EncodeWith(a.opts.Codec, msgpack)
	if err != nil {
		return err
	}
	return a.publish(a.ask, payload)
}

// Sockets returns the ids of the sockets of all servers that are in any of rooms, or of all sockets if rooms is empty.
// It waits for the servers' answers. The sockets of a server that does not answer are missing, which is logged.
func (a *classic) Sockets(rooms *types.Set[socket.Room]) *types.Set[socket.SocketId] {
	return a.allSockets(rooms, func(ctx context.Context) (ids []socket.SocketId, err error) {
		list := names(rooms)
		if list == nil {
			list = []string{}
		}
		got, err := a.askOthers(ctx, "list sockets", message{kind: listSockets, rooms: list})
		for _, g := range got {
			for v := range g.value.Elems() {
				ids = append(ids, socket.SocketId(v.Text()))
			}
		}
		return ids, err
	})
}

// AllRooms returns the rooms of all servers, including each socket's own room, in no order. It ends with ctx, or after
// RequestsTimeout. If some servers do not answer it returns the rooms of the others and an *IncompleteError.
func (a *classic) AllRooms(ctx context.Context) ([]socket.Room, error) {
	ctx, cancel := a.timeout(ctx)
	defer cancel()
	set := types.NewSet(a.localRooms()...)
	got, err := a.askOthers(ctx, "list rooms", message{kind: listRooms})
	for _, g := range got {
		for v := range g.value.Elems() {
			set.Add(socket.Room(v.Text()))
		}
	}
	return set.Keys(), err
}

func (a *classic) localRooms() []socket.Room { return a.RoomNames(true) }
