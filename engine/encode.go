package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io-go-parser/v2/parser"
)

// encodeBuffers holds *bytes.Buffer that JSON is written to before it is framed. It is a cache, no state.
var encodeBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// maxPooledBuffer keeps a rare large message from pinning its buffer, in bytes.
const maxPooledBuffer = 64 << 10

// encodePacket hands the text and the attachments of p, in namespace nsp, to frame; text is only valid during that
// call. p is not changed. Attachments are []byte and io.Reader values, at any depth of []any and map[string]any.
func encodePacket(nsp string, p *parser.Packet, frame func(text []byte, bins [][]byte)) error {
	data := p.Data
	var bins [][]byte
	kind := p.Type
	if hasSpecial(data) {
		var err error
		if data, err = extract(data, &bins); err != nil {
			return fmt.Errorf("encode %s: %w", kind, err)
		}
	}
	switch kind {
	case parser.EVENT, parser.BINARY_EVENT:
		kind = parser.EVENT
		if len(bins) > 0 {
			kind = parser.BINARY_EVENT
		}
	case parser.ACK, parser.BINARY_ACK:
		kind = parser.ACK
		if len(bins) > 0 {
			kind = parser.BINARY_ACK
		}
		if args, ok := data.([]any); ok && args == nil {
			data = []any{}
		}
	}
	buf := encodeBuffers.Get().(*bytes.Buffer)
	buf.Reset()
	buf.Write(appendHeader(buf.AvailableBuffer(), kind, len(bins), nsp, p.Id))
	if data != nil {
		enc := json.NewEncoder(buf)
		enc.SetEscapeHTML(false) // as JSON.stringify
		if err := enc.Encode(data); err != nil {
			encodeBuffers.Put(buf)
			return fmt.Errorf("encode %s: %w", kind, err)
		}
		buf.Truncate(buf.Len() - 1) // the newline
	}
	frame(buf.Bytes(), bins)
	if buf.Cap() <= maxPooledBuffer {
		encodeBuffers.Put(buf)
	}
	return nil
}

// hasSpecial tells whether data holds something that extract replaces. Nearly no message does.
func hasSpecial(data any) bool {
	switch v := data.(type) {
	case []any:
		for i := range v {
			if hasSpecial(v[i]) {
				return true
			}
		}
		return false
	case map[string]any:
		for _, x := range v {
			if hasSpecial(x) {
				return true
			}
		}
		return false
	case []byte, io.Reader:
		return true
	}
	return false
}

type placeholder struct {
	Placeholder bool `json:"_placeholder"`
	Num         int  `json:"num"`
}

// extract returns a copy of data in which attachments are placeholders and text readers are strings.
func extract(data any, bins *[][]byte) (any, error) {
	switch v := data.(type) {
	case []any:
		out := make([]any, len(v))
		for i := range v {
			x, err := extract(v[i], bins)
			if err != nil {
				return nil, err
			}
			out[i] = x
		}
		return out, nil
	case map[string]any:
		out := make(map[string]any, len(v))
		for k := range v {
			x, err := extract(v[k], bins)
			if err != nil {
				return nil, err
			}
			out[k] = x
		}
		return out, nil
	case *types.StringBuffer:
		if v == nil || v.Buffer == nil {
			return "", nil
		}
		return v.String(), nil // its bytes stay unread: the same value may be sent again
	case *strings.Reader:
		text, err := io.ReadAll(v)
		if err != nil {
			return nil, err
		}
		return string(text), nil
	case []byte:
		return hold(v, bins), nil
	case *types.BytesBuffer:
		if v == nil || v.Buffer == nil {
			return nil, nil
		}
		return hold(v.Bytes(), bins), nil
	case io.Reader:
		b, err := readAttachment(v)
		if err != nil {
			return nil, err
		}
		return hold(b, bins), nil
	}
	return data, nil
}

func hold(b []byte, bins *[][]byte) placeholder {
	*bins = append(*bins, b)
	return placeholder{Placeholder: true, Num: len(*bins) - 1}
}

func readAttachment(r io.Reader) ([]byte, error) {
	if c, ok := r.(io.Closer); ok {
		defer c.Close() // read only: nothing to lose
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read attachment: %w", err)
	}
	return b, nil
}
