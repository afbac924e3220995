package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"iter"
	"unicode/utf8"

	"github.com/architus/guildcast/internal/js"
)

// Limits of Parse.
const (
	// MaxDepth of nested arrays and maps. Node.js throws at some thousands.
	MaxDepth = 1024
	// MaxSize of a payload in bytes. Redis itself drops a subscriber that has more than 32 MB outstanding.
	MaxSize = 32 << 20
	// MaxAttachments of one packet: every attachment is a WebSocket frame of its own for each client.
	MaxAttachments = 10_000
)

// Kind of a Value, as JavaScript sees it.
type Kind uint8

// The kinds. The zero Value is Undefined, as is an absent field.
const (
	Undefined Kind = iota
	Null
	Bool
	Number
	String
	Binary
	Date
	Ext // a msgpack extension that has no meaning here: [type, binary] in JavaScript
	Array
	Map
)

func (k Kind) String() string {
	names := [...]string{
		"undefined", "null", "bool", "number", "string", "binary", "date", "extension", "array", "map",
	}
	if int(k) < len(names) {
		return names[k]
	}
	return "unknown"
}

// Value is a checked view of one msgpack or JSON value. It aliases the payload given to Parse and is valid as long as
// that is. The zero Value is undefined.
type Value struct {
	b    []byte // exactly the bytes of the value
	json bool
}

// Parse checks payload, which is JSON when it begins with '{' or '[' and msgpack otherwise, and returns its value. It
// needs no memory beyond the result. The error is an *Error.
func Parse(payload []byte) (Value, error) {
	if len(payload) > MaxSize {
		return Value{}, &Error{TooLarge, "payload"}
	}
	if len(payload) > 0 && (payload[0] == '{' || payload[0] == '[') {
		return parseJSON(payload)
	}
	n, err := checkMsgpack(payload, MaxDepth)
	if err != nil {
		return Value{}, err
	}
	if n != len(payload) {
		return Value{}, &Error{Malformed, "trailing bytes"}
	}
	return Value{b: payload}, nil
}

func parseJSON(payload []byte) (Value, error) {
	if !utf8.Valid(payload) {
		payload = []byte(js.Text(payload))
	}
	if js.Depth(payload) > MaxDepth {
		return Value{}, &Error{TooDeep, "JSON"}
	}
	if !json.Valid(payload) {
		return Value{}, &Error{Malformed, "JSON"}
	}
	return Value{b: bytes.TrimSpace(payload), json: true}, nil
}

// ReasonOf returns the reason of an error of this package.
func ReasonOf(err error) Reason {
	if e := (*Error)(nil); errors.As(err, &e) {
		return e.Reason
	}
	return Malformed
}

// Kind of v.
func (v Value) Kind() Kind {
	switch {
	case len(v.b) == 0:
		return Undefined
	case v.json:
		return jsonKind(v.b[0])
	}
	return msgpackKind(v.b)
}

// Present reports whether v is neither undefined nor null.
func (v Value) Present() bool { k := v.Kind(); return k != Undefined && k != Null }

// Truthy is JavaScript's Boolean(v).
func (v Value) Truthy() bool {
	switch v.Kind() {
	case Undefined, Null:
		return false
	case Bool:
		return v.b[0] == 't' && v.json || v.b[0] == 0xc3 && !v.json
	case Number:
		f := v.Float()
		return f == f && f != 0
	case String:
		return v.Text() != ""
	default:
		return true
	}
}

// Float is the number v, and NaN if v is none.
func (v Value) Float() float64 {
	if v.Kind() != Number {
		return nan
	}
	if v.json {
		return jsonNumber(v.b)
	}
	return readHead(v.b).float(v.b)
}

// Is reports whether v is the string s, or binary with the same bytes (a map key that a Python 3 emitter wrote).
func (v Value) Is(s string) bool {
	switch v.Kind() {
	case String:
		if v.json {
			raw := v.b[1 : len(v.b)-1]
			return string(raw) == s || bytes.IndexByte(raw, '\\') >= 0 && v.Text() == s
		}
		return string(v.b[readHead(v.b).size:]) == s
	case Binary:
		return string(v.Bytes()) == s
	}
	return false
}

// Bytes of a Binary; nil if v is none. It aliases the payload.
func (v Value) Bytes() []byte {
	if v.Kind() != Binary {
		return nil
	}
	return v.b[readHead(v.b).size:]
}

// Elems yields the elements of an Array, and nothing if v is none.
func (v Value) Elems() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		if v.Kind() != Array {
			return
		}
		if v.json {
			for e := range js.Elements(v.b) {
				if !yield(Value{e, true}) {
					return
				}
			}
			return
		}
		h := readHead(v.b)
		rest := v.b[h.size:]
		for i := range h.n {
			n := len(rest) // the last element is what is left
			if i < h.n-1 {
				n = skip(rest)
			}
			if !yield(Value{b: rest[:n:n]}) {
				return
			}
			rest = rest[n:]
		}
	}
}

// Fields yields keys and values of a Map in the order of the wire, and nothing if v is none. A key may come twice;
// as in JavaScript, the last one counts.
func (v Value) Fields() iter.Seq2[Value, Value] {
	return func(yield func(Value, Value) bool) {
		if v.Kind() != Map {
			return
		}
		if v.json {
			for k, f := range js.Fields(v.b) {
				if !yield(Value{k, true}, Value{f, true}) {
					return
				}
			}
			return
		}
		h := readHead(v.b)
		rest := v.b[h.size:]
		for i := range h.n {
			k := skip(rest)
			n := len(rest) - k
			if i < h.n-1 {
				n = skip(rest[k:])
			}
			if !yield(Value{b: rest[:k:k]}, Value{b: rest[k : k+n : k+n]}) {
				return
			}
			rest = rest[k+n:]
		}
	}
}

// Get returns the field of a Map by name, undefined if there is none.
func (v Value) Get(name string) Value {
	var found Value
	for k, f := range v.Fields() {
		if k.Is(name) {
			found = f
		}
	}
	return found
}

func jsonKind(c byte) Kind {
	switch c {
	case '{':
		return Map
	case '[':
		return Array
	case '"':
		return String
	case 't', 'f':
		return Bool
	case 'n':
		return Null
	}
	return Number
}
