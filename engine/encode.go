package engine

import (
	"fmt"
	"maps"
	"sync"

	"github.com/zishang520/socket.io-go-parser/v2/parser"
)

// encodeBuffers holds *[]byte that packets are encoded into before they are framed. It is a cache, no state.
var encodeBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 1024); return &b }}

// maxPooledBuffer keeps a rare large message from pinning its buffer, in bytes.
const maxPooledBuffer = 64 << 10

// headRoom is kept free in front of a packet's JSON: the header depends on the attachments that the JSON has.
const headRoom = 48

// encodePacket hands the text and the attachments of p, in namespace nsp, to frame; text is only valid during that
// call. p is not changed.
func encodePacket(nsp string, p *parser.Packet, frame func(text []byte, bins [][]byte)) error {
	pooled := encodeBuffers.Get().(*[]byte)
	defer encodeBuffers.Put(pooled)
	room := headRoom + len(nsp)
	e := jsonEncoder{b: append((*pooled)[:0], make([]byte, room)...)}
	data := p.Data
	if args, ok := data.([]any); ok && args == nil {
		data = []any{} // the arguments of an acknowledgement without any
	}
	if p.Type == parser.CONNECT_ERROR {
		data = withoutNoData(data)
	}
	if data != nil {
		if err := e.value(data, 0); err != nil {
			return fmt.Errorf("encode %s: %w", p.Type, err)
		}
	}
	var space [headRoom]byte
	head := appendHeader(space[:0], binaryKind(p.Type, len(e.bins)), len(e.bins), nsp, p.Id)
	start := room - len(head)
	copy(e.b[start:], head)
	frame(e.b[start:], e.bins)
	if cap(e.b) <= maxPooledBuffer {
		*pooled = e.b
	}
	return nil
}

// withoutNoData leaves out the data that an error of a namespace's middleware has not got, as JSON.stringify does. The
// library always puts it in.
func withoutNoData(v any) any {
	refusal, ok := v.(map[string]any)
	if data, given := refusal["data"]; !ok || !given || data != nil {
		return v
	}
	refusal = maps.Clone(refusal)
	delete(refusal, "data")
	return refusal
}

// binaryKind is the kind of a packet that carries attachments, or none, whatever it was called before.
func binaryKind(kind parser.PacketType, attachments int) parser.PacketType {
	switch kind {
	case parser.EVENT, parser.BINARY_EVENT:
		if attachments > 0 {
			return parser.BINARY_EVENT
		}
		return parser.EVENT
	case parser.ACK, parser.BINARY_ACK:
		if attachments > 0 {
			return parser.BINARY_ACK
		}
		return parser.ACK
	}
	return kind
}
