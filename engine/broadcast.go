package engine

import (
	"time"

	"github.com/zishang520/engine.io/v2/events"
	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io-go-parser/v2/parser"
	"github.com/zishang520/socket.io/v2/socket"
)

// Broadcast sends p to the local sockets that opts selects, and does not change p. It waits for connections that lag,
// at most 50 ms.
func (a *Adapter) Broadcast(p *parser.Packet, opts *socket.BroadcastOptions) {
	if a.recovery != nil && a.fast && recoverable(p, opts) {
		a.broadcastRecoverable(p, opts)
		return
	}
	a.broadcast(p, opts, nil)
}

// BroadcastWithAck is Broadcast for a packet that clients acknowledge. It calls clientCount with the number of sockets
// that the packet was sent to, before it returns. It calls ack with every answer.
func (a *Adapter) BroadcastWithAck(
	p *parser.Packet, opts *socket.BroadcastOptions, clientCount func(uint64), ack socket.Ack,
) {
	if a.proto == socket.Adapter(a) { // otherwise the adapter that embeds this one does
		ack = oneValue(ack)
	}
	id := a.nsp.Ids()
	q := *p
	q.Id = &id
	var asked []*socket.Socket
	a.broadcast(&q, opts, func(s *socket.Socket) {
		s.Acks().Store(id, ack)
		asked = append(asked, s)
	})
	if timeout := flagsOf(opts).Timeout; timeout != nil && len(asked) > 0 {
		// Later answers are of no use. The library would keep its entry as long as the socket lives.
		time.AfterFunc(*timeout+time.Second, func() {
			for _, s := range asked {
				s.Acks().Delete(id)
			}
		})
	}
	clientCount(uint64(len(asked)))
}

// oneValue passes on one value per client, its first argument or nil, as Node.js does. The library counts values: it
// would wait for a client that sends none, and take one that sends two for two clients.
func oneValue(ack socket.Ack) socket.Ack {
	return func(args []any, err error) {
		if len(args) == 0 {
			args = []any{nil}
		}
		ack(args[:1], err)
	}
}

// BroadcastMessage delivers m to the local sockets that opts selects, at most once to each; nil opts select all. It
// waits for connections that lag, at most 50 ms.
func (a *Adapter) BroadcastMessage(m *Message, opts *socket.BroadcastOptions) {
	if a.fast {
		targets := a.choose(opts)
		defer targets.release()
		var p *parser.Packet // for "any outgoing" listeners; decoded if there is one
		a.fanOut(m, targets.list, flagsOf(opts), func(s *socket.Socket) {
			if listeners := s.ListenersAnyOutgoing(); len(listeners) > 0 {
				if p == nil {
					var err error
					if p, err = m.packet(); err != nil {
						a.log.Error("outgoing listeners are not told", "namespace", a.nsp.Name(), "err", err)
						return
					}
				}
				notifyOutgoing(listeners, p)
			}
		})
		return
	}
	p, err := m.packet()
	if err != nil {
		a.log.Error("broadcast is not sent", "namespace", a.nsp.Name(), "err", err)
		return
	}
	a.broadcast(p, opts, nil)
}

// broadcast sends p, and calls before for each socket ahead of sending to it. It does not encode a packet for nobody.
func (a *Adapter) broadcast(p *parser.Packet, opts *socket.BroadcastOptions, before func(*socket.Socket)) {
	each := func(s *socket.Socket) {
		if before != nil {
			before(s)
		}
		if listeners := s.ListenersAnyOutgoing(); len(listeners) > 0 {
			notifyOutgoing(listeners, p)
		}
	}
	if !a.fast {
		a.slowFanOut(p, opts, each)
		return
	}
	targets := a.choose(opts)
	defer targets.release()
	if len(targets.list) == 0 {
		return
	}
	m, err := NewMessage(a.nsp.Name(), p)
	if err != nil {
		a.log.Error("broadcast is not sent", "namespace", a.nsp.Name(), "err", err)
		return
	}
	a.fanOut(m, targets.list, flagsOf(opts), each)
}

// fanOut queues m on the connections of targets.
func (a *Adapter) fanOut(m *Message, targets []*member, flags socket.BroadcastFlags, each func(*socket.Socket)) {
	if a.flagged && !flags.Compress {
		m = m.Uncompressed()
	}
	d := delivery{message: m, volatile: flags.Volatile}
	for _, t := range targets {
		each(t.sock)
		d.to(t.conn)
	}
	d.pace()
}

// slowFanOut broadcasts through the library, for an engine or a parser that is not ours.
func (a *Adapter) slowFanOut(p *parser.Packet, opts *socket.BroadcastOptions, each func(*socket.Socket)) {
	q := *p // encoders change the packet
	q.Nsp = a.nsp.Name()
	if q.Type == parser.BINARY_EVENT { // the encoder makes a BINARY_EVENT by itself, and only from an EVENT
		q.Type = parser.EVENT
	}
	flags := flagsOf(opts)
	write := &socket.WriteOptions{Volatile: flags.Volatile, PreEncoded: true}
	write.Compress = flags.Compress
	var encoded []types.BufferInterface
	a.each(opts, func(m *member) {
		if encoded == nil {
			encoded = a.nsp.Server().Encoder().Encode(&q)
		}
		each(m.sock)
		m.sock.Client().WriteToEngine(encoded, write)
	})
}

func notifyOutgoing(listeners []events.Listener, p *parser.Packet) {
	args := eventOf(p)
	for _, fn := range listeners {
		fn(args...)
	}
}
