package engine

import (
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zishang520/engine.io/v2/events"
	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io-go-parser/v2/parser"
	"github.com/zishang520/socket.io/v2/socket"
)

// Adapter is the in-process adapter of one namespace: it keeps the rooms and sends broadcasts to their members on this
// node. The adapters of package adapter embed it. All methods may be called concurrently.
//
// On a server made by NewServer, a broadcast is encoded and framed once, and queued on every connection without a copy.
// On a stock server of the library it takes the library's own path.
//
// It emits the events of the Node.js adapter, in the order of the changes: "create-room" (room), "join-room" (room,
// id), "leave-room" (room, id) and "delete-room" (room).
type Adapter struct {
	emitter
	proto socket.Adapter   // the outermost type
	nsp   socket.Namespace // Static after Construct, as all below.
	fast  bool             // the server is one of NewServer with its own codec
	log   *slog.Logger
	// Options.CompressFlagged: compress only packets sent with the compress flag.
	flagged bool

	watched  atomic.Bool // the adapter's events have a listener
	index    index
	recovery *recovery // nil if connection state recovery is off
}

var _ socket.Adapter = (*Adapter)(nil)

// ErrServerSideEmit reports that the adapter knows no other servers to emit to.
var ErrServerSideEmit = errors.New("this adapter does not support the ServerSideEmit() functionality")

// AdapterBuilder makes an Adapter per namespace. It is the default of NewServer, and works with a stock server too.
type AdapterBuilder struct{}

// New implements socket.AdapterConstructor.
func (AdapterBuilder) New(nsp socket.Namespace) socket.Adapter {
	a := MakeAdapter()
	a.Construct(nsp)
	if r := nsp.Server().Opts().GetRawConnectionStateRecovery(); r != nil {
		a.recovery = newRecovery(time.Duration(r.MaxDisconnectionDuration()) * time.Millisecond)
	}
	return a
}

// MakeAdapter returns an Adapter to embed. Call Prototype with the outermost type, then Construct.
func MakeAdapter() *Adapter {
	a := &Adapter{log: slog.New(slog.DiscardHandler)}
	a.proto = a
	return a
}

// Prototype sets the outermost type that embeds the adapter.
func (a *Adapter) Prototype(p socket.Adapter) { a.proto = p }

// Proto returns the outermost type.
func (a *Adapter) Proto() socket.Adapter { return a.proto }

// Construct binds the adapter to its namespace.
func (a *Adapter) Construct(nsp socket.Namespace) {
	a.nsp = nsp
	if e, ok := nsp.Server().Encoder().(encoder); ok {
		a.fast, a.log, a.flagged = true, e.srv.log, e.srv.options.CompressFlagged
	}
}

// Init does nothing.
func (a *Adapter) Init() {}

// Close does nothing: the adapter holds no resources.
func (a *Adapter) Close() {}

// Nsp returns the namespace.
func (a *Adapter) Nsp() socket.Namespace { return a.nsp }

// ServerCount returns the number of servers in the cluster: 1.
func (a *Adapter) ServerCount() int64 { return 1 }

// On registers listeners.
func (a *Adapter) On(event events.EventName, fns ...events.Listener) error {
	a.watch()
	return a.emitter.On(event, fns...)
}

// AddListener registers listeners.
func (a *Adapter) AddListener(event events.EventName, fns ...events.Listener) error {
	a.watch()
	return a.emitter.AddListener(event, fns...)
}

// Once registers listeners that run once.
func (a *Adapter) Once(event events.EventName, fns ...events.Listener) error {
	a.watch()
	return a.emitter.Once(event, fns...)
}

func (a *Adapter) watch() {
	a.index.watch()
	a.watched.Store(true)
}

func (a *Adapter) emitRoomEvents() {
	if !a.watched.Load() {
		return
	}
	a.index.emit(func(e roomEvent) {
		switch e.kind {
		case createRoom:
			a.Emit("create-room", e.room)
		case joinRoom:
			a.Emit("join-room", e.room, e.id)
		case leaveRoom:
			a.Emit("leave-room", e.room, e.id)
		case deleteRoom:
			a.Emit("delete-room", e.room)
		}
	})
}

// AddAll adds a socket to rooms.
func (a *Adapter) AddAll(id socket.SocketId, rooms *types.Set[socket.Room]) {
	a.index.add(id, rooms.Keys(), a.find)
	a.emitRoomEvents()
}

// tell calls queue, which queues the answer to the CONNECT of s. Broadcasts from then on reach s, after that answer.
func (a *Adapter) tell(s *socket.Socket, queue func()) { a.index.tell(s.Id(), queue) }

func (a *Adapter) find(id socket.SocketId) *socket.Socket {
	s, _ := a.nsp.Sockets().Load(id)
	return s
}

// Del removes a socket from a room.
func (a *Adapter) Del(id socket.SocketId, room socket.Room) {
	a.index.remove(id, room)
	a.emitRoomEvents()
}

// DelAll removes a socket from all rooms and forgets it.
func (a *Adapter) DelAll(id socket.SocketId) {
	if a.recovery != nil {
		a.recovery.abandon(id)
	}
	a.index.removeAll(id)
	a.emitRoomEvents()
}

// Rooms returns the members by room. The map is live; do not change it. The first call of Rooms or Sids makes every
// socket take more than 600 bytes more, for good. HasMembers, Sockets, SocketRooms and RoomNames cost no memory.
func (a *Adapter) Rooms() *types.Map[socket.Room, *types.Set[socket.SocketId]] {
	rooms, _ := a.index.views()
	return rooms
}

// Sids returns the rooms by socket. The map is live; do not change it. See Rooms for what it costs.
func (a *Adapter) Sids() *types.Map[socket.SocketId, *types.Set[socket.Room]] {
	_, sids := a.index.views()
	return sids
}

// RoomNames returns the rooms that have a member on this node, in no order. With private, it includes each socket's own
// room.
func (a *Adapter) RoomNames(private bool) []socket.Room { return a.index.roomNames(private) }

// HasMembers reports whether any of rooms has a member on this node. It does not allocate.
func (a *Adapter) HasMembers(rooms ...socket.Room) bool { return a.index.hasMembers(rooms) }

// SocketRooms returns a copy of a socket's rooms, or nil if the socket is unknown.
func (a *Adapter) SocketRooms(id socket.SocketId) *types.Set[socket.Room] {
	rooms, ok := a.index.roomsOf(id)
	if !ok {
		return nil
	}
	return types.NewSet(rooms...)
}

// Sockets returns the ids of the connected sockets in any of rooms, or of all sockets if rooms is empty or nil.
func (a *Adapter) Sockets(rooms *types.Set[socket.Room]) *types.Set[socket.SocketId] {
	ids := types.NewSet[socket.SocketId]()
	a.each(&socket.BroadcastOptions{Rooms: rooms}, func(m *member) { ids.Add(m.id) })
	return ids
}

// FetchSockets returns a function that passes the local sockets that opts selects to its callback, before it returns.
func (a *Adapter) FetchSockets(opts *socket.BroadcastOptions) func(func([]socket.SocketDetails, error)) {
	return func(callback func([]socket.SocketDetails, error)) {
		found := []socket.SocketDetails{}
		a.each(opts, func(m *member) { found = append(found, m.sock) })
		callback(found, nil)
	}
}

// AddSockets makes the local sockets that opts selects join rooms.
func (a *Adapter) AddSockets(opts *socket.BroadcastOptions, rooms []socket.Room) {
	a.each(opts, func(m *member) { m.sock.Join(rooms...) })
}

// DelSockets makes the local sockets that opts selects leave rooms.
func (a *Adapter) DelSockets(opts *socket.BroadcastOptions, rooms []socket.Room) {
	a.each(opts, func(m *member) {
		for _, room := range rooms {
			m.sock.Leave(room)
		}
	})
}

// DisconnectSockets disconnects the local sockets that opts selects. If status is true it closes their connections too.
func (a *Adapter) DisconnectSockets(opts *socket.BroadcastOptions, status bool) {
	a.each(opts, func(m *member) { m.sock.Disconnect(status) })
}

// ServerSideEmit returns ErrServerSideEmit.
func (a *Adapter) ServerSideEmit([]any) error { return ErrServerSideEmit }

// PersistSession keeps the session of a socket that lost its connection, for RestoreSession.
func (a *Adapter) PersistSession(s *socket.SessionToPersist) {
	if a.recovery != nil {
		a.recovery.persist(s)
	}
}

// RestoreSession returns the session pid and the packets that were sent to it after the one with offset. It returns
// nil, nil if the session is unknown or packets are missing.
func (a *Adapter) RestoreSession(pid socket.PrivateSessionId, offset string) (*socket.Session, error) {
	if a.recovery == nil {
		return nil, nil
	}
	session := a.recovery.restore(pid, offset)
	if session == nil {
		return nil, nil
	}
	a.index.revive(session.Sid)
	return session, nil
}

// memberLists holds *memberList, in which broadcasts collect their targets. It is only a cache.
var memberLists = sync.Pool{New: func() any { return new(memberList) }}

type memberList struct{ list []*member }

// release returns the list for reuse.
func (l *memberList) release() {
	clear(l.list)
	l.list = l.list[:0]
	memberLists.Put(l)
}

// choose returns the local members that opts selects, each once; nil opts select all.
func (a *Adapter) choose(opts *socket.BroadcastOptions) *memberList {
	l := memberLists.Get().(*memberList)
	rooms, except := selection(opts)
	l.list = a.index.choose(rooms, except, l.list)
	return l
}

// each calls fn for the local members that opts selects, outside the index's lock.
func (a *Adapter) each(opts *socket.BroadcastOptions, fn func(*member)) {
	targets := a.choose(opts)
	defer targets.release()
	for _, m := range targets.list {
		fn(m)
	}
}

func selection(opts *socket.BroadcastOptions) (rooms, except []socket.Room) {
	if opts == nil {
		return nil, nil
	}
	if opts.Rooms != nil && opts.Rooms.Len() > 0 {
		rooms = opts.Rooms.Keys()
	}
	if opts.Except != nil && opts.Except.Len() > 0 {
		except = opts.Except.Keys()
	}
	return rooms, except
}

func flagsOf(opts *socket.BroadcastOptions) socket.BroadcastFlags {
	if opts == nil || opts.Flags == nil {
		return socket.BroadcastFlags{}
	}
	return *opts.Flags
}

// eventOf returns p's arguments in the form that "any outgoing" listeners get.
func eventOf(p *parser.Packet) []any {
	if args, ok := p.Data.([]any); ok {
		return args
	}
	return []any{p.Data}
}
