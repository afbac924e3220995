package engine

import (
	"time"

	"github.com/zishang520/socket.io-go-parser/v2/parser"
	"github.com/zishang520/socket.io/v2/socket"
)

// This file has the steps in the life of a box: connecting, connected, open, leaving, left.

// connecting adds the box of a namespace that the library connects without a CONNECT.
func (i *inbox) connecting(name string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.addLocked(name, boxConnecting)
}

// connected is called when the library has connected a socket, before any "connection" listener runs. It returns the
// answer to the CONNECT, to be sent now. If the connection has closed meanwhile it returns the reason instead, of which
// this socket has not learned.
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

// open is called when the "connection" listeners have returned. From now on events are handled.
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

// sent inspects a message that is about to go to the client. A refused CONNECT or a DISCONNECT changes the box, and an
// event that asks for an acknowledgement wakes the reader. It returns false for the answer to a CONNECT, which it keeps
// until connected is called: the library makes the answer before its Client knows the socket, and once a client has
// read it, the server may be told to disconnect all sockets that the Client knows.
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

// takeAnswer returns the kept answer to a CONNECT, or nil if there is none.
func (i *inbox) takeAnswer(name string) (answer *Message) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if b := i.findLocked(name); b != nil {
		answer, b.answer = b.answer, nil
	}
	return answer
}

// leave drops what is queued for a namespace, and makes a new CONNECT wait until "disconnect" has been emitted. It
// returns the namespace's socket, or nil if there is none.
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
	// The last listener to be registered runs after the user's.
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

// abort drops everything that is queued, because the client has broken the protocol.
func (i *inbox) abort() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.breakLocked()
	i.wakeLocked()
}

// breakLocked drops all packets but those being handled.
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

// close stops taking packets. Within limits it waits until the queued ones have been handled and the "connection"
// listeners have returned. After that no socket can connect: one that tries disconnects for the reason why.
func (i *inbox) close(c *Conn, why []any) {
	i.mu.Lock()
	i.closed, i.receiving = true, 0 // what is arriving is not wanted any more
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
	i.breakLocked() // too late for what is still queued
	i.ended = why
	i.mu.Unlock()
}
