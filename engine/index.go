package engine

import (
	"slices"
	"sync"
	"time"

	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/engine/internal/compact"
	"github.com/architus/guildcast/internal/recent"
)

// index records which socket is in which room. One lock guards both directions, so that they always agree; the
// library's two maps lose joins. A room is a flat list, over which a broadcast is fast.
//
// Most rooms are the private room that every socket has under its id. Such a room is only a flag.
type index struct {
	mu      sync.RWMutex
	members compact.Map[socket.SocketId, *member] // Guarded by mu, as all below.
	all     []*member                             // the same members, in no order
	rooms   compact.Map[socket.Room, *room]       // all rooms but the private ones

	// Sockets that left for good a short time ago. A join that was under way must not bring them back, because nothing
	// would remove them again. While there are any, a timer turns the generations.
	gone       recent.Map[socket.SocketId, struct{}]
	forgetting bool // the timer is running

	events   []roomEvent // not emitted yet, in the order of the changes
	emitting bool        // a goroutine is emitting them
	watched  bool        // events have a listener, so record them

	// The library's form of the index, which Rooms and Sids return. Nil until one of them is called, kept up to date
	// from then on. It takes more than 600 bytes per socket.
	roomsView *types.Map[socket.Room, *types.Set[socket.SocketId]]
	sidsView  *types.Map[socket.SocketId, *types.Set[socket.Room]]
}

// member is one socket id.
type member struct {
	id   socket.SocketId
	sock *socket.Socket // nil until the socket is in the namespace
	conn *Conn          // nil on a foreign engine
	pos  int            // in index.all
	own  bool           // the socket is in its private room
	told bool           // the answer to its CONNECT is queued; until then broadcasts skip it
	in   []seat
}

// seat is a member's place in a room, and occupant the room's entry for it. Each holds the index of the other, so that
// leaving a room of 10,000 needs no search.
type seat struct {
	room *room
	at   int // in room.seats
}

type occupant struct {
	m  *member
	at int // in m.in
}

type room struct {
	name  socket.Room
	seats []occupant
}

type roomEventKind uint8

const (
	createRoom roomEventKind = iota
	joinRoom
	leaveRoom
	deleteRoom
)

type roomEvent struct {
	kind roomEventKind
	room socket.Room
	id   socket.SocketId
}

// add puts id into rooms. find returns the socket of the id, or nil.
func (x *index) add(id socket.SocketId, rooms []socket.Room, find func(socket.SocketId) *socket.Socket) {
	x.mu.Lock()
	defer x.mu.Unlock()
	m, _ := x.members.Get(id)
	if m == nil {
		if x.gone.Has(id) {
			return
		}
		m = &member{id: id, pos: len(x.all)}
		x.members.Set(id, m)
		x.all = append(x.all, m)
		if x.sidsView != nil {
			x.sidsView.Store(id, types.NewSet[socket.Room]())
		}
	}
	if m.sock == nil {
		if m.sock = find(id); m.sock != nil {
			m.conn = ConnOf(m.sock)
			m.told = m.conn == nil // a foreign engine does not call tell
		}
	}
	for _, name := range rooms {
		x.joinLocked(m, name)
	}
}

// tell calls queue, which queues the answer to the CONNECT of id. From then on broadcasts reach id.
func (x *index) tell(id socket.SocketId, queue func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	queue()
	if m, ok := x.members.Get(id); ok {
		m.told = m.sock != nil
	}
}

func (x *index) joinLocked(m *member, name socket.Room) {
	if x.isInLocked(m, name) {
		return
	}
	if !x.existsLocked(name) {
		x.recordLocked(createRoom, name, "")
	}
	if string(name) == string(m.id) {
		m.own = true
	} else {
		r, _ := x.rooms.Get(name)
		if r == nil {
			r = &room{name: name}
			x.rooms.Set(name, r)
		}
		m.in = append(m.in, seat{r, len(r.seats)})
		r.seats = append(r.seats, occupant{m, len(m.in) - 1})
	}
	x.recordLocked(joinRoom, name, m.id)
	if x.roomsView != nil {
		ids, _ := x.roomsView.LoadOrStore(name, types.NewSet[socket.SocketId]())
		ids.Add(m.id)
		if names, ok := x.sidsView.Load(m.id); ok {
			names.Add(name)
		}
	}
}

// remove removes id from a room.
func (x *index) remove(id socket.SocketId, name socket.Room) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if m, ok := x.members.Get(id); ok {
		x.leaveLocked(m, name)
	}
}

// removeAll forgets id.
func (x *index) removeAll(id socket.SocketId) {
	x.mu.Lock()
	defer x.mu.Unlock()
	m, ok := x.members.Get(id)
	if !ok {
		return
	}
	for i := len(m.in) - 1; i >= 0; i-- {
		name := m.in[i].room.name
		x.vacateLocked(m, i)
		x.leftLocked(m, name)
	}
	x.leaveLocked(m, socket.Room(id))
	x.members.Delete(id)
	if m.conn != nil && m.conn.eio.Protocol() != 3 { // in revision 3 a socket that comes back has its old id
		x.buryLocked(id)
	}
	last := x.all[len(x.all)-1]
	x.all[m.pos], last.pos = last, m.pos
	x.all[len(x.all)-1] = nil
	x.all = compact.Slice(x.all[:len(x.all)-1])
	if x.sidsView != nil {
		x.sidsView.Delete(id)
	}
}

// goneFor is the least time for which a socket that has left can't join. A join takes microseconds.
const goneFor = 5 * time.Second

func (x *index) buryLocked(id socket.SocketId) {
	if !x.forgetting {
		x.forgetting = true
		time.AfterFunc(goneFor, x.forgetGone)
	}
	x.gone.Put(id, struct{}{})
}

// forgetGone forgets sockets that have been gone for longer than goneFor.
func (x *index) forgetGone() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.gone.Turn()
	if x.forgetting = x.gone.Len() > 0; x.forgetting {
		time.AfterFunc(goneFor, x.forgetGone)
	}
}

// revive lets a socket that has left join again, because its session is being restored.
func (x *index) revive(id socket.SocketId) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.gone.Delete(id)
}

func (x *index) leaveLocked(m *member, name socket.Room) {
	if string(name) == string(m.id) {
		if !m.own {
			return
		}
		m.own = false
	} else {
		i := x.seatLocked(m, name)
		if i < 0 {
			return
		}
		x.vacateLocked(m, i)
	}
	x.leftLocked(m, name)
}

// leftLocked updates the library's maps and records events after m has left a room.
func (x *index) leftLocked(m *member, name socket.Room) {
	x.recordLocked(leaveRoom, name, m.id)
	empty := !x.existsLocked(name)
	if empty {
		x.recordLocked(deleteRoom, name, "")
	}
	if x.roomsView == nil {
		return
	}
	if ids, ok := x.roomsView.Load(name); ok {
		ids.Delete(m.id)
	}
	if empty {
		x.roomsView.Delete(name)
	}
	if names, ok := x.sidsView.Load(m.id); ok {
		names.Delete(name)
	}
}

// vacateLocked removes seat i of m. The room's last occupant and m's last seat move into the gaps.
func (x *index) vacateLocked(m *member, i int) {
	r, at := m.in[i].room, m.in[i].at
	lastOccupant := len(r.seats) - 1
	moved := r.seats[lastOccupant]
	r.seats[at] = moved
	moved.m.in[moved.at].at = at
	r.seats[lastOccupant] = occupant{}
	r.seats = compact.Slice(r.seats[:lastOccupant])
	if lastOccupant == 0 {
		x.rooms.Delete(r.name)
	}
	lastSeat := len(m.in) - 1
	m.in[i] = m.in[lastSeat]
	if i != lastSeat {
		m.in[i].room.seats[m.in[i].at].at = i
	}
	m.in[lastSeat] = seat{}
	m.in = m.in[:lastSeat]
}

// seatLocked returns the index of m's seat in a room, or -1. It searches the shorter list: a socket may be in thousands
// of rooms, and a room may have thousands of members, but seldom both.
func (x *index) seatLocked(m *member, name socket.Room) int {
	r, ok := x.rooms.Get(name)
	if !ok {
		return -1
	}
	if len(r.seats) < len(m.in) {
		for _, o := range r.seats {
			if o.m == m {
				return o.at
			}
		}
		return -1
	}
	return slices.IndexFunc(m.in, func(s seat) bool { return s.room == r })
}

func (x *index) isInLocked(m *member, name socket.Room) bool {
	if string(name) == string(m.id) {
		return m.own
	}
	return x.seatLocked(m, name) >= 0
}

// existsLocked reports whether a room has a member.
func (x *index) existsLocked(name socket.Room) bool {
	if _, ok := x.rooms.Get(name); ok {
		return true
	}
	m, ok := x.members.Get(socket.SocketId(name))
	return ok && m.own
}

func (x *index) recordLocked(kind roomEventKind, name socket.Room, id socket.SocketId) {
	if x.watched {
		x.events = append(x.events, roomEvent{kind, name, id})
	}
}

// watch starts recording events.
func (x *index) watch() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.watched = true
}

// emit passes the recorded events to fn, in order and outside the lock. If a call of emit is in progress, even on this
// goroutine (a listener has joined a room), that call passes them on.
func (x *index) emit(fn func(roomEvent)) {
	x.mu.Lock()
	if x.emitting {
		x.mu.Unlock()
		return
	}
	x.emitting = true
	for len(x.events) > 0 {
		events := x.events
		x.events = nil
		x.mu.Unlock()
		for _, e := range events {
			fn(e)
		}
		x.mu.Lock()
	}
	x.emitting = false
	x.mu.Unlock()
}
