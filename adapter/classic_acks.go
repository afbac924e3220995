package adapter

import (
	"fmt"

	"github.com/architus/guildcast/adapter/internal/wire"
)

// onBroadcastAck serves another server's BroadcastWithAck: it says how many clients were asked, and then what each
// of them answers.
func (a *classic) onBroadcastAck(r wire.Request) error {
	p, err := r.Packet()
	if err != nil {
		return err
	}
	if p.Nsp != a.nsp {
		return &wire.Error{Reason: wire.OtherNamespace, Detail: p.Nsp}
	}
	o := wire.Options{Rooms: wire.Rooms{All: true}}
	if r.Options != nil {
		o = *r.Options
	}
	a.serveAckRequest(p, o, func(n uint64) {
		a.respond(r, wire.Object{
			{Key: "type", Value: int(wire.ClientCount)},
			{Key: "requestId", Value: r.ID},
			{Key: "clientCount", Value: n},
		})
	}, func(values []any) { a.respondAck(r, values) })
	return nil
}

// respondAck publishes what one client answered, in msgpack, as it may be binary.
func (a *classic) respondAck(r wire.Request, values []any) {
	var value any
	if len(values) > 0 {
		value = values[0]
	}
	msgpack, err := wire.AppendMsgpack(nil, wire.Object{
		{Key: "type", Value: int(wire.AckValue)},
		{Key: "requestId", Value: r.ID},
		{Key: "packet", Value: value},
	})
	if err == nil {
		msgpack, err = wire.EncodeWith(a.opts.Codec, msgpack)
	}
	if err == nil {
		err = a.publish(a.responseChannel(r), msgpack)
	}
	if err != nil {
		a.unsent("acknowledgement", err)
	}
}

// onResponse implements protocol. Those to other servers come too.
func (a *classic) onResponse(payload []byte) error {
	if a.pending.n.Load() == 0 && a.acks.empty() {
		return nil
	}
	payload, err := a.decodeUnlessJSON(payload)
	if err != nil {
		return err
	}
	r, err := wire.DecodeResponse(payload)
	if err != nil {
		return err
	}
	if ack := a.acks.get(r.ID); ack != nil {
		switch r.Type {
		case wire.ClientCount:
			ack.counted(r.UID, r.ClientCount)
		case wire.AckValue:
			ack.acked(r.Value.Go(toBuffer))
		default:
			return &wire.Error{Reason: wire.BadRequestType, Detail: fmt.Sprint(r.Type)}
		}
		return nil
	}
	value := r.Value
	switch {
	case r.Sockets.Present():
		value = r.Sockets
	case r.Rooms.Present():
		value = r.Rooms
	}
	a.pending.add(r.ID, answer{uid: r.UID, value: value})
	return nil
}
