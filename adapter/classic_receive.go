package adapter

import (
	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io/v2/socket"

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

// onBroadcast brings a broadcast to local sockets. The order of the checks is that of their cost.
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
	if p.Nsp != a.nsp && (err == nil || p.Nsp != "") { // a room of "/a" can look like the namespace "/a#b"
		return &wire.Error{Reason: wire.OtherNamespace, Detail: p.Nsp}
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

// selection is the library's form of options, used again for each message of a queue: package engine only reads it.
type selection struct {
	opts  socket.BroadcastOptions
	flags socket.BroadcastFlags
	rooms *types.Set[socket.Room]
	names []string // in rooms
}

func (s *selection) set(w wire.Options) *socket.BroadcastOptions {
	if len(w.Except) > 0 || len(w.Rooms.Names) > 16 || w.Flags.Timeout > 0 { // rare, or too much to keep
		return libraryOptions(w)
	}
	if s.rooms == nil {
		s.rooms = types.NewSet[socket.Room]()
	}
	for _, n := range s.names {
		s.rooms.Delete(socket.Room(n))
	}
	for _, n := range w.Rooms.Names {
		s.rooms.Add(socket.Room(n))
	}
	s.names = w.Rooms.Names
	s.flags = libraryFlags(w.Flags)
	s.opts = socket.BroadcastOptions{Rooms: s.rooms, Flags: &s.flags}
	return &s.opts
}
