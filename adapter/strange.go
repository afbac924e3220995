package adapter

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/architus/guildcast/adapter/internal/wire"
)

// complaint is a kind of log line about messages that were not understood. Its values are few, whatever arrives.
type complaint struct {
	reason wire.Reason
	sender string // one of senderOf's
}

// strange reports whether a message that was dropped for reason r has no place on our channels. The others are dropped
// in the normal course of things.
func strange(r wire.Reason) bool { return r != wire.Unanswerable && r != wire.Overflow }

// maxLooked bounds the payloads that are parsed to describe them.
const maxLooked = 64 << 10

// senderOf names the program that writes messages such as payload, as far as it can be recognised.
func senderOf(payload []byte) string {
	if bytes.HasPrefix(payload, []byte("\x80")) && bytes.HasSuffix(payload, []byte(".")) {
		return "a Python pickle: python-socketio's RedisManager of an old version speaks another protocol"
	}
	v := look(payload)
	switch has := func(key string) bool { return v.Get(key).Present() }; {
	case has("method"):
		return "python-socketio's RedisManager, which speaks another protocol"
	case has("type") && has("uid") && has("nsp"):
		return "a server or emitter of the sharded or streams adapter"
	case has("type") && (has("requestId") || has("requestid") || has("uid")):
		return "a server or emitter of the classic adapter"
	case v.Kind() == wire.Array && nth(v, 1).Kind() == wire.Map:
		return "a server or emitter of the classic adapter"
	case bytes.HasPrefix(payload, []byte("{")), bytes.HasPrefix(payload, []byte("[")):
		return "a program that publishes JSON of its own"
	case len(payload) > 0 && payload[0] >= ' ' && utf8.Valid(payload):
		return "a program that publishes text of its own"
	}
	return "unknown"
}

// signatureOf returns how a sender signed payload: a server's id, or "emitter". It is empty if it did not.
func signatureOf(payload []byte) string {
	const maxSignature = 32
	v := look(payload)
	signs := []wire.Value{v.Get("uid"), v.Get("host_id")}
	if nth(v, 1).Get("data").Present() { // a classic broadcast
		signs = append(signs, nth(v, 0))
	}
	for _, sign := range signs {
		if sign.Kind() == wire.String {
			s := sign.Text()
			return s[:min(len(s), maxSignature)]
		}
	}
	return ""
}

// shapeOf describes payload without its contents: the keys and kinds of values, or the first bytes.
func shapeOf(payload []byte) string {
	const maxBytes = 8
	switch v := look(payload); v.Kind() {
	case wire.Map, wire.Array:
		return shape(v, 2)
	}
	return fmt.Sprintf("begins with %x", payload[:min(len(payload), maxBytes)])
}

// shape describes v down to a depth.
func shape(v wire.Value, depth int) string {
	const maxParts, maxKey = 10, 32
	var parts []string
	add := func(s string) bool {
		if len(parts) == maxParts {
			parts = append(parts, "...")
			return false
		}
		parts = append(parts, s)
		return true
	}
	switch {
	case v.Kind() == wire.Map && depth > 0:
		for k := range v.Fields() {
			key := k.Text()
			if !add(key[:min(len(key), maxKey)]) {
				break
			}
		}
		return "map{" + strings.Join(parts, ", ") + "}"
	case v.Kind() == wire.Array && depth > 0:
		for e := range v.Elems() {
			if !add(shape(e, depth-1)) {
				break
			}
		}
		return "array[" + strings.Join(parts, ", ") + "]"
	}
	return v.Kind().String()
}

// look parses payload. A value that can't be parsed, or is not worth it, is undefined.
func look(payload []byte) wire.Value {
	if len(payload) > maxLooked {
		return wire.Value{}
	}
	v, err := wire.Parse(payload)
	if err != nil {
		return wire.Value{}
	}
	return v
}

// nth returns element i of an array, or undefined.
func nth(v wire.Value, i int) wire.Value {
	if v.Kind() == wire.Array {
		for e := range v.Elems() {
			if i--; i < 0 {
				return e
			}
		}
	}
	return wire.Value{}
}
