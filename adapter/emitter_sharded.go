package adapter

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/adapter/internal/wire"
	"github.com/architus/guildcast/bus"
)

// ShardedEmitterOptions of NewShardedEmitter. The zero value works.
type ShardedEmitterOptions struct {
	// ChannelPrefix is that of the servers' adapters. Default "socket.io".
	ChannelPrefix string
	// SubscriptionMode is that of the servers' adapters. Default Dynamic.
	SubscriptionMode SubscriptionMode
	// Bus, when set, takes the messages; see EmitterOptions.
	Bus *bus.Bus
}

// NewShardedEmitter returns an Emitter for servers with the sharded adapter (createShardedAdapter), which hear none of
// the other emitters. It needs Redis 7. In a cluster, what is emitted to one room, or to none, arrives in order; two
// rooms are independent of each other, as they are with the servers' own broadcasts.
func NewShardedEmitter(client redis.UniversalClient, o ShardedEmitterOptions) *Emitter {
	if o.ChannelPrefix == "" {
		o.ChannelPrefix = defaultPrefix
	}
	return &Emitter{
		out:    publishWith(client, o.Bus, o.ChannelPrefix),
		format: shardedFormat{prefix: o.ChannelPrefix, mode: o.SubscriptionMode.orDefault()},
		ctx:    context.Background(), nsp: "/",
	}
}

// shardedFormat makes the messages that a server with the sharded adapter would publish.
type shardedFormat struct {
	prefix string
	mode   SubscriptionMode
}

func (f shardedFormat) options(e *Emitter) wire.Object {
	flags := e.flags
	if flags == nil {
		flags = wire.Object{}
	}
	return append(e.selection(), wire.Field{Key: "flags", Value: flags})
}

func (f shardedFormat) message(e *Emitter, t messageType, channel string, data wire.Object) (emission, error) {
	payload, err := encodeMessage(t, data, emitterUID, e.nsp)
	return emission{channel: channel, payload: payload, sharded: true}, err
}

func (f shardedFormat) channel(e *Emitter) string { return f.prefix + "#" + e.nsp + "#" }

func (f shardedFormat) broadcast(e *Emitter, data []any) (emission, error) {
	channel := f.channel(e)
	if len(e.rooms) == 1 && f.mode.ownChannel(e.rooms[0]) {
		channel += e.rooms[0] + "#"
	}
	return f.message(e, typeBroadcast, channel, wire.Object{
		{Key: "packet", Value: eventPacket(data)}, {Key: "opts", Value: f.options(e)},
	})
}

func (f shardedFormat) join(e *Emitter, rooms []string) (emission, error) {
	return f.move(e, typeSocketsJoin, rooms)
}

func (f shardedFormat) leave(e *Emitter, rooms []string) (emission, error) {
	return f.move(e, typeSocketsLeave, rooms)
}

func (f shardedFormat) move(e *Emitter, t messageType, rooms []string) (emission, error) {
	if rooms == nil {
		rooms = []string{}
	}
	return f.message(e, t, f.channel(e), wire.Object{
		{Key: "opts", Value: f.options(e)}, {Key: "rooms", Value: rooms},
	})
}

func (f shardedFormat) disconnect(e *Emitter, closing bool) (emission, error) {
	return f.message(e, typeDisconnect, f.channel(e), wire.Object{
		{Key: "opts", Value: f.options(e)}, {Key: "close", Value: closing},
	})
}

func (f shardedFormat) serverSideEmit(e *Emitter, args []any) (emission, error) {
	return f.message(e, typeServerSideEmit, f.channel(e), wire.Object{{Key: "packet", Value: args}})
}
