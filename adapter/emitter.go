package adapter

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter/internal/wire"
	"github.com/architus/guildcast/bus"
)

// emitterUID is the sender that emitters give instead of a server's.
const emitterUID = "emitter"

// defaultPrefix is the default of Key and ChannelPrefix.
const defaultPrefix = "socket.io"

// Errors of an Emitter, beside those of Redis and of values that can't be encoded.
var (
	// ErrReservedEvent is returned for an event name that clients refuse.
	ErrReservedEvent = errors.New("reserved event name")
	// ErrEmitterAck is returned where the last argument is a function: nobody could answer an emitter.
	ErrEmitterAck = errors.New("an emitter can't receive acknowledgements")
	// ErrNoEvent is returned by ServerSideEmit without arguments.
	ErrNoEvent = errors.New("no event name")
)

// EmitterOptions of NewEmitter. The zero value works.
type EmitterOptions struct {
	// Key is that of the servers' adapters. Default "socket.io".
	Key string
	// Codec encodes broadcasts; nil is MessagePack, as Node's default parser.
	Codec Codec
	// Bus, when set, takes the messages: they are queued and sent in order without waiting, and an error means that
	// the queue is full. By default each call waits until Redis has accepted its message.
	Bus *bus.Bus
}

// Emitter sends to the clients of a cluster of Socket.IO servers without being one of them, as @socket.io/redis-emitter
// does. It is immutable, has nothing to close, and may be used by any number of goroutines: To and its like return a
// new Emitter. What one goroutine emits arrives in order.
type Emitter struct {
	out    emitterPublish
	format emitterFormat

	ctx    context.Context
	nsp    string
	rooms  []string
	except []string
	flags  wire.Object
}

// emitterFormat makes the messages of one of the two protocols. Options are in the order of the arguments: rooms,
// except, flags.
type emitterFormat interface {
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

// emitterPublish brings a message to Redis.
type emitterPublish func(context.Context, emission) error

// NewEmitter returns an Emitter for servers with the classic adapter, of any language, in namespace "/".
func NewEmitter(client redis.UniversalClient, o EmitterOptions) *Emitter {
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
func publishWith(client redis.UniversalClient, b *bus.Bus, key string) emitterPublish {
	if b != nil {
		return func(_ context.Context, m emission) error {
			if m.sharded {
				return b.SPublish(m.channel, m.payload)
			}
			return b.Publish(m.channel, m.payload)
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

// WithContext returns an Emitter whose calls give ctx to Redis. The default is context.Background.
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

// To adds rooms to those that are addressed; without any, everybody in the namespace is.
func (e *Emitter) To(rooms ...socket.Room) *Emitter {
	return e.with(func(e *Emitter) { e.rooms = union(e.rooms, rooms) })
}

// In is To.
func (e *Emitter) In(rooms ...socket.Room) *Emitter { return e.To(rooms...) }

// Except adds rooms whose members are left out.
func (e *Emitter) Except(rooms ...socket.Room) *Emitter {
	return e.with(func(e *Emitter) { e.except = union(e.except, rooms) })
}

// union returns a new list of have and of those of add that are not in it.
func union(have []string, add []socket.Room) []string {
	out := slices.Clone(have)
	for _, r := range add {
		if !slices.Contains(out, string(r)) {
			out = append(out, string(r))
		}
	}
	return out
}

// Volatile has clients miss the event that can't take it at once.
func (e *Emitter) Volatile() *Emitter { return e.flag("volatile", true) }

// Compress says whether the event may be compressed.
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

// Emit sends an event to the clients that are addressed.
func (e *Emitter) Emit(ev string, args ...any) error {
	if wire.ReservedEvent(ev) {
		return fmt.Errorf("emit %q: %w", ev, ErrReservedEvent)
	}
	if endsInFunc(args) {
		return fmt.Errorf("emit %q: %w", ev, ErrEmitterAck)
	}
	m, err := e.format.broadcast(e, append([]any{ev}, args...))
	return e.send("emit "+fmt.Sprintf("%q", ev), m, err)
}

// SocketsJoin makes the sockets that are addressed join rooms.
func (e *Emitter) SocketsJoin(rooms ...socket.Room) error {
	m, err := e.format.join(e, union(nil, rooms))
	return e.send("join sockets", m, err)
}

// SocketsLeave makes the sockets that are addressed leave rooms.
func (e *Emitter) SocketsLeave(rooms ...socket.Room) error {
	m, err := e.format.leave(e, union(nil, rooms))
	return e.send("leave sockets", m, err)
}

// DisconnectSockets disconnects the sockets that are addressed from the namespace, or, with closing, altogether.
func (e *Emitter) DisconnectSockets(closing bool) error {
	m, err := e.format.disconnect(e, closing)
	return e.send("disconnect sockets", m, err)
}

// ServerSideEmit sends an event, the first of args, and its arguments to the servers; rooms and flags do not matter.
func (e *Emitter) ServerSideEmit(args ...any) error {
	if len(args) == 0 {
		return fmt.Errorf("server-side emit: %w", ErrNoEvent)
	}
	if endsInFunc(args) {
		return fmt.Errorf("server-side emit: %w", ErrEmitterAck)
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

// classicFormat is that of @socket.io/redis-emitter, byte for byte.
type classicFormat struct {
	key   string
	codec Codec
}

func (f classicFormat) broadcast(e *Emitter, data []any) (emission, error) {
	flags := e.flags
	if flags == nil {
		flags = wire.Object{}
	}
	sel := e.selection()
	opts := wire.Object{sel[0], {Key: "flags", Value: flags}, sel[1]}
	payload, err := wire.AppendMsgpack(make([]byte, 0, 256), []any{emitterUID, wire.PacketObject(e.nsp, data), opts})
	if err == nil {
		payload, err = encodeWith(f.codec, payload)
	}
	channel := f.key + "#" + e.nsp + "#"
	if len(e.rooms) == 1 {
		channel += e.rooms[0] + "#"
	}
	return emission{channel: channel, payload: payload}, err
}

func (f classicFormat) join(e *Emitter, rooms []string) (emission, error) {
	return f.request(e, wire.RemoteJoin, wire.Field{Key: "rooms", Value: rooms})
}

func (f classicFormat) leave(e *Emitter, rooms []string) (emission, error) {
	return f.request(e, wire.RemoteLeave, wire.Field{Key: "rooms", Value: rooms})
}

func (f classicFormat) disconnect(e *Emitter, closing bool) (emission, error) {
	return f.request(e, wire.RemoteDisconnect, wire.Field{Key: "close", Value: closing})
}

func (f classicFormat) request(e *Emitter, t wire.RequestType, last wire.Field) (emission, error) {
	if rooms, ok := last.Value.([]string); ok && rooms == nil {
		last.Value = []string{}
	}
	return f.requestOf(e, wire.Object{
		{Key: "type", Value: int(t)}, {Key: "opts", Value: e.selection()}, last,
	})
}

func (f classicFormat) serverSideEmit(e *Emitter, args []any) (emission, error) {
	return f.requestOf(e, wire.Object{
		{Key: "uid", Value: emitterUID}, {Key: "type", Value: int(wire.ServerSideEmit)}, {Key: "data", Value: args},
	})
}

func (f classicFormat) requestOf(e *Emitter, request wire.Object) (emission, error) {
	payload, err := wire.AppendJSON(nil, request)
	return emission{channel: f.key + "-request#" + e.nsp + "#", payload: payload}, err
}
