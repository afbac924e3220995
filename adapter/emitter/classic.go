package emitter

import "github.com/architus/guildcast/adapter/internal/wire"

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
	payload, err := wire.AppendMsgpack(make([]byte, 0, 256), []any{uid, wire.PacketObject(e.nsp, data), opts})
	if err == nil {
		payload, err = wire.EncodeWith(f.codec, payload)
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
		{Key: "uid", Value: uid}, {Key: "type", Value: int(wire.ServerSideEmit)}, {Key: "data", Value: args},
	})
}

func (f classicFormat) requestOf(e *Emitter, request wire.Object) (emission, error) {
	payload, err := wire.AppendJSON(nil, request)
	return emission{channel: f.key + "-request#" + e.nsp + "#", payload: payload}, err
}
