package adapter

import (
	"bytes"
	"strings"

	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter/bus"
	"github.com/architus/guildcast/adapter/internal/wire"
	"github.com/architus/guildcast/engine"
)

// receiver is the bus.Filter of broadcasts and requests.
type receiver struct{ a *classic }

// Wants spares us the reading of what is meant for rooms without a member here.
func (r receiver) Wants(channel string) bool {
	room, one := r.a.roomOf(channel)
	return !one || r.a.HasMembers(room)
}

func (r receiver) HandleMessage(m bus.Message) {
	a := r.a
	if m.Missed > 0 {
		a.count.dropped[wire.Overflow].Add(uint64(m.Missed))
	}
	guard(a.opts.Logger, func() {
		if m.Channel == a.ask {
			a.onRequest(m.Payload)
		} else {
			a.onBroadcast(m.Channel, m.Payload)
		}
	})
}

// roomOf returns the room of a channel that belongs to one. The closing "#" may be missing: one emitter forgets it.
func (a *classic) roomOf(channel string) (socket.Room, bool) {
	name, ok := strings.CutPrefix(channel, a.base)
	if !ok || name == "" {
		return "", false
	}
	return socket.Room(strings.TrimSuffix(name, "#")), true
}

// drop counts a message that was not understood.
func (a *classic) drop(what string, err error) {
	a.count.dropped[wire.ReasonOf(err)].Add(1)
	a.opts.Logger.Debug("message from redis dropped", "namespace", a.nsp, "what", what, "err", err)
}

// onBroadcast brings a broadcast to local sockets. The order of the checks is that of their cost.
func (a *classic) onBroadcast(channel string, payload []byte) {
	if bytes.HasPrefix(payload, a.own) {
		a.count.own.Add(1)
		return
	}
	if room, one := a.roomOf(channel); one && !a.HasMembers(room) {
		a.count.filtered.Add(1)
		return
	}
	payload, err := decodeWith(a.opts.Codec, payload)
	if err != nil {
		a.drop("broadcast", err)
		return
	}
	b, err := wire.DecodeBroadcast(payload)
	if err != nil {
		a.drop("broadcast", err)
		return
	}
	switch {
	case b.From(a.uid):
		a.count.own.Add(1)
		return
	case !a.concerns(b.Rooms):
		a.count.filtered.Add(1)
		return
	}
	if err := a.deliver(b); err != nil {
		a.drop("broadcast", err)
	}
}

// concerns tells whether rooms have a member here.
func (a *classic) concerns(rooms wire.Rooms) bool {
	for _, r := range rooms.Names {
		if a.HasMembers(socket.Room(r)) {
			return true
		}
	}
	return rooms.All
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
