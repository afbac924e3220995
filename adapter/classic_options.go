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

	// PublishOnSpecificResponseChannel sends answers only to the asking server instead of all servers. Servers of
	// version 7 and later listen on both channels.
	PublishOnSpecificResponseChannel bool

	// Codec replaces msgpack, as the option "parser" does in Node.js. It must be the same on every server.
	Codec Codec

	// PatternSubscription subscribes to the pattern of all channels, as Node.js does, so that this server receives what
	// any server sends to any room. By default an adapter subscribes only to the channels of rooms that have members
	// here. A join then waits for Redis, so that nothing is missed after it. Other servers see no difference. Set it if
	// rooms come and go faster than messages, or if Redis is slow with many channels (miniredis).
	PatternSubscription bool

	// Expect, if not nil, returns the rooms that the members of a room will likely join. The adapter subscribes to
	// their channels together with that of the room, and unsubscribes with it, so that joining them costs no round trip
	// to Redis. Expect must always return the same for a room, and must not block. A socket first joins its own room,
	// which is named by its id.
	Expect func(room socket.Room) []socket.Room

	// LegacyEmitter also receives from the emitters of 2014, which send everything on one channel (key#emitter).
	// Node.js servers since 1.0 do not receive from them. Default off.
	LegacyEmitter bool

	// Logger receives what an operator must know; nil discards.
	Logger *slog.Logger

	// OnState is called when Redis is lost, and when messages verifiably arrive again. It must not close the server.
	OnState func(bus.State)

	// Bus, if not nil, is used instead of the adapter's own connections. Two servers of one process must not share it,
	// because Redis would count them as one. The adapter does not close it.
	Bus *bus.Bus
}

func (o *Options) setDefaults() {
	o.Key = cmp.Or(o.Key, defaultPrefix)
	o.RequestsTimeout = defaults.Positive(o.RequestsTimeout, 5*time.Second)
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
}

// Codec replaces MessagePack in broadcasts, and in requests that can hold binary.
type Codec interface {
	// Encode encodes maps with string keys, []any, []byte, and the other types that encoding/json decodes to.
	Encode(v any) ([]byte, error)
	// Decode returns values of the same types.
	Decode([]byte) (any, error)
}
