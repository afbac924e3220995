// Package emitter sends events to the clients of a cluster of Socket.IO servers, from programs that are not servers.
//
// [New] is for servers with the classic Redis adapter, in any language (createAdapter in Node.js), [NewSharded] for
// servers with the sharded one (createShardedAdapter). Rooms are strings. The package needs a go-redis client, and no
// server:
//
//	e := emitter.New(redis.NewClient(&redis.Options{Addr: "localhost:6379"}), emitter.Options{})
//	err := e.Of("/chat").To("room").Emit("event", map[string]any{"key": "value"})
package emitter

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/adapter/internal/wire"
	"github.com/architus/guildcast/bus"
)

// uid names the sender of all emitters, in place of a server's id.
const uid = "emitter"

// defaultPrefix is the default of Key and ChannelPrefix.
const defaultPrefix = "socket.io"

// Codec replaces MessagePack, as the option "parser" does in Node.js. adapter.Codec has the same methods.
type Codec = wire.Codec

// Errors of an Emitter, beside those of Redis and of values that can't be encoded.
var (
	// ErrReservedEvent is returned for an event name that clients refuse.
	ErrReservedEvent = errors.New("reserved event name")
	// ErrAck is returned if the last argument is a function: an emitter can't receive answers.
	ErrAck = errors.New("an emitter can't receive acknowledgements")
	// ErrNoEvent is returned by ServerSideEmit without arguments.
	ErrNoEvent = errors.New("no event name")
)

// Options configures New. The zero value works.
type Options struct {
	// Key must be the same as in the servers' adapters. Default "socket.io".
	Key string
	// Codec encodes broadcasts. It must be the same as in the servers. Default nil: MessagePack.
	Codec Codec
	// Bus, if set, sends the messages: calls queue them in order and return at once, and an error means that the
	// queue is full. By default each call waits until Redis has accepted its message.
	Bus *bus.Bus
}

// Emitter sends to the clients of a cluster of Socket.IO servers, as @socket.io/redis-emitter does. It is immutable and
// needs no closing: To, Except and the like return a new Emitter. All methods may be called concurrently. What one
// goroutine emits arrives in order.
type Emitter struct {
	out    publish
	format format

	ctx    context.Context
	nsp    string
	rooms  []string
	except []string
	flags  wire.Object
}

// format makes the messages of one of the two protocols. Options are in the order of the arguments: rooms,
// except, flags.
type format interface {
	broadcast(e *Emitter, data []any) (emission, error)
	join(e *Emitter, rooms []string) (emission, error)
	leave(e *Emitter, rooms []string) (emission, error)
	disconnect(e *Emitter, closing bool) (emission, error)
	serverSideEmit(e *Emitter, args []any) (emission, error)
}

// emission is a message for Redis.
type emission struct {
	channel string
	payload []byte
	sharded bool
}

// publish brings a message to Redis.
type publish func(context.Context, emission) error

// New returns an Emitter for servers with the classic adapter, of any language, in namespace "/".
func New(client redis.UniversalClient, o Options) *Emitter {
	if o.Key == "" {
		o.Key = defaultPrefix
	}
	return &Emitter{
		out: publishWith(client, o.Bus, o.Key), format: classicFormat{key: o.Key, codec: o.Codec},
		ctx: context.Background(), nsp: "/",
	}
}

// publishWith returns how to publish: through b, or else through client. In a cluster all classic messages go through
// one server, that of key, for two servers could overtake each other.
func publishWith(client redis.UniversalClient, b *bus.Bus, key string) publish {
	if b != nil {
		return func(_ context.Context, m emission) error {
			if m.sharded {
				return b.Publish(bus.Shard, m.channel, m.payload)
			}
			return b.Publish(bus.Channel, m.channel, m.payload)
		}
	}
	return func(ctx context.Context, m emission) error {
		if m.sharded {
			return client.SPublish(ctx, m.channel, m.payload).Err()
		}
		if c, ok := client.(interface {
			MasterForKey(context.Context, string) (*redis.Client, error)
		}); ok {
			one, err := c.MasterForKey(ctx, key)
			if err != nil {
				return err
			}
			return one.Publish(ctx, m.channel, m.payload).Err()
		}
		return client.Publish(ctx, m.channel, m.payload).Err()
	}
}

// with returns a copy of e.
func (e *Emitter) with(change func(*Emitter)) *Emitter {
	c := *e
	change(&c)
	return &c
}

// WithContext returns an Emitter whose calls end with ctx. The default is context.Background.
func (e *Emitter) WithContext(ctx context.Context) *Emitter {
	return e.with(func(e *Emitter) { e.ctx = ctx })
}

// Of returns an Emitter for another namespace, without rooms and flags. The leading slash may be left out.
func (e *Emitter) Of(nsp string) *Emitter {
	if !strings.HasPrefix(nsp, "/") {
		nsp = "/" + nsp
	}
	return &Emitter{out: e.out, format: e.format, ctx: e.ctx, nsp: nsp}
}

// To adds rooms whose members are addressed. Without rooms, everybody in the namespace is.
func (e *Emitter) To(rooms ...string) *Emitter {
	return e.with(func(e *Emitter) { e.rooms = union(e.rooms, rooms) })
}

// In is the same as To.
func (e *Emitter) In(rooms ...string) *Emitter { return e.To(rooms...) }

// Except adds rooms whose members are left out.
func (e *Emitter) Except(rooms ...string) *Emitter {
	return e.with(func(e *Emitter) { e.except = union(e.except, rooms) })
}

// union returns a new list of have and of those of add that are not in it.
func union(have []string, add []string) []string {
	out := slices.Clone(have)
	for _, r := range add {
		if !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	return out
}

// Volatile lets clients miss the event if they can't receive it at once.
func (e *Emitter) Volatile() *Emitter { return e.flag("volatile", true) }

// Compress sets whether the event may be compressed.
func (e *Emitter) Compress(compress bool) *Emitter { return e.flag("compress", compress) }

func (e *Emitter) flag(key string, value any) *Emitter {
	return e.with(func(e *Emitter) {
		e.flags = slices.Clone(e.flags)
		for i := range e.flags {
			if e.flags[i].Key == key {
				e.flags[i].Value = value
				return
			}
		}
		e.flags = append(e.flags, wire.Field{Key: key, Value: value})
	})
}

// Emit sends an event with args to the addressed clients. It returns ErrReservedEvent for a reserved name, and ErrAck
// if the last argument is a function.
func (e *Emitter) Emit(ev string, args ...any) error {
	if wire.ReservedEvent(ev) {
		return fmt.Errorf("emit %q: %w", ev, ErrReservedEvent)
	}
	if endsInFunc(args) {
		return fmt.Errorf("emit %q: %w", ev, ErrAck)
	}
	m, err := e.format.broadcast(e, append([]any{ev}, args...))
	return e.send("emit "+fmt.Sprintf("%q", ev), m, err)
}

// SocketsJoin makes the addressed sockets join rooms.
func (e *Emitter) SocketsJoin(rooms ...string) error {
	m, err := e.format.join(e, union(nil, rooms))
	return e.send("join sockets", m, err)
}

// SocketsLeave makes the addressed sockets leave rooms.
func (e *Emitter) SocketsLeave(rooms ...string) error {
	m, err := e.format.leave(e, union(nil, rooms))
	return e.send("leave sockets", m, err)
}

// DisconnectSockets disconnects the addressed sockets from the namespace. If closing is true it ends their connections.
func (e *Emitter) DisconnectSockets(closing bool) error {
	m, err := e.format.disconnect(e, closing)
	return e.send("disconnect sockets", m, err)
}

// ServerSideEmit sends an event, args[0], and its arguments to all servers. Rooms and flags do not matter.
func (e *Emitter) ServerSideEmit(args ...any) error {
	if len(args) == 0 {
		return fmt.Errorf("server-side emit: %w", ErrNoEvent)
	}
	if endsInFunc(args) {
		return fmt.Errorf("server-side emit: %w", ErrAck)
	}
	m, err := e.format.serverSideEmit(e, args)
	return e.send("server-side emit", m, err)
}

func endsInFunc(args []any) bool {
	return len(args) > 0 && args[len(args)-1] != nil && reflect.TypeOf(args[len(args)-1]).Kind() == reflect.Func
}

func (e *Emitter) send(what string, m emission, err error) error {
	if err == nil {
		err = e.out(e.ctx, m)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// selection returns rooms and except as they are written.
func (e *Emitter) selection() wire.Object {
	return wire.Options{Rooms: wire.Rooms{Names: e.rooms}, Except: e.except}.Selection()
}
