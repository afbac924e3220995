package adapter

import (
	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter/internal/wire"
)

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
