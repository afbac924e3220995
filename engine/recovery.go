package engine

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/zishang520/socket.io-go-parser/v2/parser"
	"github.com/zishang520/socket.io/v2/socket"
)

// Bounds of connection state recovery, per namespace. At a bound the oldest entry goes. A client that would have needed
// it connects as a new one, for which every client must be prepared anyway.
const (
	maxRecoveryPackets  = 1 << 16
	maxRecoveryBytes    = 64 << 20
	maxRecoverySessions = 1 << 16
)

// recovery keeps the packets and sessions for connection state recovery, as the session-aware adapter of Node.js does.
// Every recoverable packet carries an offset as its last argument. A client that comes back sends the last offset that
// it got.
//
// One lock covers the log of packets and their queueing. So every client gets packets in the order of their offsets,
// and its last offset says what it has missed. Lock order: recovery, index, connection.
type recovery struct {
	window time.Duration // how long a client may be away and still recover
	epoch  string        // tells this run of the server from others, whose offsets are unknown

	mu       sync.Mutex
	packets  []loggedPacket // Guarded by mu, as all below. Oldest first.
	first    uint64         // the number of packets[0]
	bytes    int
	sessions map[socket.PrivateSessionId]*savedSession
	order    []*savedSession // sessions, oldest first; may include replaced ones

	// Sockets that are restored but not connected yet. What is sent meanwhile reaches them once they are connected.
	pending map[socket.SocketId]pendingSession
}

type loggedPacket struct {
	message       *Message
	rooms, except []socket.Room
	at            time.Time
}

type savedSession struct {
	*socket.SessionToPersist
	at time.Time
}

type pendingSession struct {
	saved *savedSession
	rooms []socket.Room
	next  uint64 // the number of the first packet that the session did not get
}

func newRecovery(window time.Duration) *recovery {
	return &recovery{
		window:   window,
		epoch:    strconv.FormatInt(time.Now().UnixNano(), 36) + ".",
		sessions: make(map[socket.PrivateSessionId]*savedSession),
		pending:  make(map[socket.SocketId]pendingSession),
	}
}

// recoverable reports whether to keep a packet. One that asks for an acknowledgement can't be resumed, and a volatile
// one need not be.
func recoverable(p *parser.Packet, opts *socket.BroadcastOptions) bool {
	_, ok := p.Data.([]any)
	return ok && p.Type == parser.EVENT && p.Id == nil && !flagsOf(opts).Volatile
}

// broadcastRecoverable is Broadcast for a packet that is kept for clients that come back.
func (a *Adapter) broadcastRecoverable(p *parser.Packet, opts *socket.BroadcastOptions) {
	rooms, except := selection(opts)
	flags := flagsOf(opts)
	targets := memberLists.Get().(*memberList)
	defer targets.release()
	d := delivery{}
	r := a.recovery

	r.mu.Lock()
	q := *p
	q.Data = append(slices.Clone(p.Data.([]any)), r.nextOffsetLocked())
	m, err := NewMessage(a.nsp.Name(), &q)
	if err == nil {
		if a.flagged && !flags.Compress {
			m = m.Uncompressed()
		}
		r.logLocked(loggedPacket{m, rooms, except, time.Now()})
		d.message = m
		targets.list = a.index.choose(rooms, except, targets.list)
		for _, t := range targets.list {
			if _, waits := r.pending[t.id]; !waits {
				d.to(t.conn)
			}
		}
	}
	r.mu.Unlock()

	if err != nil {
		a.log.Error("broadcast is not sent", "namespace", a.nsp.Name(), "err", err)
	}
	for _, t := range targets.list {
		if listeners := t.sock.ListenersAnyOutgoing(); len(listeners) > 0 {
			notifyOutgoing(listeners, &q)
		}
	}
	d.pace()
}

// resume sends a restored socket, which is connected now, the packets that it missed since it was restored.
func (a *Adapter) resume(s *socket.Socket) {
	r := a.recovery
	if r == nil || !s.Recovered() {
		return
	}
	conn := ConnOf(s)
	r.mu.Lock()
	defer r.mu.Unlock()
	p, ok := r.pending[s.Id()]
	if !ok {
		return
	}
	delete(r.pending, s.Id())
	for _, m := range r.sinceLocked(p.next, p.rooms) {
		d := delivery{message: m}
		d.to(conn)
	}
}

func (r *recovery) nextOffsetLocked() string {
	return r.epoch + strconv.FormatUint(r.first+uint64(len(r.packets)), 36)
}

// positionLocked returns the number of the packet with an offset, and false if it is no longer kept.
func (r *recovery) positionLocked(offset string) (uint64, bool) {
	text, ok := strings.CutPrefix(offset, r.epoch)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(text, 36, 64)
	return n, err == nil && n >= r.first && n < r.first+uint64(len(r.packets))
}

func (r *recovery) logLocked(p loggedPacket) {
	r.packets = append(r.packets, p)
	r.bytes += p.message.Len()
	drop := 0
	for drop < len(r.packets)-1 {
		old := &r.packets[drop]
		if len(r.packets)-drop <= maxRecoveryPackets && r.bytes <= maxRecoveryBytes && p.at.Sub(old.at) <= r.window {
			break
		}
		r.bytes -= old.message.Len()
		*old = loggedPacket{}
		drop++
	}
	r.packets = r.packets[drop:]
	r.first += uint64(drop)
}

// sinceLocked returns the packets from number next on that reach a socket in rooms.
func (r *recovery) sinceLocked(next uint64, rooms []socket.Room) []*Message {
	if next < r.first {
		next = r.first
	}
	var missed []*Message
	for i := next - r.first; i < uint64(len(r.packets)); i++ {
		if p := &r.packets[i]; p.reaches(rooms) {
			missed = append(missed, p.message)
		}
	}
	return missed
}

// reaches reports whether a packet is addressed to a socket in rooms.
func (p *loggedPacket) reaches(rooms []socket.Room) bool {
	included := len(p.rooms) == 0
	for _, room := range rooms {
		if slices.Contains(p.except, room) {
			return false
		}
		included = included || slices.Contains(p.rooms, room)
	}
	return included
}

// persist keeps the session of a socket that lost its connection.
func (r *recovery) persist(s *socket.SessionToPersist) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	saved := &savedSession{s, now}
	r.sessions[s.Pid] = saved
	r.order = append(r.order, saved)
	drop := 0
	for drop < len(r.order) {
		old := r.order[drop]
		if len(r.order)-drop <= maxRecoverySessions && now.Sub(old.at) <= r.window {
			break
		}
		if r.sessions[old.Pid] == old {
			delete(r.sessions, old.Pid)
		}
		r.order[drop] = nil
		drop++
	}
	r.order = r.order[drop:]
}

// restore returns a session with the packets that it missed after offset, or nil if it can't be restored.
func (r *recovery) restore(pid socket.PrivateSessionId, offset string) *socket.Session {
	r.mu.Lock()
	saved := r.sessions[pid]
	if saved == nil || time.Since(saved.at) > r.window {
		delete(r.sessions, pid)
		r.mu.Unlock()
		return nil
	}
	position, ok := r.positionLocked(offset)
	if !ok {
		r.mu.Unlock()
		return nil
	}
	rooms := saved.Rooms.Keys()
	missed := r.sinceLocked(position+1, rooms)
	r.pending[saved.Sid] = pendingSession{saved, rooms, r.first + uint64(len(r.packets))}
	delete(r.sessions, pid) // so that no second socket gets the same id
	r.mu.Unlock()

	session := &socket.Session{SessionToPersist: saved.SessionToPersist, MissedPackets: make([]any, 0, len(missed))}
	for _, m := range missed {
		if p, err := m.packet(); err == nil { // never fails: we encoded it
			session.MissedPackets = append(session.MissedPackets, p.Data)
		}
	}
	return session
}

// abandon forgets a restored session whose socket did not connect.
func (r *recovery) abandon(id socket.SocketId) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p, ok := r.pending[id]; ok {
		delete(r.pending, id)
		r.sessions[p.saved.Pid] = p.saved
	}
}
