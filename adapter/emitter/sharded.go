package emitter

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/adapter/internal/wire"
	"github.com/architus/guildcast/bus"
)

// SubscriptionMode selects the rooms that have a channel of their own.
type SubscriptionMode string

// The modes of Node's createShardedAdapter.
const (
	// Static has no channels of rooms.
	Static SubscriptionMode = wire.ModeStatic
	// Dynamic, the default, gives every public room a channel. A room whose name has exactly 20 UTF-16 units, as the
	// ids of Node's sockets have, is taken for a private one.
	Dynamic SubscriptionMode = wire.ModeDynamic
	// DynamicPrivate gives private rooms a channel too.
	DynamicPrivate SubscriptionMode = wire.ModeDynamicPrivate
)

// ShardedOptions configures NewSharded. The zero value works.
type ShardedOptions struct {
	// ChannelPrefix must be the same as in the servers' adapters. Default "socket.io".
	ChannelPrefix string
	// SubscriptionMode must be the same as in the servers' adapters. Default Dynamic.
	SubscriptionMode SubscriptionMode
	// Bus, if set, sends the messages; see Options.Bus.
	Bus *bus.Bus
}

// NewSharded returns an Emitter for servers with the sharded adapter (createShardedAdapter), which do not hear
// other emitters. It needs Redis 7. In a cluster, what is emitted to one room, or to none, arrives in order; two
// rooms are independent of each other, as they are with the servers' own broadcasts.
func NewSharded(client redis.UniversalClient, o ShardedOptions) *Emitter {
	if o.ChannelPrefix == "" {
		o.ChannelPrefix = defaultPrefix
	}
	return &Emitter{
		out:    publishWith(client, o.Bus, o.ChannelPrefix),
		format: shardedFormat{prefix: o.ChannelPrefix, mode: string(o.SubscriptionMode)},
		ctx:    context.Background(), nsp: "/",
	}
}

// shardedFormat makes the messages that a server with the sharded adapter would publish.
type shardedFormat struct {
	prefix string
	mode   string // as wire.OwnChannel takes it
}

func (f shardedFormat) options(e *Emitter) wire.Object {
	flags := e.flags
	if flags == nil {
		flags = wire.Object{}
	}
	return append(e.selection(), wire.Field{Key: "flags", Value: flags})
}

func (f shardedFormat) message(e *Emitter, t wire.MessageType, channel string, data wire.Object) (emission, error) {
	payload, err := wire.EncodeMessage(t, data, uid, e.nsp)
	return emission{channel: channel, payload: payload, sharded: true}, err
}

func (f shardedFormat) channel(e *Emitter) string { return f.prefix + "#" + e.nsp + "#" }

func (f shardedFormat) broadcast(e *Emitter, data []any) (emission, error) {
	channel := f.channel(e)
	if len(e.rooms) == 1 && wire.OwnChannel(f.mode, e.rooms[0]) {
		channel += e.rooms[0] + "#"
	}
	return f.message(e, wire.ShardedBroadcast, channel, wire.Object{
		{Key: "packet", Value: wire.EventPacket(data)}, {Key: "opts", Value: f.options(e)},
	})
}

func (f shardedFormat) join(e *Emitter, rooms []string) (emission, error) {
	return f.move(e, wire.ShardedJoin, rooms)
}

func (f shardedFormat) leave(e *Emitter, rooms []string) (emission, error) {
	return f.move(e, wire.ShardedLeave, rooms)
}

func (f shardedFormat) move(e *Emitter, t wire.MessageType, rooms []string) (emission, error) {
	if rooms == nil {
		rooms = []string{}
	}
	return f.message(e, t, f.channel(e), wire.Object{
		{Key: "opts", Value: f.options(e)}, {Key: "rooms", Value: rooms},
	})
}

func (f shardedFormat) disconnect(e *Emitter, closing bool) (emission, error) {
	return f.message(e, wire.ShardedDisconnect, f.channel(e), wire.Object{
		{Key: "opts", Value: f.options(e)}, {Key: "close", Value: closing},
	})
}

func (f shardedFormat) serverSideEmit(e *Emitter, args []any) (emission, error) {
	return f.message(e, wire.ShardedServerSideEmit, f.channel(e), wire.Object{{Key: "packet", Value: args}})
}
