package adapter

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/internal/defaults"
)

// Options configures New. The zero value works.
type Options struct {
	// Key is the prefix of all channels. Default "socket.io". It must be the same on every server and emitter.
	Key string

	// RequestsTimeout is how long a request waits for the answers of other servers. Default 5 s.
	RequestsTimeout time.Duration

	// PublishOnSpecificResponseChannel sends answers to the asking server only, and not to all. Servers of version 7
	// and later listen on both.
	PublishOnSpecificResponseChannel bool

	// Codec replaces msgpack, as the option "parser" does in Node.js. It must be the same on every server.
	Codec Codec

	// PatternSubscription subscribes to the pattern of all channels, as Node.js does, so that all that any server sends
	// to any room arrives here. By default an adapter subscribes to the channels of the rooms that have members here
	// instead; a join then waits for Redis, so that nothing is missed after it. No other server can tell. Set it if
	// rooms come and go faster than messages, or if Redis is slow with many channels (miniredis).
	PatternSubscription bool

	// Expect names the rooms that the members of a room will likely join, nil if there are none. The adapter
	// subscribes to their channels together with that of the room, and unsubscribes from them with it, so that joining
	// them costs no round trip to Redis. Expect must always return the same for a room, and must not block. A
	// socket's own room, which it joins first, has the socket's id for its name.
	Expect func(room socket.Room) []socket.Room

	// LegacyEmitter hears the emitters of 2014, which know a single channel for all (key#emitter). Node.js servers
	// since 1.0 do not. Default off.
	LegacyEmitter bool

	// Logger receives what an operator must know; nil discards.
	Logger *slog.Logger

	// OnState is called when Redis is lost, and when it is found again and was verified to be heard. It must not close
	// the server.
	OnState func(bus.State)

	// Bus is used instead of a connection of the adapter's own. It must not be shared by two servers of one process:
	// they would be counted as one. It is not closed by the adapter.
	Bus *bus.Bus
}

func (o *Options) setDefaults() {
	o.Key = cmp.Or(o.Key, defaultPrefix)
	o.RequestsTimeout = defaults.Positive(o.RequestsTimeout, 5*time.Second)
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
}

// Codec replaces MessagePack in broadcasts, and in requests that can hold binary.
type Codec interface {
	// Encode receives maps with string keys, []any, []byte, and the other types that encoding/json decodes to.
	Encode(v any) ([]byte, error)
	// Decode returns values of the same types.
	Decode([]byte) (any, error)
}
