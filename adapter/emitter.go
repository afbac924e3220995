package adapter

import (
	"context"

	"github.com/redis/go-redis/v9"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter/emitter"
	"github.com/architus/guildcast/bus"
)

// Errors of an Emitter, beside those of Redis and of values that can't be encoded.
var (
	// ErrReservedEvent is returned for an event name that clients refuse.
	ErrReservedEvent = emitter.ErrReservedEvent
	// ErrEmitterAck is returned if the last argument is a function: an emitter can't receive answers.
	ErrEmitterAck = emitter.ErrAck
	// ErrNoEvent is returned by ServerSideEmit without arguments.
	ErrNoEvent = emitter.ErrNoEvent
)

// EmitterOptions configures NewEmitter. The zero value works.
type EmitterOptions struct {
	// Key must be the same as in the servers' adapters. Default "socket.io".
	Key string
	// Codec encodes broadcasts. It must be the same as in the servers. Default nil: MessagePack.
	Codec Codec
	// Bus, if not nil, sends the messages. Calls then queue in order and return at once, and an error means that the
	// queue is full. By default each call waits until Redis has accepted its message.
	Bus *bus.Bus
}

// ShardedEmitterOptions configures NewShardedEmitter. The zero value works.
type ShardedEmitterOptions struct {
	// ChannelPrefix must be the same as in the servers' adapters. Default "socket.io".
	ChannelPrefix string
	// SubscriptionMode must be the same as in the servers' adapters. Default Dynamic.
	SubscriptionMode SubscriptionMode
	// Bus, if set, sends the messages; see EmitterOptions.
	Bus *bus.Bus
}

// Emitter is an emitter.Emitter that takes the library's type of rooms. Programs that only send should use package
// emitter, which does not link the library.
type Emitter struct{ e *emitter.Emitter }

// NewEmitter returns an Emitter for servers with the classic adapter, of any language, in namespace "/".
func NewEmitter(client redis.UniversalClient, o EmitterOptions) *Emitter {
	return &Emitter{emitter.New(client, emitter.Options{Key: o.Key, Codec: o.Codec, Bus: o.Bus})}
}

// NewShardedEmitter returns an Emitter for servers with the sharded adapter (createShardedAdapter), which do not
// receive from other emitters. It requires Redis 7. In a cluster, events for one room, or for no room, arrive in order.
// There is no order between two rooms, nor is there for the servers' own broadcasts.
func NewShardedEmitter(client redis.UniversalClient, o ShardedEmitterOptions) *Emitter {
	return &Emitter{emitter.NewSharded(client, emitter.ShardedOptions{
		ChannelPrefix: o.ChannelPrefix, SubscriptionMode: emitter.SubscriptionMode(o.SubscriptionMode), Bus: o.Bus,
	})}
}

// WithContext returns an Emitter whose calls end with ctx. The default is context.Background.
func (e *Emitter) WithContext(ctx context.Context) *Emitter { return &Emitter{e.e.WithContext(ctx)} }

// Of returns an Emitter for another namespace, without rooms and flags. The leading slash may be left out.
func (e *Emitter) Of(nsp string) *Emitter { return &Emitter{e.e.Of(nsp)} }

// To adds rooms whose members are addressed. Without rooms, everybody in the namespace is.
func (e *Emitter) To(rooms ...socket.Room) *Emitter { return &Emitter{e.e.To(fromRooms(rooms)...)} }

// In is the same as To.
func (e *Emitter) In(rooms ...socket.Room) *Emitter { return e.To(rooms...) }

// Except adds rooms whose members are left out.
func (e *Emitter) Except(rooms ...socket.Room) *Emitter {
	return &Emitter{e.e.Except(fromRooms(rooms)...)}
}

// Volatile lets clients miss the event if they can't receive it at once.
func (e *Emitter) Volatile() *Emitter { return &Emitter{e.e.Volatile()} }

// Compress sets whether the event may be compressed.
func (e *Emitter) Compress(compress bool) *Emitter { return &Emitter{e.e.Compress(compress)} }

// Emit sends an event with args to the addressed clients. It returns ErrReservedEvent for a reserved name, and
// ErrEmitterAck if the last argument is a function.
func (e *Emitter) Emit(ev string, args ...any) error { return e.e.Emit(ev, args...) }

// SocketsJoin makes the addressed sockets join rooms.
func (e *Emitter) SocketsJoin(rooms ...socket.Room) error {
	return e.e.SocketsJoin(fromRooms(rooms)...)
}

// SocketsLeave makes the addressed sockets leave rooms.
func (e *Emitter) SocketsLeave(rooms ...socket.Room) error {
	return e.e.SocketsLeave(fromRooms(rooms)...)
}

// DisconnectSockets disconnects the addressed sockets from the namespace. If closing is true it ends their connections.
func (e *Emitter) DisconnectSockets(closing bool) error { return e.e.DisconnectSockets(closing) }

// ServerSideEmit sends an event, args[0], and its arguments to all servers. Rooms and flags do not matter.
func (e *Emitter) ServerSideEmit(args ...any) error { return e.e.ServerSideEmit(args...) }
