package adapter

import (
	"bytes"
	"cmp"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter/internal/wire"
	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/internal/defaults"
)

// SubscriptionMode says which rooms have a channel of their own. All servers of a cluster must use the same.
type SubscriptionMode string

// The modes of Node's createShardedAdapter.
const (
	// Static uses two channels per namespace: every server hears every broadcast.
	Static SubscriptionMode = wire.ModeStatic
	// Dynamic, the default, gives every public room a channel: only servers with members hear its broadcasts. A room
	// whose name has exactly 20 UTF-16 units, as the ids of Node's sockets have, is taken for a private one.
	Dynamic SubscriptionMode = wire.ModeDynamic
	// DynamicPrivate gives private rooms a channel too.
	DynamicPrivate SubscriptionMode = wire.ModeDynamicPrivate
)

// ownChannel reports whether broadcasts to room alone go through a channel of its own.
func (m SubscriptionMode) ownChannel(room string) bool { return wire.OwnChannel(string(m), room) }

// ShardedOptions configures NewSharded. The zero value works.
type ShardedOptions struct {
	// ChannelPrefix is the prefix of all channels. Default "socket.io". It must be the same on every server.
	ChannelPrefix string

	// SubscriptionMode says which rooms have channels of their own. Default Dynamic. It must be the same on every
	// server; an unknown mode is Dynamic, and logged.
	SubscriptionMode SubscriptionMode

	// Expect is as in Options.
	Expect func(room socket.Room) []socket.Room

	// RequestsTimeout is how long answers of other servers are waited for. Default 5 s.
	RequestsTimeout time.Duration

	// Logger receives what an operator must know; nil discards.
	Logger *slog.Logger

	// OnState is called when Redis is lost, and when it is found again and was verified to be heard. It must not close
	// the server.
	OnState func(bus.State)

	// Bus is used instead of a connection of the adapter's own. It must not be shared by two servers of one process:
	// they would be counted as one. It is not closed by the adapter.
	Bus *bus.Bus
}

func (o *ShardedOptions) setDefaults() {
	o.ChannelPrefix = cmp.Or(o.ChannelPrefix, defaultPrefix)
	o.RequestsTimeout = defaults.Positive(o.RequestsTimeout, 5*time.Second)
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	switch o.SubscriptionMode {
	case Static, Dynamic, DynamicPrivate:
	case "":
		o.SubscriptionMode = Dynamic
	default:
		o.Logger.Error("unknown subscription mode: dynamic is used", "mode", string(o.SubscriptionMode))
		o.SubscriptionMode = Dynamic
	}
}

// Sharded makes the adapters of a server's namespaces; it is a socket.AdapterConstructor.
type Sharded struct {
	shared
	opts ShardedOptions // Static after construction.
}

// NewSharded returns the constructor of adapters that use sharded pub/sub (Redis 7), for
// socket.ServerOptions.SetAdapter. They speak the protocol of createShardedAdapter of @socket.io/redis-adapter 8, on
// one Redis or on a Redis Cluster, where every channel lives on the primary of its slot. Client, connecting and Ready
// are as with New.
func NewSharded(client redis.UniversalClient, opts ShardedOptions) *Sharded {
	opts.setDefaults()
	return &Sharded{opts: opts, shared: shared{
		client: client, requestsTimeout: opts.RequestsTimeout, times: defaultTimes(), logger: opts.Logger, given: opts.Bus,
		busOptions: bus.Options{Logger: opts.Logger, OnState: opts.OnState, ProbePrefix: opts.ChannelPrefix + "-probe#"},
	}}
}

// New implements socket.AdapterConstructor.
func (c *Sharded) New(nsp socket.Namespace) socket.Adapter {
	a := &sharded{cluster: cluster{Adapter: engine.MakeAdapter()}, opts: c.opts}
	a.Prototype(a)
	a.Construct(nsp)
	a.init(a, &c.shared, nsp, bus.Shard)
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

// isServerID reports whether s looks like randomHex's results. A room of such a name would be taken for a server.
func isServerID(s string) bool {
	for _, c := range s {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(s) == 16
}
