package engine

import (
	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io/v2/socket"
)

// hasMembers reports whether any of the rooms has a member.
func (x *index) hasMembers(rooms []socket.Room) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, name := range rooms {
		if x.existsLocked(name) {
			return true
		}
	}
	return false
}

// choose appends to to the members that a broadcast addresses, each once: the members of any of rooms, or all if rooms
// is empty, without the members of except and without those that are not connected.
func (x *index) choose(rooms, except []socket.Room, to []*member) []*member {
	x.mu.RLock()
	defer x.mu.RUnlock()
	skip := x.excludedLocked(except)
	take := func(m *member) {
		if !m.told {
			return
		}
		if skip != nil {
			if _, ok := skip[m]; ok {
				return
			}
		}
		to = append(to, m)
	}
	switch len(rooms) {
	case 0:
		for _, m := range x.all {
			take(m)
		}
	case 1:
		x.eachLocked(rooms[0], take)
	default:
		if skip == nil {
			skip = make(map[*member]struct{})
		}
		for _, name := range rooms {
			x.eachLocked(name, func(m *member) {
				take(m)
				skip[m] = struct{}{}
			})
		}
	}
	return to
}

// excludedLocked returns the members of rooms, or nil if there are none.
func (x *index) excludedLocked(rooms []socket.Room) map[*member]struct{} {
	var out map[*member]struct{}
	for _, name := range rooms {
		x.eachLocked(name, func(m *member) {
			if out == nil {
				out = make(map[*member]struct{})
			}
			out[m] = struct{}{}
		})
	}
	return out
}

func (x *index) eachLocked(name socket.Room, fn func(*member)) {
	if m, ok := x.members.Get(socket.SocketId(name)); ok && m.own {
		fn(m)
	}
	if r, ok := x.rooms.Get(name); ok {
		for i := range r.seats {
			fn(r.seats[i].m)
		}
	}
}

// roomsOf returns the rooms of a socket, and false if the socket is unknown.
func (x *index) roomsOf(id socket.SocketId) ([]socket.Room, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	m, ok := x.members.Get(id)
	if !ok {
		return nil, false
	}
	return m.rooms(), true
}

func (m *member) rooms() []socket.Room {
	names := make([]socket.Room, 0, len(m.in)+1)
	if m.own {
		names = append(names, socket.Room(m.id))
	}
	for i := range m.in {
		names = append(names, m.in[i].room.name)
	}
	return names
}

// roomNames returns the rooms that have a member. With private, it includes each socket's own room.
func (x *index) roomNames(private bool) []socket.Room {
	x.mu.RLock()
	defer x.mu.RUnlock()
	names := make([]socket.Room, 0, x.rooms.Len())
	for name := range x.rooms.All {
		names = append(names, name)
	}
	if !private {
		return names
	}
	for _, m := range x.all {
		if _, named := x.rooms.Get(socket.Room(m.id)); m.own && !named {
			names = append(names, socket.Room(m.id))
		}
	}
	return names
}

// views returns the library's form of the index, which is kept up to date from then on.
func (x *index) views() (
	*types.Map[socket.Room, *types.Set[socket.SocketId]], *types.Map[socket.SocketId, *types.Set[socket.Room]],
) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.roomsView != nil {
		return x.roomsView, x.sidsView
	}
	x.roomsView = &types.Map[socket.Room, *types.Set[socket.SocketId]]{}
	x.sidsView = &types.Map[socket.SocketId, *types.Set[socket.Room]]{}
	for _, m := range x.all {
		names := m.rooms()
		x.sidsView.Store(m.id, types.NewSet(names...))
		for _, name := range names {
			ids, _ := x.roomsView.LoadOrStore(name, types.NewSet[socket.SocketId]())
			ids.Add(m.id)
		}
	}
	return x.roomsView, x.sidsView
}
