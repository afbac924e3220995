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

	// SubscriptionMode selects the rooms that have channels of their own. Default Dynamic. It must be the same on every
	// server; an unknown mode is Dynamic, and logged.
	SubscriptionMode SubscriptionMode

	// Expect is as in Options.
	Expect func(room socket.Room) []socket.Room

	// RequestsTimeout is how long a request waits for the answers of other servers. Default 5 s.
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

// SubscriptionMode selects the rooms that have a channel of their own. All servers of a cluster must use the same.
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
