package engine

import (
	"bytes"
	"errors"

	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io-go-parser/v2/parser"

	"github.com/architus/guildcast/engine/internal/eio"
)

// receive takes one message of the client. It runs on the connection's reader, and blocks it while too much that the
// client has sent waits to be handled.
func (c *Conn) receive(m eio.Packet) {
	if c.srv.rawListeners.Load() {
		c.emitRaw(m.Binary, m.Data)
	}
	data := m.Data
	if !m.Own {
		data = bytes.Clone(data)
	}
	if c.srv.foreign {
		c.feed(&foreignInput{rawBuffer(m.Binary, data), c.receiveDecoded})
	} else {
		var p *packet
		var err error
		if m.Binary {
			p, err = c.asm.binary(data)
		} else {
			p, err = c.asm.text(data, c.eio.Protocol(), c.srv.options.MaxAttachments)
		}
		if err != nil {
			c.refuse(err)
			return
		}
		if p == nil {
			c.holdUnfinished()
			c.relieve()
			return
		}
		c.queue(p)
	}
	c.relieve()
	if err := c.inbox.waitForRoom(c); err != nil {
		c.flood(err)
	}
}

// relieve closes the clients that hold the most if the server's budget is spent.
func (c *Conn) relieve() {
	if b := &c.srv.inbound; b.sum.Load() > b.budget {
		c.srv.relieve(0)
	}
}

// receiveDecoded takes a packet that the user's own parser has decoded.
func (c *Conn) receiveDecoded(p *parser.Packet) {
	namespace := p.Nsp
	if c.eio.Protocol() == 3 {
		h := header{namespace: []byte(p.Nsp)}
		var err error
		if namespace, err = h.namespaceOf(3); err != nil {
			c.refuse(err)
			return
		}
	}
	c.queue(&packet{kind: p.Type, namespace: namespace, connect: p.Nsp, decoded: p, size: packetOverhead})
}

func (c *Conn) queue(p *packet) {
	if p.kind == parser.CONNECT_ERROR { // only servers may send it
		c.invalidState(p)
		return
	}
	switch c.inbox.put(c, p) {
	case putUnknown:
		c.invalidState(p)
	case putTooMany:
		c.refuseNamespace(p.namespace)
	}
}

// refuse reports a packet that breaks the protocol to the library, which emits "error" on the client's sockets and
// closes the connection. Earlier packets of the client are handled, later ones are not.
func (c *Conn) refuse(err error) {
	c.discard()
	c.feed(err)
}

// invalidState makes the library close a client that sent a packet which its state does not allow.
func (c *Conn) invalidState(p *packet) {
	c.discard()
	c.feed(&parser.Packet{Type: parser.CONNECT_ERROR, Nsp: p.namespace})
}

// errTooManyNamespaces is the CONNECT_ERROR of a client that would exceed Options.MaxNamespaces.
var errTooManyNamespaces = errors.New("too many namespaces")

func (c *Conn) refuseNamespace(name string) {
	m, err := NewMessage(name, &parser.Packet{
		Type: parser.CONNECT_ERROR, Data: map[string]any{"message": errTooManyNamespaces.Error()},
	})
	if err == nil { // always: the packet is constant
		c.send(m)
	}
}

// emitRaw calls the user's listeners of "data" and "message" on the Engine.IO socket.
func (c *Conn) emitRaw(binary bool, data []byte) {
	if c.users.ListenerCount("data") > 0 {
		c.users.Emit("data", rawBuffer(binary, bytes.Clone(data)))
	}
	if c.users.ListenerCount("message") > 0 {
		c.users.Emit("message", rawBuffer(binary, bytes.Clone(data)))
	}
}

func rawBuffer(binary bool, data []byte) types.BufferInterface {
	if binary {
		return types.NewBytesBuffer(data)
	}
	return types.NewStringBuffer(data)
}
