package adapter

import "github.com/architus/guildcast/adapter/internal/wire"

// Codec replaces MessagePack in the broadcasts of the classic protocol, as the option "parser" of Node's adapter and
// emitter does. All servers and emitters of a cluster must use the same. It must be safe for concurrent use.
type Codec interface {
	// Encode encodes a []any of basic types, []any, map[string]any, and the arguments as the application gave them.
	Encode(v any) ([]byte, error)
	// Decode returns what Encode was given, in the types that encoding/json uses, and []byte for binary.
	Decode(payload []byte) (any, error)
}

// encodeWith encodes v with c, or as MessagePack where c is nil.
func encodeWith(c Codec, v any) ([]byte, error) {
	if c == nil {
		return wire.AppendMsgpack(make([]byte, 0, 256), v)
	}
	return c.Encode(plain(v))
}

// plain returns v, made of the lists and objects of package wire, as []any and map[string]any.
func plain(v any) any {
	switch x := v.(type) {
	case wire.Object:
		m := make(map[string]any, len(x))
		for _, f := range x {
			m[f.Key] = plain(f.Value)
		}
		return m
	case []any:
		out := make([]any, len(x))
		for i := range x {
			out[i] = plain(x[i])
		}
		return out
	case []string:
		out := make([]any, len(x))
		for i := range x {
			out[i] = x[i]
		}
		return out
	}
	return v
}
