package adapter

import (
	"fmt"

	"github.com/zishang520/socket.io-go-parser/v2/parser"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter/bus"
	"github.com/architus/guildcast/adapter/internal/wire"
)

// BroadcastWithAck is Broadcast of an event that clients acknowledge. clientCount gets the number of clients of each
// server, ack one value of each client. How long they are waited for is in the options; the library ends the wait.
func (a *classic) BroadcastWithAck(
	p *parser.Packet, opts *socket.BroadcastOptions, clientCount func(uint64), ack socket.Ack,
) {
	r := a.newAckRequest(opts, clientCount, ack)
	r.expired = func() { a.expired(r) }
	a.counting.hold(a.run, r, isLocal(opts))
	a.askClients(p, opts, r)
}

func (a *classic) askClients(p *parser.Packet, opts *socket.BroadcastOptions, r *ackRequest) {
	if !isLocal(opts) {
		var err error
		if p, err = replayable(p); err == nil {
			err = a.publishAckRequest(p, opts, r)
		}
		if err != nil {
			a.unsent("broadcast with acknowledgement", err)
		}
	}
	a.Adapter.BroadcastWithAck(p, opts, r.count, r.local)
}

func (a *classic) publishAckRequest(p *parser.Packet, opts *socket.BroadcastOptions, r *ackRequest) error {
	id := randomID(6)
	o := wireOptions(opts)
	msgpack, err := wire.AppendMsgpack(nil, wire.Object{
		{Key: "uid", Value: a.uid},
		{Key: "requestId", Value: id},
		{Key: "type", Value: int(wire.BroadcastAck)},
		{Key: "packet", Value: wire.PacketObject(a.nsp, p.Data)},
		{Key: "opts", Value: o.Object()},
	})
	if err != nil {
		return err
	}
	payload, err := encodeWith(a.opts.Codec, msgpack)
	if err != nil {
		return err
	}
	timeout := a.opts.RequestsTimeout
	if o.Flags.Timeout > 0 {
		timeout = o.Flags.Timeout
	}
	a.acks.open(id, r, timeout)
	if err := a.bus.Publish(a.ask, payload); err != nil {
		a.acks.drop(id)
		return err
	}
	return nil
}

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
	if o.Flags.Timeout <= 0 {
		o.Flags.Timeout = a.opts.RequestsTimeout
	}
	counted := func(n uint64) {
		a.respond(r, wire.Object{
			{Key: "type", Value: int(wire.ClientCount)},
			{Key: "requestId", Value: r.ID},
			{Key: "clientCount", Value: n},
		})
	}
	if !a.concerns(o.Rooms) {
		counted(0)
		return nil
	}
	packet := &parser.Packet{Type: parser.EVENT, Nsp: a.nsp, Data: p.Values(nil)}
	a.Adapter.BroadcastWithAck(packet, libraryOptions(o), counted, func(args []any, _ error) {
		var value any
		if len(args) > 0 {
			value = args[0]
		}
		a.respondAck(r, value)
	})
	return nil
}

// respondAck publishes what one client answered, in msgpack, as it may be binary.
func (a *classic) respondAck(r wire.Request, value any) {
	msgpack, err := wire.AppendMsgpack(nil, wire.Object{
		{Key: "type", Value: int(wire.AckValue)},
		{Key: "requestId", Value: r.ID},
		{Key: "packet", Value: value},
	})
	if err == nil {
		msgpack, err = encodeWith(a.opts.Codec, msgpack)
	}
	if err == nil {
		err = a.bus.Publish(a.responseChannel(r), msgpack)
	}
	if err != nil {
		a.unsent("acknowledgement", err)
	}
}

// onResponse takes an answer to a request of ours. Those to other servers come too.
func (a *classic) onResponse(m bus.Message) {
	if len(m.Payload) == 0 || a.pending.n.Load() == 0 && a.acks.empty() { // empty: Ready's
		return
	}
	payload := m.Payload
	if len(payload) > 0 && payload[0] != '{' {
		var err error
		if payload, err = decodeWith(a.opts.Codec, payload); err != nil {
			a.drop("response", err)
			return
		}
	}
	r, err := wire.DecodeResponse(payload)
	if err != nil {
		a.drop("response", err)
		return
	}
	if ack := a.acks.get(r.ID); ack != nil {
		switch r.Type {
		case wire.ClientCount:
			ack.counted(r.UID, r.ClientCount)
		case wire.AckValue:
			ack.acked(r.Value.Go(toBuffer))
		default:
			a.drop("response", &wire.Error{Reason: wire.BadRequestType, Detail: fmt.Sprint(r.Type)})
		}
		return
	}
	value := r.Value
	switch {
	case r.Sockets.Present():
		value = r.Sockets
	case r.Rooms.Present():
		value = r.Rooms
	}
	a.pending.add(r.ID, answer{uid: r.UID, value: value})
}
