package engine

import (
	"errors"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/zishang520/socket.io-go-parser/v2/parser"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/engine/internal/eio"
)

// inbox holds the packets that a client has sent and no handler has taken, in one box per namespace. A namespace's
// packets are handled one at a time, in the order of arrival. Acknowledgements have a lane of their own, so that a
// handler can wait for one.
//
// A lane has a worker, which is a goroutine, only while it holds packets that can be handled. The server waits for the
// workers before the sockets learn that their connection has closed.
type inbox struct {
	inbound *inbound // of all connections. Static.

	mu         sync.Mutex
	boxes      *box          // Guarded by mu, as all below. A list, because most clients have one.
	queued     int           // bytes in the lanes
	taken      int           // bytes of queued that listeners have
	gone       chan struct{} // closed when broken is set; nil if nobody waits for that
	unfinished int           // bytes of the packet that waits for attachments
	inflating  int           // bytes of the message that is being inflated
	receiving  int           // bytes of messages and bodies that are arriving
	counted    int           // bytes of all of these that are in inbound.sum
	room       chan struct{} // closed when the reader should check again; nil if it does not wait
	idle       chan struct{} // closed when the lanes are done; nil if nobody waits for that
	closed     bool          // the connection is closed: the inbox takes no more packets
	broken     bool          // the client broke the protocol, or time is up: no packet is handled any more
	ended      []any         // why the connection closed, once its sockets disconnect
}

// ErrFlood reports that a client went on sending to the limit while it owed the server an acknowledgement. It closes
// the client.
var ErrFlood = errors.New("too much is queued that the client has sent")

// Timing of the inbox.
const (
	// drainLimit is how long the sockets of a closed connection stay connected while its last packets are handled. It
	// is drainAckLimit if one of them may wait for an acknowledgement, which can't come any more.
	drainLimit    = 10 * time.Second
	drainAckLimit = time.Second
	// recheck is how often a waiting reader checks the conditions about which nobody notifies it.
	recheck = 100 * time.Millisecond
)

type boxState uint8

const (
	boxNew        boxState = iota // CONNECT is in the lane
	boxConnecting                 // the library has the CONNECT; its "connection" listeners have not returned
	boxOpen
	boxLeaving // a DISCONNECT was sent or received; "disconnect" has not been emitted yet
	boxLeft    // the client may connect again
)

// box is one namespace of a client.
type box struct {
	name   string
	state  boxState
	socket *socket.Socket // nil before it is connected and after it has left
	answer *Message       // answer to the CONNECT, kept until the library's Client knows the socket
	events lane           // of CONNECT, EVENT and DISCONNECT
	acks   lane
	next   *box
}

// lane is a queue of packets. The inbox bounds it.
type lane struct {
	head, tail *packet
	busy       bool // the lane has a worker
}

func (l *lane) push(p *packet) {
	if l.tail == nil {
		l.head = p
	} else {
		l.tail.next = p
	}
	l.tail = p
}

func (l *lane) pop() *packet {
	p := l.head
	if l.head = p.next; l.head == nil {
		l.tail = nil
	}
	p.next = nil
	return p
}

func (i *inbox) findLocked(name string) *box {
	for b := i.boxes; b != nil; b = b.next {
		if b.name == name {
			return b
		}
	}
	return nil
}

func (i *inbox) addLocked(name string, state boxState) *box {
	b := &box{name: name, state: state, next: i.boxes}
	i.boxes = b
	return b
}

// pruneLocked forgets the namespaces that the client has left. It returns the number of those that it is in, and of
// those that are left and whose worker has not returned yet: the client may learn that it is refused before that.
func (i *inbox) pruneLocked() (in, returning int) {
	for at := &i.boxes; *at != nil; {
		b := *at
		switch {
		case b.state != boxLeft || b.events.head != nil || b.acks.head != nil:
			in++
		case b.events.busy || b.acks.busy:
			returning++
		default:
			*at = b.next
			continue
		}
		at = &b.next
	}
	return in, returning
}

// putResult says what became of a packet.
type putResult uint8

const (
	putQueued  putResult = iota
	putDropped           // the connection is closed
	putUnknown           // the client is not connected to the namespace
	putTooMany           // the client would be connected to too many namespaces
)

// put queues a packet, and starts a worker for its lane.
func (i *inbox) put(c *Conn, p *packet) putResult {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed || i.broken {
		return putDropped
	}
	b := i.findLocked(p.namespace)
	if b == nil {
		if p.kind != parser.CONNECT {
			return putUnknown
		}
		most := c.srv.options.MaxNamespaces
		if in, returning := i.pruneLocked(); in >= most || returning >= most {
			return putTooMany
		}
		b = i.addLocked(p.namespace, boxNew)
	}
	p.again = b.state != boxOpen
	l := &b.events
	if p.kind == parser.ACK || p.kind == parser.BINARY_ACK {
		l = &b.acks
	}
	l.push(p)
	i.queued += p.size
	i.unfinished, i.inflating = 0, 0 // they counted p
	i.countLocked()
	i.startLocked(c, b, l)
	return putQueued
}

// startLocked starts a lane's worker if the lane needs one.
func (i *inbox) startLocked(c *Conn, b *box, l *lane) {
	if !l.busy && i.readyLocked(b, l) {
		l.busy = true
		go c.work(b, l)
	}
}

func (i *inbox) startBothLocked(c *Conn, b *box) {
	i.startLocked(c, b, &b.events)
	i.startLocked(c, b, &b.acks)
}

// readyLocked reports whether the first packet of a lane can be handled now. It drops packets that never can.
func (i *inbox) readyLocked(b *box, l *lane) bool {
	for l.head != nil {
		connect := l.head.kind == parser.CONNECT
		switch {
		case i.broken:
		case connect: // waits for the answer to an earlier CONNECT, or for "disconnect"
			return b.state != boxConnecting && b.state != boxLeaving
		case b.state == boxOpen:
			return true
		case b.state == boxNew || b.state == boxConnecting:
			return false // waits for the "connection" listeners
		}
		i.doneLocked(l.pop())
	}
	return false
}

// doneLocked accounts for a packet that has been handled or dropped.
func (i *inbox) doneLocked(p *packet) {
	i.queued -= p.size
	if p.taken {
		i.taken -= p.size
	}
	i.countLocked()
	if i.room != nil && i.queued <= maxResume {
		i.wakeLocked()
	}
}

func (i *inbox) wakeLocked() {
	if i.room != nil {
		close(i.room)
		i.room = nil
	}
}

// work is a lane's worker: it handles packets until none can be handled.
func (c *Conn) work(b *box, l *lane) {
	growStack()
	i := &c.inbox
	i.mu.Lock() // no deferred Unlock: a listener panics while mu is not held
	for i.readyLocked(b, l) {
		p := l.pop()
		i.mu.Unlock()
		c.handleGuarded(b, p)
		i.mu.Lock()
		i.doneLocked(p)
	}
	l.busy = false
	i.restLocked()
	i.mu.Unlock()
}

// errPanic reports that a listener panicked over a packet. It closes the client.
var errPanic = errors.New("a listener panicked")

// handleGuarded handles one packet. A panic ends the connection if Options.OnPanic is set. Otherwise it is not
// recovered, and ends the program with its own message and stack.
func (c *Conn) handleGuarded(b *box, p *packet) {
	if onPanic := c.srv.options.OnPanic; onPanic != nil {
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			s, _ := c.inbox.socketOf(b)
			c.inbox.abort()
			c.eio.Fail(eio.ReasonTransportError, errPanic)
			onPanic(s, v, debug.Stack())
		}()
	}
	c.handle(b, p)
}

// workerStack is about the stack that decoding and handling an event take, in bytes.
const workerStack = 12 << 10

// growStack grows a new goroutine's stack at once, while there is almost nothing on it to copy. Stacks that doubled
// again and again deep in a handler took a tenth of the time of a small event.
//
//go:noinline
func growStack() {
	var room [workerStack]byte
	runtime.KeepAlive(&room)
}

// restLocked wakes whoever waits for idle if no packet is being handled any more.
func (i *inbox) restLocked() {
	if i.idle != nil && i.quietLocked() {
		close(i.idle)
		i.idle = nil
	}
}

// quietLocked reports whether no packet is being handled and none will be.
func (i *inbox) quietLocked() bool {
	for b := i.boxes; b != nil; b = b.next {
		if b.events.busy || b.acks.busy {
			return false
		}
		if b.state == boxConnecting && b.socket != nil {
			return false // its "connection" listeners are running, and may still listen to "disconnect"
		}
		if b.state == boxLeaving {
			return false // the library is about to emit "disconnect" on its own goroutine, with its own reason
		}
	}
	return true
}

// waitForRoom blocks the reader while too much is queued, here or on the server. It does not block while one of the
// client's sockets waits for an acknowledgement, which may come after what is queued; then the hard limit applies, with
// ErrFlood.
func (i *inbox) waitForRoom(c *Conn) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	for (i.queued > maxInbound || i.queued-i.taken >= inboundStep && i.inbound.scarce()) && !i.closed && !i.broken {
		if i.queued > c.srv.options.MaxInboundBytes {
			return ErrFlood
		}
		if i.awaitsAckLocked() {
			return nil
		}
		if i.room == nil {
			i.room = make(chan struct{})
		}
		room := i.room
		i.mu.Unlock()
		timer := time.NewTimer(recheck)
		select {
		case <-room:
		case <-timer.C:
		}
		timer.Stop()
		gone := c.eio.State() == eio.Closed
		i.mu.Lock()
		if gone {
			return nil
		}
	}
	return nil
}

func (i *inbox) awaitsAckLocked() bool {
	for b := i.boxes; b != nil; b = b.next {
		if b.socket != nil && awaitsAck(b.socket) {
			return true
		}
	}
	return false
}

func awaitsAck(s *socket.Socket) (found bool) {
	s.Acks().Range(func(uint64, socket.Ack) bool {
		found = true
		return false
	})
	return found
}

// expectAck wakes a reader that waits: the client was asked for an acknowledgement.
func (i *inbox) expectAck() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.wakeLocked()
}
