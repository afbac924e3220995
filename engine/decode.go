package engine

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io-go-parser/v2/parser"

	"github.com/architus/guildcast/internal/js"
	"github.com/architus/guildcast/internal/processor"
)

// maxAuthCost bounds the decoded size of a CONNECT in bytes. The socket's handshake keeps it.
const maxAuthCost = 256 << 10

// inTurn calls f, which reads the packet's JSON, and no code of the application: that may wait.
func (p *packet) inTurn(f func()) { processor.Read(len(p.body), f) }

// measure estimates the decoded size of the packet's JSON in bytes. It returns an error if that or the depth exceeds
// the options.
func (p *packet) measure(o *Options) (cost int, err error) {
	if p.decoded != nil {
		return 0, nil
	}
	limit := o.MaxDecodedBytes
	if p.kind == parser.CONNECT || p.kind == parser.DISCONNECT {
		limit = min(limit, maxAuthCost)
	}
	depth, cost := js.Measure(p.body)
	if depth > o.MaxJSONDepth {
		return 0, fmt.Errorf("%w: JSON of depth %d, at most %d is allowed", ErrPacket, depth, o.MaxJSONDepth)
	}
	if cost > limit {
		return 0, fmt.Errorf("%w: JSON that takes %d bytes decoded, at most %d are allowed", ErrPacket, cost, limit)
	}
	return cost, nil
}

// decode decodes the packet's JSON and attachments into the library's types: bool, float64, string, []any,
// map[string]any, nil, and *types.BytesBuffer for an attachment. It enforces no limits; see measure.
func (p *packet) decode() (any, error) {
	if p.decoded != nil {
		return validate(p.kind, p.decoded.Data)
	}
	if len(p.body) == 0 {
		return validate(p.kind, nil)
	}
	var data any
	if err := json.Unmarshal(p.body, &data); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPacket, err)
	}
	if len(p.bins) > 0 {
		var err error
		if data, err = attach(data, p.bins); err != nil {
			return nil, err
		}
	}
	return validate(p.kind, data)
}

// attach replaces placeholders with attachments, in place.
func attach(data any, bins [][]byte) (any, error) {
	switch v := data.(type) {
	case []any:
		for i := range v {
			x, err := attach(v[i], bins)
			if err != nil {
				return nil, err
			}
			v[i] = x
		}
	case map[string]any:
		if isPlaceholder, _ := v["_placeholder"].(bool); isPlaceholder {
			num, ok := v["num"].(float64)
			if !ok || num < 0 || num >= float64(len(bins)) || num != math.Trunc(num) {
				return nil, fmt.Errorf("%w: illegal attachments", ErrPacket)
			}
			return types.NewBytesBuffer(bins[int(num)]), nil
		}
		for k := range v {
			x, err := attach(v[k], bins)
			if err != nil {
				return nil, err
			}
			v[k] = x
		}
	}
	return data, nil
}

// reservedEvent reports whether Socket.IO reserves name, so that a peer must not send it. The names are those of
// socket.io-parser 4.2.
func reservedEvent(name string) bool {
	switch name {
	case "connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener":
		return true
	}
	return false
}

// validate checks the form of data for a packet of this kind by the rules of socket.io-parser 4.2, and returns it
// normalized: a missing auth payload is an empty object, a missing list of an ACK's arguments an empty array, and an
// event's name that is a number (JavaScript allows that) its text.
func validate(kind parser.PacketType, data any) (any, error) {
	switch kind {
	case parser.CONNECT:
		if data == nil {
			return map[string]any{}, nil
		}
		if _, ok := data.(map[string]any); ok {
			return data, nil
		}
	case parser.DISCONNECT:
		if data == nil {
			return nil, nil
		}
	case parser.CONNECT_ERROR:
		return data, nil
	case parser.EVENT, parser.BINARY_EVENT:
		if args, ok := data.([]any); ok && len(args) > 0 {
			switch name := args[0].(type) {
			case string:
				if !reservedEvent(name) {
					return args, nil
				}
			case float64:
				args[0] = numberText(name)
				return args, nil
			}
		}
	case parser.ACK, parser.BINARY_ACK:
		if data == nil {
			return []any{}, nil
		}
		if _, ok := data.([]any); ok {
			return data, nil
		}
	}
	return nil, fmt.Errorf("%w: payload of %s", ErrPacket, kind)
}
