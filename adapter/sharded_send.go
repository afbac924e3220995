package adapter

import (
	"context"

	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter/internal/wire"
)

// send implements protocol.
func (a *sharded) send(m message) error {
	t, data := shardedData(m)
	if m.id != "" {
		data = append(data, wire.Field{Key: "requestId", Value: m.id})
	}
	payload, err := wire.EncodeMessage(t, data, a.uid, a.nsp)
	if err != nil {
		return err
	}
	channel := a.base
	names := m.opts.Rooms.Names
	if m.kind == broadcast && m.id == "" && len(names) == 1 && a.opts.SubscriptionMode.ownChannel(names[0]) {
		channel += names[0] + "#"
	}
	return a.publish(channel, payload)
}

// shardedData is the type of a message, and its data but for the requestId.
func shardedData(m message) (wire.MessageType, wire.Object) {
	opts := wire.Field{Key: "opts", Value: m.opts.Object()}
	rooms := wire.Field{Key: "rooms", Value: m.rooms}
	switch m.kind {
	case broadcast:
		return wire.ShardedBroadcast, wire.Object{{Key: "packet", Value: wire.EventPacket(m.data)}, opts}
	case join:
		return wire.ShardedJoin, wire.Object{opts, rooms}
	case leave:
		return wire.ShardedLeave, wire.Object{opts, rooms}
	case disconnect:
		return wire.ShardedDisconnect, wire.Object{opts, {Key: "close", Value: m.close}}
	case serverSideEmit:
		return wire.ShardedServerSideEmit, wire.Object{{Key: "packet", Value: m.data}}
	default: // the protocol has no other questions
		return wire.ShardedFetch, wire.Object{opts}
	}
}

// Sockets returns the ids of the sockets of all servers that are in any of rooms, or of all sockets if rooms is empty.
// It waits for the servers' answers. The sockets of a server that does not answer are missing, which is logged.
func (a *sharded) Sockets(rooms *types.Set[socket.Room]) *types.Set[socket.SocketId] {
	return a.allSockets(rooms, func(ctx context.Context) (ids []socket.SocketId, err error) {
		remote, err := a.fetch(ctx, "list sockets", wire.Options{Rooms: wire.Rooms{Names: names(rooms)}})
		for _, s := range remote {
			ids = append(ids, s.id)
		}
		return ids, err
	})
}

// AllRooms returns the rooms of all servers, including each socket's own room, in no order. The protocol has no request
// for rooms, so they are collected from the sockets' descriptions. AllRooms ends with ctx, or after RequestsTimeout. If
// some servers do not answer it returns the rooms of the others and an *IncompleteError.
func (a *sharded) AllRooms(ctx context.Context) ([]socket.Room, error) {
	ctx, cancel := a.timeout(ctx)
	defer cancel()
	set := types.NewSet(a.RoomNames(true)...)
	remote, err := a.fetch(ctx, "list rooms", wire.Options{})
	for _, s := range remote {
		set.Add(s.rooms.Keys()...)
	}
	return set.Keys(), err
}
