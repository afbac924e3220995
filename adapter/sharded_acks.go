package adapter

import (
	"github.com/zishang520/socket.io-go-parser/v2/parser"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter/internal/wire"
)

// BroadcastWithAck is Broadcast of an event that clients acknowledge. counted gets the number of clients of each server,
// acked one value of each client. How long they are waited for is in the options; the library ends the wait.
func (a *sharded) BroadcastWithAck(
	p *parser.Packet, opts *socket.BroadcastOptions, counted func(uint64), acked socket.Ack,
) {
	call := a.newAckRequest(opts, counted, acked)
	call.expired = func() { a.expired(call) }
	a.counting.hold(a.run, call, isLocal(opts))
	a.askClients(p, opts, call)
}

func (a *sharded) askClients(p *parser.Packet, opts *socket.BroadcastOptions, call *ackRequest) {
	if !isLocal(opts) {
		var err error
		if p, err = replayable(p); err == nil {
			err = a.publishAckRequest(p, wireOptions(opts), call)
		}
		if err != nil {
			a.unsent("broadcast with acknowledgement", err)
		}
	}
	a.Adapter.BroadcastWithAck(p, opts, call.count, call.local)
}

func (a *sharded) publishAckRequest(p *parser.Packet, o wire.Options, call *ackRequest) error {
	id := randomHex()
	timeout := a.opts.RequestsTimeout
	if o.Flags.Timeout > 0 {
		timeout = o.Flags.Timeout
	}
	a.acks.open(id, call, timeout)
	err := a.publish(typeBroadcast, a.base, wire.Object{
		{Key: "packet", Value: eventPacket(p.Data)}, {Key: "requestId", Value: id}, shardedOptions(o),
	})
	if err != nil {
		a.acks.drop(id)
	}
	return err
}
