package engine

import (
	"fmt"

	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io-go-parser/v2/parser"

	"github.com/architus/guildcast/engine/internal/eio"
)

// Message is one Socket.IO packet, encoded and framed once. It is immutable. Any number of connections may share it.
type Message struct {
	frames    []*eio.Frame // the text, then the attachments; never empty
	namespace string
	kind      parser.PacketType
	hasID     bool // the packet has an acknowledgement id
}

// NewEventMessage returns an EVENT packet for namespace nsp, or a BINARY_EVENT packet if there are attachments. args is
// the JSON array of the event's name and arguments, with {"_placeholder":true,"num":i} in the place of attachment i.
// args is not checked. NewEventMessage copies args and the attachments.
func NewEventMessage(nsp string, args []byte, attachments [][]byte) *Message {
	kind := parser.EVENT
	if len(attachments) > 0 {
		kind = parser.BINARY_EVENT
	}
	var space [64]byte
	head := appendHeader(space[:0], kind, len(attachments), nsp, nil)
	m := &Message{namespace: nsp, kind: kind, frames: make([]*eio.Frame, 1, 1+len(attachments))}
	m.frames[0] = eio.TextFrame(head, args)
	m.attach(attachments)
	return m
}

// NewMessage encodes p for namespace nsp, and does not change p. It fails if p's data has no JSON form, as a channel or
// a NaN has none, or if an attachment can't be read.
func NewMessage(nsp string, p *parser.Packet) (*Message, error) {
	m := &Message{namespace: nsp, kind: p.Type, hasID: p.Id != nil}
	err := encodePacket(nsp, p, func(text []byte, bins [][]byte) {
		m.frames = make([]*eio.Frame, 1, 1+len(bins))
		m.frames[0] = eio.TextFrame(text)
		m.attach(bins)
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

func (m *Message) attach(bins [][]byte) {
	for _, b := range bins {
		m.frames = append(m.frames, eio.BinaryFrame(b))
	}
}

// Uncompressed returns the same message without permessage-deflate. It shares m's memory.
func (m *Message) Uncompressed() *Message {
	n := *m
	n.frames = make([]*eio.Frame, len(m.frames))
	for i, f := range m.frames {
		n.frames[i] = f.Uncompressed()
	}
	return &n
}

// Len returns the size in bytes that the message takes in a connection's queue.
func (m *Message) Len() (n int) {
	for _, f := range m.frames {
		n += f.Len()
	}
	return n
}

// Event returns the JSON array of the name and the arguments of an event. Do not change it.
func (m *Message) Event() []byte {
	h, err := parseHeader(m.frames[0].Data(), len(m.frames))
	if err != nil {
		return nil // of no message that this package made
	}
	return h.body
}

// packet decodes the message again, for servers with a parser of the user's own.
func (m *Message) packet() (*parser.Packet, error) {
	h, err := parseHeader(m.frames[0].Data(), len(m.frames))
	if err != nil {
		return nil, fmt.Errorf("decode message: %w", err)
	}
	p := &packet{kind: h.kind, body: h.body}
	for _, f := range m.frames[1:] {
		p.bins = append(p.bins, f.Data())
	}
	data, err := p.decode()
	if err != nil {
		return nil, fmt.Errorf("decode message: %w", err)
	}
	out := &parser.Packet{Type: m.kind, Nsp: m.namespace, Data: data}
	if h.hasID {
		out.Id = &h.id
	}
	return out, nil
}

// wireBuffer is a Message in the library's form of an encoded packet. It holds all frames of the packet, so that
// nothing gets between the text and its attachments. It reads as the packet's text.
type wireBuffer struct {
	types.StringBuffer
	buf     types.Buffer
	message *Message
}

func newWireBuffer(m *Message) *wireBuffer {
	b := &wireBuffer{message: m}
	b.buf = *types.NewBuffer(m.frames[0].Data())
	b.StringBuffer.Buffer = &b.buf
	return b
}

// Clone returns the buffer itself. The library clones a buffer to write it, and a Message is immutable.
func (b *wireBuffer) Clone() types.BufferInterface { return b }
