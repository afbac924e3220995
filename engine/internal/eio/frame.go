package eio

import (
	"sync"
	"sync/atomic"

	"github.com/architus/guildcast/engine/internal/payload"
	"github.com/architus/guildcast/engine/internal/ws"
)

// Frame is one outgoing packet, usually a message. It is encoded once, immutable, and may be queued on any number of
// connections. Forms other than the plain WebSocket form (compressed, binary data in revision 3) are made when first
// needed, and kept.
type Frame struct {
	wire    []byte // WebSocket header and payload; for a control frame, or raw bytes, all there is
	payload uint8  // offset of the payload in wire
	data    uint8  // offset of the packet's data in wire, which is after the type digit of a text packet
	binary  bool
	plain   bool // never compressed
	raw     bool // not part of the session's traffic: a control frame or an HTTP answer
	// inflating frames are always compressed, even if that does not make them smaller.
	inflating bool
	shared    *shared // nil if the message is no Group's
	forms     atomic.Pointer[forms]
}

// forms are the other forms of a frame, each made at most once.
type forms struct {
	deflated, inflating, binary3, deflated3 form

	once sync.Once
	bare *Frame
}

type form struct {
	once  sync.Once
	bytes []byte // nil if the form has no advantage
}

func (f *form) get(build func() []byte) []byte {
	f.once.Do(func() { f.bytes = build() })
	return f.bytes
}

// TextFrame returns a text message, the concatenation of parts. It copies them.
func TextFrame(parts ...[]byte) *Frame { return textPacket(PacketMessage, parts...) }

func textPacket(t PacketType, parts ...[]byte) *Frame {
	n := 1
	for _, p := range parts {
		n += len(p)
	}
	wire := ws.AppendHeader(make([]byte, 0, ws.MaxHeader+n), ws.Text, false, n)
	f := &Frame{payload: uint8(len(wire)), data: uint8(len(wire) + 1)}
	wire = append(wire, '0'+byte(t))
	for _, p := range parts {
		wire = append(wire, p...)
	}
	f.wire = wire
	return f
}

// plainPacket is a text packet that is never compressed.
func plainPacket(t PacketType, data string) *Frame {
	f := textPacket(t, []byte(data))
	f.plain = true
	return f
}

// BinaryFrame returns a binary message. It copies data.
func BinaryFrame(data []byte) *Frame {
	wire := ws.AppendHeader(make([]byte, 0, ws.MaxHeader+len(data)), ws.Binary, false, len(data))
	at := uint8(len(wire))
	return &Frame{wire: append(wire, data...), payload: at, data: at, binary: true}
}

// BareTextFrame returns a text message without Engine.IO's packet type, for Config.BareMessages. It copies data.
func BareTextFrame(data []byte) *Frame {
	wire := ws.AppendHeader(make([]byte, 0, ws.MaxHeader+len(data)), ws.Text, false, len(data))
	at := uint8(len(wire))
	return &Frame{wire: append(wire, data...), payload: at, data: at}
}

// rawFrame returns bytes that a WebSocket connection sends as they are.
func rawFrame(b []byte) *Frame { return &Frame{wire: b, plain: true, raw: true} }

// isPong reports whether f is a WebSocket's pong.
func (f *Frame) isPong() bool { return f.raw && ws.Opcode(f.wire[0]&0xf) == ws.Pong }

// isAnswer reports whether f is the answer to an opening handshake. No control frame begins with its letter.
func (f *Frame) isAnswer() bool { return f.raw && f.wire[0] == 'H' }

// counted returns the bytes that the frame counts for in a queue.
func (f *Frame) counted() int {
	if f.raw {
		return 0
	}
	return len(f.wire)
}

// Uncompressed returns the same message as a frame that is never compressed. It shares f's memory.
func (f *Frame) Uncompressed() *Frame {
	return &Frame{wire: f.wire, payload: f.payload, data: f.data, binary: f.binary, plain: true}
}

// variant returns the same message as another frame, which shares f's memory and forms.
func (f *Frame) variant() *Frame {
	v := &Frame{wire: f.wire, payload: f.payload, data: f.data, binary: f.binary, plain: f.plain}
	v.forms.Store(f.other())
	return v
}

// bare is Uncompressed, but makes the frame once.
func (f *Frame) bare() *Frame {
	o := f.other()
	o.once.Do(func() { o.bare = f.Uncompressed() })
	return o.bare
}

// Len returns the size of the plain WebSocket form in bytes, which is what a message counts for in a queue.
func (f *Frame) Len() int { return len(f.wire) }

// Data returns the data of the packet. Do not change it.
func (f *Frame) Data() []byte { return f.wire[f.data:] }

// Binary reports whether the message is binary.
func (f *Frame) Binary() bool { return f.binary }

// packet is what the PacketCreate hook sees.
func (f *Frame) packet() Packet {
	p := Packet{Type: PacketMessage, Binary: f.binary, Data: f.Data()}
	if !f.binary {
		p.Type = PacketType(f.wire[f.payload] - '0')
	}
	return p
}

// polled is the packet as package payload takes it.
func (f *Frame) polled() payload.Packet {
	return payload.Packet{Binary: f.binary, Data: f.wire[f.payload:]}
}

func (f *Frame) other() *forms {
	if o := f.forms.Load(); o != nil {
		return o
	}
	f.forms.CompareAndSwap(nil, new(forms))
	return f.forms.Load()
}

// bytes returns the frame for a WebSocket of the given revision, compressed if d is not nil and it is worth it.
func (f *Frame) bytes(protocol uint8, d *compressor) []byte {
	if f.inflating {
		return f.inflated(d)
	}
	old := protocol == 3 && f.binary
	if d != nil && !f.plain && len(f.wire)-int(f.payload) >= d.threshold {
		if b := f.compressed(old, d); b != nil {
			return b
		}
	}
	if old {
		return f.other().binary3.get(func() []byte { return f.binary3() })
	}
	return f.wire
}

func (f *Frame) compressed(old bool, d *compressor) []byte {
	op := ws.Text
	if f.binary {
		op = ws.Binary
	}
	o := f.other()
	if old {
		return o.deflated3.get(func() []byte { return d.frame(op, append([]byte{binaryType3}, f.Data()...)) })
	}
	return o.deflated.get(func() []byte { return d.frame(op, f.wire[f.payload:]) })
}

// inflated returns a text frame compressed, even if that does not make it smaller.
func (f *Frame) inflated(d *compressor) []byte {
	return f.other().inflating.get(func() []byte {
		if b := f.compressed(false, d); b != nil {
			return b
		}
		return d.deflater.AppendInflating(nil, ws.Text, f.wire[f.payload:])
	})
}

// binaryType3 precedes the data of a binary message in revision 3.
const binaryType3 = byte(PacketMessage)

// binary3 frames a binary message for revision 3.
func (f *Frame) binary3() []byte {
	data := f.Data()
	b := ws.AppendHeader(make([]byte, 0, ws.MaxHeader+1+len(data)), ws.Binary, false, 1+len(data))
	return append(append(b, binaryType3), data...)
}
