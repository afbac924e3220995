package engine

import (
	"fmt"
	"maps"
	"sync"

	"github.com/zishang520/socket.io-go-parser/v2/parser"
)

// encodeBuffers holds *[]byte, into which packets are encoded before they are framed. It is only a cache.
var encodeBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 1024); return &b }}

// maxPooledBuffer is the size in bytes of the largest buffer that is pooled, so that one large message does not pin its
// buffer.
const maxPooledBuffer = 64 << 10

// headRoom is the space in bytes left free before a packet's JSON for the header, which depends on the attachments in
// the JSON.
const headRoom = 48

// encodePacket encodes p for namespace nsp and calls frame with the text and the attachments. text is valid only during
// that call. p is not changed.
func encodePacket(nsp string, p *parser.Packet, frame func(text []byte, bins [][]byte)) error {
	pooled := encodeBuffers.Get().(*[]byte)
	defer encodeBuffers.Put(pooled)
	room := headRoom + len(nsp)
	e := jsonEncoder{b: append((*pooled)[:0], make([]byte, room)...)}
	data := p.Data
	if args, ok := data.([]any); ok && args == nil {
		data = []any{} // an acknowledgement without arguments
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

// withoutNoData leaves out a middleware error's field data if that is nil, as JSON.stringify does. The library always
// writes it.
func withoutNoData(v any) any {
	refusal, ok := v.(map[string]any)
	if data, given := refusal["data"]; !ok || !given || data != nil {
		return v
	}
	refusal = maps.Clone(refusal)
	delete(refusal, "data")
	return refusal
}

// binaryKind returns the kind for a packet with this number of attachments: binary if there are any, plain otherwise.
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
