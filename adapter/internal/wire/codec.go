package wire

import "fmt"

// Codec replaces MessagePack in broadcasts, and in requests that can hold binary.
type Codec interface {
	// Encode receives maps with string keys, []any, []byte, and the other types that encoding/json decodes to.
	Encode(v any) ([]byte, error)
	// Decode returns values of the same types.
	Decode([]byte) (any, error)
}

// EncodeWith returns msgpack as it is, or in the codec's form.
func EncodeWith(c Codec, msgpack []byte) ([]byte, error) {
	if c == nil {
		return msgpack, nil
	}
	v, err := Parse(msgpack)
	if err != nil {
		return nil, err
	}
	payload, err := c.Encode(v.Go(nil))
	if err != nil {
		return nil, fmt.Errorf("codec: %w", err)
	}
	return payload, nil
}

// DecodeWith returns a payload as it is, or, from the codec's form, as msgpack.
func DecodeWith(c Codec, payload []byte) ([]byte, error) {
	if c == nil {
		return payload, nil
	}
	v, err := c.Decode(payload)
	if err != nil {
		return nil, &Error{Reason: Malformed, Detail: err.Error()}
	}
	msgpack, err := AppendMsgpack(nil, v)
	if err != nil {
		return nil, &Error{Reason: Malformed, Detail: err.Error()}
	}
	return msgpack, nil
}
