package adapter

import (
	"time"

	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter/internal/wire"
)

// wireOptions converts the library's options to ours. nil selects every socket.
func wireOptions(o *socket.BroadcastOptions) wire.Options {
	if o == nil {
		return wire.Options{Rooms: wire.Rooms{All: true}}
	}
	w := wire.Options{Rooms: wire.Rooms{Names: names(o.Rooms)}, Except: names(o.Except)}
	w.Rooms.All = len(w.Rooms.Names) == 0
	if f := o.Flags; f != nil {
		w.Flags = wire.Flags{
			Volatile: f.Volatile, Local: f.Local, Broadcast: f.Broadcast, Binary: f.Binary,
			ExpectSingleResponse: f.ExpectSingleResponse,
		}
		if f.Compress { // false is what the library has if nothing was said
			w.Flags.Compress = &f.Compress
		}
		if f.Timeout != nil {
			w.Flags.Timeout = *f.Timeout
		}
	}
	return w
}

func names(set *types.Set[socket.Room]) []string {
	if set == nil || set.Len() == 0 {
		return nil
	}
	keys := set.Keys()
	out := make([]string, len(keys))
	for i, r := range keys {
		out[i] = string(r)
	}
	return out
}

// libraryOptions converts our options to the library's, for local sockets. It is for package engine, which takes nil
// for an empty set.
func libraryOptions(w wire.Options) *socket.BroadcastOptions {
	flags := libraryFlags(w.Flags)
	o := &socket.BroadcastOptions{Flags: &flags}
	if len(w.Rooms.Names) > 0 {
		o.Rooms = roomSet(w.Rooms.Names)
	}
	if len(w.Except) > 0 {
		o.Except = roomSet(w.Except)
	}
	return o
}

func libraryFlags(w wire.Flags) socket.BroadcastFlags {
	f := socket.BroadcastFlags{Local: true}
	f.Volatile = w.Volatile
	f.Compress = w.Compress == nil || *w.Compress
	if timeout := w.Timeout; timeout > 0 {
		f.Timeout = new(time.Duration)
		*f.Timeout = timeout
	}
	return f
}

func roomSet(names []string) *types.Set[socket.Room] {
	return types.NewSet(toRooms(names)...)
}

func toRooms(names []string) []socket.Room {
	rooms := make([]socket.Room, len(names))
	for i, n := range names {
		rooms[i] = socket.Room(n)
	}
	return rooms
}

func fromRooms(rooms []socket.Room) []string {
	out := make([]string, len(rooms))
	for i, r := range rooms {
		out[i] = string(r)
	}
	return out
}

func isLocal(o *socket.BroadcastOptions) bool { return o != nil && o.Flags != nil && o.Flags.Local }
