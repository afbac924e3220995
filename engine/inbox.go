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

// inbox holds what a client has sent and nobody has handled yet, a box for each of its namespaces. Packets of a
// namespace are handled one after the other, in the order in which they came; acknowledgements have a lane of their
// own, so that a handler that waits for one gets it.
//
// A lane has a worker, a goroutine, while it holds packets that can be handled. The server waits for the workers
// before it tells the sockets that their connection has closed.
type inbox struct {
	inbound *inbound // of all connections. Static.

	mu         sync.Mutex
	boxes      *box          // Guarded by mu, as all below. A list: it is short, mostly of one.
	queued     int           // bytes in the lanes
	taken      int           // bytes of them that listeners have
	gone       chan struct{} // closed when it is broken; nil while nobody waits for that
	unfinished int           // bytes of the packet that waits for attachments
	inflating  int           // bytes of the message that is being inflated
	receiving  int           // bytes of messages and bodies that are arriving
	counted    int           // of them in inbound.sum
	room       chan struct{} // closed when the reader should look again; nil while it does not wait
	idle       chan struct{} // closed when the lanes are done; nil while nobody waits for that
	closed     bool          // the connection is: nothing comes in any more
	broken     bool          // the client broke the protocol, or time is up: nothing is handled any more
	ended      []any         // why the connection is closed, once the sockets are being told
}

// ErrFlood closes a client that goes on sending while it leaves the server's questions unanswered.
var ErrFlood = errors.New("too much is queued that the client has sent")

// Timing of the inbox.
const (
	// drainLimit is how long a closed connection's sockets stay connected while its last packets are handled, and
	// drainAckLimit how long when one of them may be waiting for an answer that won't come any more.
	drainLimit    = 10 * time.Second
	drainAckLimit = time.Second
	// recheck is how often a reader that waits looks whether it should go on for a reason that nobody tells it.
	recheck = 100 * time.Millisecond
)

type boxState uint8

const (
	boxNew        boxState = iota // CONNECT is in the lane
	boxConnecting                 // the library has the CONNECT; its "connection" listeners have not returned
	boxOpen
	boxLeaving // a DISCONNECT went one way or the other; "disconnect" has not been emitted
	boxLeft    // until the client connects again
)

// box is one namespace of a client.
type box struct {
	name   string
	state  boxState
	socket *socket.Socket // nil before it is connected, and after it has left
	answer *Message       // to the CONNECT, until the library's Client knows the socket
	events lane           // CONNECT, EVENT, DISCONNECT
	acks   lane
	next   *box
}

// lane is a queue of packets. Its bound is that of the inbox.
type lane struct {
	head, tail *packet
	busy       bool // has a worker
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

// pruneLocked forgets namespaces that the client has left, and returns how many there are then.
func (i *inbox) pruneLocked() (n int) {
	for at := &i.boxes; *at != nil; {
		if b := *at; b.state == boxLeft && b.events.head == nil && b.acks.head == nil && !b.events.busy &&
			!b.acks.busy {
			*at = b.next
			continue
		}
		n++
		at = &(*at).next
	}
	return n
}

// putResult says what became of a packet.
type putResult uint8

const (
	putQueued  putResult = iota
	putDropped           // the connection is closed
	putUnknown           // no such namespace: the client is not connected to it
	putTooMany           // namespaces
)

// put queues a packet, and starts a worker for it.
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
		if n := i.pruneLocked(); n >= c.srv.options.MaxNamespaces {
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
	i.unfinished, i.inflating = 0, 0 // it was p
	i.countLocked()
	i.startLocked(c, b, l)
	return putQueued
}

// startLocked gives a lane a worker if it has something to handle.
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

// readyLocked reports whether the head of a lane can be handled now. It drops what never can.
func (i *inbox) readyLocked(b *box, l *lane) bool {
	for l.head != nil {
		connect := l.head.kind == parser.CONNECT
		switch {
		case i.broken:
		case connect: // it waits for the answer to another, or for "disconnect"
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

// work handles the packets of a lane until there is none that can be handled. It is the lane's worker.
func (c *Conn) work(b *box, l *lane) {
	growStack()
	i := &c.inbox
	i.mu.Lock() // without a deferred Unlock: a listener that panics does so while it is unlocked
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

// errPanic is why a client is disconnected whose packet a listener panicked over.
var errPanic = errors.New("a listener panicked")

// handleGuarded handles one packet. With Options.OnPanic a panic ends the connection; without, it is left alone and
// ends the program with its own message and stack.
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

// workerStack is about what decoding an event and handling it take of a goroutine's stack.
const workerStack = 12 << 10

// growStack gives a new goroutine's stack its size at once, while there is next to nothing on it to be moved. Doubled
// again and again from the depth of a handler, stacks took a tenth of what a small event costs.
//
//go:noinline
func growStack() {
	var room [workerStack]byte
	runtime.KeepAlive(&room)
}

// restLocked tells who waits for it that no packet is being handled any more.
func (i *inbox) restLocked() {
	if i.idle != nil && i.quietLocked() {
		close(i.idle)
		i.idle = nil
	}
}

// quietLocked reports whether no packet is being handled, nor will be.
func (i *inbox) quietLocked() bool {
	for b := i.boxes; b != nil; b = b.next {
		if b.events.busy || b.acks.busy {
			return false
		}
		if b.state == boxConnecting && b.socket != nil {
			return false // its "connection" listeners run: it may be about to listen to "disconnect"
		}
		if b.state == boxLeaving {
			return false // the library emits "disconnect" on a goroutine of its own, with a reason of its own
		}
	}
	return true
}

// waitForRoom blocks the reader while too much is queued, here or on the server. It lets the client go on while one of
// its sockets waits for an acknowledgement, which may be behind what is queued, up to the hard limit: ErrFlood.
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

// expectAck tells the reader that the client has been asked for an acknowledgement.
func (i *inbox) expectAck() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.wakeLocked()
}
