package adapter

import (
	"fmt"

	"github.com/architus/guildcast/adapter/internal/wire"
)

// Codec encodes broadcasts, and requests that can hold binary.
type Codec interface {
	// Encode is given maps with string keys, []any, []byte, and what encoding/json gives beside them.
	Encode(v any) ([]byte, error)
	// Decode returns values of the same types.
	Decode([]byte) (any, error)
}

// encodeWith returns msgpack as it is, or in the codec's form.
func encodeWith(c Codec, msgpack []byte) ([]byte, error) {
	if c == nil {
		return msgpack, nil
	}
	v, err := wire.Parse(msgpack)
	if err != nil {
		return nil, err
	}
	payload, err := c.Encode(v.Go(nil))
	if err != nil {
		return nil, fmt.Errorf("codec: %w", err)
	}
	return payload, nil
}

// decodeWith returns a payload as it is, or, from the codec's form, as msgpack.
func decodeWith(c Codec, payload []byte) ([]byte, error) {
	if c == nil {
		return payload, nil
	}
	v, err := c.Decode(payload)
	if err != nil {
		return nil, &wire.Error{Reason: wire.Malformed, Detail: err.Error()}
	}
	msgpack, err := wire.AppendMsgpack(nil, v)
	if err != nil {
		return nil, &wire.Error{Reason: wire.Malformed, Detail: err.Error()}
	}
	return msgpack, nil
}
