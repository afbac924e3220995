package adapter

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter/internal/wire"
	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/internal/defaults"
)

// ShardedOptions configures NewSharded. The zero value works.
type ShardedOptions struct {
	// ChannelPrefix is the prefix of all channels. Default "socket.io". It must be the same on every server.
	ChannelPrefix string

	// SubscriptionMode selects the rooms that have their own channels. Default Dynamic. It must be the same on every
	// server. An unknown mode is logged, and means Dynamic.
	SubscriptionMode SubscriptionMode

	// Expect is as in Options.
	Expect func(room socket.Room) []socket.Room

	// RequestsTimeout is how long a request waits for the answers of other servers. Default 5 s.
	RequestsTimeout time.Duration

	// Logger receives what an operator must know; nil discards.
	Logger *slog.Logger

	// OnState is called when Redis is lost, and when messages verifiably arrive again. It must not close the server.
	OnState func(bus.State)

	// Bus, if not nil, is used instead of the adapter's own connections. Two servers of one process must not share it,
	// because Redis would count them as one. The adapter does not close it.
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

// SubscriptionMode selects the rooms that have their own channels. All servers of a cluster must use the same mode.
type SubscriptionMode string

// The modes of createShardedAdapter in Node.js.
const (
	// Static uses two channels per namespace. Every server receives every broadcast.
	Static SubscriptionMode = wire.ModeStatic
	// Dynamic, the default, gives every public room its own channel. Only servers with members receive its broadcasts.
	// A room whose name has exactly 20 UTF-16 units, as the ids of sockets in Node.js have, counts as private.
	Dynamic SubscriptionMode = wire.ModeDynamic
	// DynamicPrivate gives private rooms their own channels too.
	DynamicPrivate SubscriptionMode = wire.ModeDynamicPrivate
)

// ownChannel reports whether broadcasts to room alone go through its own channel.
func (m SubscriptionMode) ownChannel(room string) bool { return wire.OwnChannel(string(m), room) }
