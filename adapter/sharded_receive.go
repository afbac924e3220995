package adapter

import (
	"github.com/architus/guildcast/adapter/internal/wire"
	"github.com/architus/guildcast/engine"
)

// onMessage implements protocol.
func (a *sharded) onMessage(_ string, payload []byte) error {
	m, err := wire.DecodeMessage(payload)
	switch {
	case err != nil:
		return err
	case m.UID == a.uid:
		a.count.own.Add(1)
		return nil
	}
	if own, err := a.checkNamespace(m.Nsp); !own {
		return err
	}
	switch m.Type {
	case wire.ShardedBroadcast:
		return a.onBroadcast(m)
	case wire.ShardedJoin, wire.ShardedLeave, wire.ShardedDisconnect, wire.ShardedFetch, wire.ShardedServerSideEmit:
		return a.onRequest(m)
	case wire.ShardedFetched, wire.ShardedServerSideAck, wire.ShardedClientCount, wire.ShardedBroadcastAck:
		return &wire.Error{Reason: wire.BadRequestType, Detail: "response on the channel of all"}
	}
	return nil // heartbeats and the like, which this protocol does not use
}

func (a *sharded) onBroadcast(m wire.ShardedMessage) error {
	o, err := wire.DecodeOptions(m.Data.Get("opts"))
	if err != nil {
		return err
	}
	request := wire.ScalarText(m.Data.Get("requestId"))
	if request == "" && !a.concerns(o.Rooms) {
		a.count.filtered.Add(1)
		return nil
	}
	p, err := wire.DecodePacket(m.Data.Get("packet"))
	if err != nil {
		return err
	}
	if request != "" {
		a.serveAckRequest(p, o, func(n uint64) {
			a.respond(m.UID, wire.ShardedClientCount, request, wire.Field{Key: "clientCount", Value: n})
		}, func(values []any) { a.respond(m.UID, wire.ShardedBroadcastAck, request, firstValue(values)...) })
		return nil
	}
	args, attachments, err := p.Args()
	if err != nil {
		return err
	}
	a.count.broadcasts.Add(1)
	a.BroadcastMessage(engine.NewEventMessage(a.nsp, args, attachments), libraryOptions(o))
	return nil
}
