package adapter

import (
	"bytes"

	"github.com/redis/go-redis/v9"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter/internal/wire"
	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/engine"
)

// Sharded makes the adapters of a server's namespaces. It is a socket.AdapterConstructor.
type Sharded struct {
	constructor
	opts ShardedOptions // Static after construction.
}

// NewSharded returns the constructor of adapters that use sharded pub/sub (Redis 7), for
// socket.ServerOptions.SetAdapter. They speak the protocol of createShardedAdapter of @socket.io/redis-adapter 8, on
// one Redis or on a Redis Cluster, in which every channel is on the primary of its slot. See New for client and
// connecting, and [Ready].
func NewSharded(client redis.UniversalClient, opts ShardedOptions) *Sharded {
	opts.setDefaults()
	return &Sharded{opts: opts, constructor: constructor{
		client: client, requestsTimeout: opts.RequestsTimeout, times: defaultTimes(), logger: opts.Logger,
		given: opts.Bus,
		busOptions: bus.Options{
			Logger: opts.Logger, OnState: opts.OnState, ProbePrefix: opts.ChannelPrefix + "-probe#",
		},
	}}
}

// New implements socket.AdapterConstructor.
func (c *Sharded) New(nsp socket.Namespace) socket.Adapter {
	a := &sharded{cluster: cluster{Adapter: engine.MakeAdapter()}, opts: c.opts}
	a.Prototype(a)
	a.Construct(nsp)
	a.init(a, &c.constructor, nsp, bus.Shard)
	a.subscribe()
	a.start()
	return a
}

// sharded is the adapter of one namespace.
type sharded struct {
	cluster

	opts ShardedOptions // Static after construction.
}

// subscribe names the channels, and subscribes to responses first: once the base channel is heard, this server is
// counted, and asks others.
func (a *sharded) subscribe() {
	a.uid, a.newID = randomHex(), randomHex
	a.base = a.opts.ChannelPrefix + "#" + a.nsp + "#"
	a.counted, a.answers, a.isServer = a.base, a.base, isServerID
	own := wire.OwnSuffix(a.uid, a.nsp)
	a.isOwn = func(payload []byte) bool { return bytes.HasSuffix(payload, own) }
	if a.opts.SubscriptionMode != Static {
		a.rooms.owns, a.rooms.expect = a.opts.SubscriptionMode.ownChannel, a.opts.Expect
	}
	a.ready = []*bus.Pending{a.want(a.told, a.answers+a.uid+"#"), a.want(a.heard, a.base)}
}
