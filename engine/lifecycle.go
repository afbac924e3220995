package engine

import (
	"time"

	"github.com/zishang520/socket.io-go-parser/v2/parser"
	"github.com/zishang520/socket.io/v2/socket"
)

// This file holds the steps in the life of a namespace's box: connecting, connected, open, leaving, left.

// connecting adds the box of a namespace that the library connects without a CONNECT.
func (i *inbox) connecting(name string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.addLocked(name, boxConnecting)
}

// connected is called when the library has connected a socket, before any "connection" listener runs. It returns the
// answer to the CONNECT, which is to be sent; or, if the connection has closed meanwhile, why: nobody has told this
// socket.
func (i *inbox) connected(s *socket.Socket) (answer *Message, ended []any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if b := i.findLocked(s.Nsp().Name()); b != nil && b.state == boxConnecting && i.ended == nil {
		b.socket = s
		answer, b.answer = b.answer, nil
	}
	return answer, i.ended
}

// has reports whether s is a socket of this connection.
func (i *inbox) has(s *socket.Socket) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	b := i.findLocked(s.Nsp().Name())
	return b != nil && b.socket == s
}

// open is called when the "connection" listeners have returned: events may flow.
func (i *inbox) open(c *Conn, s *socket.Socket) {
	i.mu.Lock()
	defer i.mu.Unlock()
	b := i.findLocked(s.Nsp().Name())
	if b == nil || b.socket != s || b.state != boxConnecting {
		return
	}
	b.state = boxOpen
	i.startBothLocked(c, b)
	i.restLocked()
}

// sent looks at what goes to the client: a refused CONNECT and a DISCONNECT change the box, a question wakes the
// reader. It returns false for the answer to a CONNECT, which is kept until connected: the library makes it before its
// Client knows the socket, and a client that has read it may have the server disconnect all that the Client knows.
func (i *inbox) sent(c *Conn, m *Message) bool {
	switch m.kind {
	case parser.CONNECT:
		i.mu.Lock()
		defer i.mu.Unlock()
		if b := i.findLocked(m.namespace); b != nil && b.state == boxConnecting && b.socket == nil {
			b.answer = m
			return false
		}
	case parser.EVENT, parser.BINARY_EVENT:
		if m.hasID {
			i.expectAck()
		}
	case parser.CONNECT_ERROR:
		i.mu.Lock()
		defer i.mu.Unlock()
		if b := i.findLocked(m.namespace); b != nil && b.state == boxConnecting {
			b.state = boxLeft
			i.startBothLocked(c, b)
		}
	case parser.DISCONNECT:
		if answer := i.takeAnswer(m.namespace); answer != nil {
			c.eio.Send(answer.frames...)
		}
		i.leave(c, m.namespace)
	}
	return true
}

// takeAnswer returns the answer to a CONNECT that has been kept, nil if there is none.
func (i *inbox) takeAnswer(name string) (answer *Message) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if b := i.findLocked(name); b != nil {
		answer, b.answer = b.answer, nil
	}
	return answer
}

// leave drops what is queued for a namespace, and makes a new CONNECT wait until "disconnect" has been emitted. It
// returns the socket that is left, nil if there is none.
func (i *inbox) leave(c *Conn, name string) *socket.Socket {
	i.mu.Lock()
	b := i.findLocked(name)
	if b == nil || b.socket == nil || b.state != boxOpen && b.state != boxConnecting {
		i.mu.Unlock()
		return nil
	}
	s := b.socket
	b.state = boxLeaving
	i.mu.Unlock()
	// The last listener of the event: it runs when the users' have.
	_ = s.Once("disconnect", func(...any) { i.left(c, s) })
	return s
}

// left is called when "disconnect" has been emitted.
func (i *inbox) left(c *Conn, s *socket.Socket) {
	i.mu.Lock()
	defer i.mu.Unlock()
	b := i.findLocked(s.Nsp().Name())
	if b == nil || b.socket != s || b.state != boxLeaving {
		return
	}
	b.state, b.socket = boxLeft, nil
	i.startBothLocked(c, b)
	i.restLocked()
}

// abort drops all that is queued: the client has broken the protocol.
func (i *inbox) abort() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.breakLocked()
	i.wakeLocked()
}

// breakLocked drops all that nobody is handling.
func (i *inbox) breakLocked() {
	if i.gone != nil && !i.broken {
		close(i.gone)
	}
	i.broken = true
	for b := i.boxes; b != nil; b = b.next {
		i.readyLocked(b, &b.events)
		i.readyLocked(b, &b.acks)
	}
	i.unfinished, i.inflating, i.receiving = 0, 0, 0
	i.countLocked()
}

// close takes no more packets, and waits until those that are queued have been handled and the "connection" listeners
// have returned, within limits. From then on no socket connects any more: why is what one that tries is told.
func (i *inbox) close(c *Conn, why []any) {
	i.mu.Lock()
	i.closed, i.receiving = true, 0 // it is not wanted any more
	i.countLocked()
	i.wakeLocked()
	limit := drainLimit
	if i.awaitsAckLocked() {
		limit = drainAckLimit
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for !i.quietLocked() {
		idle := make(chan struct{})
		i.idle = idle
		i.mu.Unlock()
		select {
		case <-idle:
			i.mu.Lock()
			continue
		case <-timer.C:
		}
		c.srv.log.Debug("handlers outlive their connection", "limit", limit)
		i.mu.Lock()
		break
	}
	i.breakLocked() // what is still queued comes too late
	i.ended = why
	i.mu.Unlock()
}
