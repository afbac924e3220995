package engine

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/zishang520/socket.io-go-parser/v2/parser"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/engine/internal/eio"
)

// handle handles one packet. It runs on the worker of the packet's lane.
func (c *Conn) handle(b *box, p *packet) {
	switch {
	case p.run != nil:
		p.run()
	case p.kind == parser.CONNECT:
		c.handleConnect(b, p)
	case p.kind == parser.EVENT || p.kind == parser.BINARY_EVENT:
		c.handleEvent(b, p)
	case p.kind == parser.ACK || p.kind == parser.BINARY_ACK:
		c.handleAck(b, p)
	case p.kind == parser.DISCONNECT:
		c.handleDisconnect(b, p)
	}
}

// data returns the packet's data, decoded, within the limits of one packet.
func (p *packet) data(o *Options) (data any, err error) {
	p.inTurn(func() {
		if _, err = p.measure(o); err == nil {
			data, err = p.decode()
		}
	})
	return data, err
}

// handleConnect hands a CONNECT to the library, which runs the namespace's middlewares and answers.
func (c *Conn) handleConnect(b *box, p *packet) {
	auth, err := p.data(&c.srv.options)
	if err != nil {
		c.refuse(err)
		return
	}
	i := &c.inbox
	i.mu.Lock()
	if b.state != boxNew && b.state != boxLeft {
		i.mu.Unlock()
		if !p.again {
			c.invalidState(p) // the client is connected already
		}
		return
	}
	b.state = boxConnecting
	i.mu.Unlock()
	c.feed(&parser.Packet{Type: parser.CONNECT, Nsp: p.connect, Data: auth})
}

// handleDisconnect hands a DISCONNECT to the library. A later CONNECT is handled once "disconnect" has been emitted.
func (c *Conn) handleDisconnect(b *box, p *packet) {
	if _, err := p.data(&c.srv.options); err != nil {
		c.refuse(err)
		return
	}
	switch s := c.inbox.leave(c, b.name); {
	case s == nil:
	case s.Connected():
		c.feed(&parser.Packet{Type: parser.DISCONNECT, Nsp: b.name})
	default: // the server had closed it, and emitted "disconnect"
		c.inbox.left(c, s)
	}
}

// handleAck calls the function that waits for an acknowledgement. If none does, the packet must be valid all the same,
// but is not decoded.
func (c *Conn) handleAck(b *box, p *packet) {
	s, ok := c.inbox.socketOf(b)
	ok = ok && p.ackID()
	if ok {
		_, ok = s.Acks().Load(p.id)
	}
	if !ok {
		if p.decoded == nil && len(p.body) > 0 && !isArray(p.body) {
			c.refuse(fmt.Errorf("%w: payload of %s", ErrPacket, p.kind))
		}
		return
	}
	data, err := p.data(&c.srv.options)
	if err != nil {
		c.refuse(err)
		return
	}
	if fn, ok := s.Acks().LoadAndDelete(p.id); ok {
		fn(data.([]any), nil)
	}
}

// ackID reports whether the packet has an acknowledgement id, and sets p.id.
func (p *packet) ackID() bool {
	if p.decoded != nil && p.decoded.Id != nil {
		p.id, p.hasID = *p.decoded.Id, true
	}
	return p.hasID
}

func (i *inbox) socketOf(b *box) (*socket.Socket, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return b.socket, b.socket != nil
}

// handleEvent calls what the library would call for an event: the "any" listeners, the middlewares, then the listeners,
// all on this goroutine.
func (c *Conn) handleEvent(b *box, p *packet) {
	s, ok := c.inbox.socketOf(b)
	if !ok || !s.Connected() {
		return
	}
	if admitted, err := c.admits(s, p); err != nil {
		c.refuse(err)
		return
	} else if !admitted {
		return
	}
	var cost int
	var err error
	p.inTurn(func() { cost, err = p.measure(&c.srv.options) })
	if err != nil {
		c.refuse(err)
		return
	}
	if pool := c.srv.decoding.of(cost); pool != nil {
		if !pool.enter(cost, c.inbox.goneChan) {
			if c.eio.State() != eio.Closed {
				c.flood(ErrBusy)
			}
			return
		}
		defer pool.leave(cost)
		if !s.Connected() {
			return
		}
	}
	var data any
	p.inTurn(func() { data, err = p.decode() })
	if err != nil {
		c.refuse(err)
		return
	}
	args := data.([]any)
	c.inbox.took(p)
	if p.ackID() {
		args = append(args, c.answer(s, p.id))
	}
	for _, fn := range s.ListenersAny() {
		fn(args...)
	}
	middlewares, ok := c.srv.middlewares.of(s)
	if !ok {
		c.feed(c.libraryPacket(b, p, data.([]any)))
		return
	}
	if len(middlewares) == 0 {
		emit(s, args)
		return
	}
	c.filter(b, s, middlewares, args)
}

// libraryPacket returns p in the library's form. It is needed if the socket's middlewares can't be found: then the
// library dispatches events, without keeping their order.
func (c *Conn) libraryPacket(b *box, p *packet, args []any) *parser.Packet {
	out := &parser.Packet{Type: parser.EVENT, Nsp: b.name, Data: args}
	if p.hasID {
		out.Id = &p.id
	}
	return out
}

func emit(s *socket.Socket, args []any) {
	if s.Connected() {
		s.EmitUntyped(args[0].(string), args[1:]...)
	}
}

// filter runs an event through the middlewares of socket.Use. The listeners run after the chain has returned, as in
// Node.js. A middleware that calls next later delays only its own event, which then queues in the lane again. One that
// never calls next drops the event.
func (c *Conn) filter(b *box, s *socket.Socket, middlewares []socket.SocketMiddleware, args []any) {
	deliver := func(err error) {
		if err != nil {
			s.EmitReserved("error", err)
			return
		}
		emit(s, args)
	}
	const (
		inChain  = iota // the chain is running
		finished        // the last next was called
		left            // the chain returned before that
	)
	var state atomic.Int32
	var result error
	var once sync.Once // if a middleware calls next twice, the listeners still run once
	runMiddlewares(middlewares, args, func(err error) {
		once.Do(func() {
			result = err
			if !state.CompareAndSwap(inChain, finished) {
				c.inbox.post(c, b, func() { deliver(err) })
			}
		})
	})
	if !state.CompareAndSwap(inChain, left) {
		deliver(result)
	}
}

// runMiddlewares calls the first middleware. Each runs the next one by calling its next function.
func runMiddlewares(middlewares []socket.SocketMiddleware, args []any, done func(error)) {
	if len(middlewares) == 0 {
		done(nil)
		return
	}
	middlewares[0](args, func(err error) {
		if err != nil {
			done(err)
			return
		}
		runMiddlewares(middlewares[1:], args, done)
	})
}

// post queues a function at the end of the event lane.
func (i *inbox) post(c *Conn, b *box, fn func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.broken || b.state != boxOpen {
		return
	}
	p := &packet{kind: parser.EVENT, run: fn, size: packetOverhead}
	b.events.push(p)
	i.queued += p.size
	i.countLocked()
	i.startLocked(c, b, &b.events)
}

// answer returns the acknowledgement function of an event. Only its first call sends something.
func (c *Conn) answer(s *socket.Socket, id uint64) socket.Ack {
	var sent atomic.Bool
	return func(args []any, _ error) {
		if sent.Swap(true) {
			return
		}
		p := &parser.Packet{Type: parser.ACK, Nsp: s.Nsp().Name(), Id: &id, Data: args}
		if c.srv.foreign {
			s.Client().WriteToEngine(c.srv.io.Encoder().Encode(p), &socket.WriteOptions{})
			return
		}
		m, err := NewMessage(p.Nsp, p)
		if err != nil {
			c.srv.log.Error("acknowledgement is not sent", "socket_id", s.Id(), "err", err)
			return
		}
		if c.srv.options.CompressFlagged {
			m = m.Uncompressed()
		}
		c.send(m)
	}
}
