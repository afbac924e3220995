package adapter

import (
	"github.com/architus/guildcast/adapter/internal/wire"
	"github.com/architus/guildcast/engine"
)

// onMessage implements protocol.
func (a *classic) onMessage(channel string, payload []byte) error {
	if channel == a.ask {
		return a.onRequest(payload)
	}
	return a.onBroadcast(payload)
}

// onBroadcast delivers a broadcast to local sockets. Cheap checks come first.
func (a *classic) onBroadcast(payload []byte) error {
	payload, err := wire.DecodeWith(a.opts.Codec, payload)
	if err != nil {
		return err
	}
	b, err := wire.DecodeBroadcast(payload)
	switch {
	case err != nil:
		return err
	case b.From(a.uid):
		a.count.own.Add(1)
		return nil
	case !a.concerns(b.Rooms):
		a.count.filtered.Add(1)
		return nil
	}
	return a.deliver(b)
}

// maxScratch bounds the buffer that is kept for the next message.
const maxScratch = 64 << 10

func (a *classic) deliver(b wire.Broadcast) error {
	p, err := b.Packet()
	if err == nil || p.Nsp != "" {
		if own, err := a.checkNamespace(p.Nsp); !own {
			return err
		}
	}
	if err != nil {
		return err
	}
	args, attachments, err := p.AppendArgs(a.scratch[:0])
	if err != nil {
		return err
	}
	if cap(args) <= maxScratch {
		a.scratch = args // the engine does not keep it
	}
	a.count.broadcasts.Add(1)
	a.BroadcastMessage(engine.NewEventMessage(a.nsp, args, attachments), a.selected.set(b.Options))
	return nil
}
