package wire

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// The functions here walk JSON text that json.Valid has accepted.

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

// jsonDepth is the nesting of text, which need not be valid.
func jsonDepth(text []byte) int {
	depth, deepest := 0, 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			i += jsonString(text[i:]) - 1
		case '[', '{':
			depth++
			deepest = max(deepest, depth)
		case ']', '}':
			depth--
		}
	}
	return deepest
}

// jsonString is the length of the string literal at the beginning of b.
func jsonString(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}

// jsonSkip is the length of the value at the beginning of b, which has no leading space.
func jsonSkip(b []byte) int {
	switch b[0] {
	case '"':
		return jsonString(b)
	case '{', '[':
		depth := 0
		for i := 0; i < len(b); i++ {
			switch b[i] {
			case '"':
				i += jsonString(b[i:]) - 1
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
		return len(b)
	}
	if i := bytes.IndexAny(b, ",]} \t\r\n"); i >= 0 {
		return i
	}
	return len(b)
}

// jsonElement returns b from its next value on, without the space and the separator before it. Where a bracket closes
// instead, it returns what follows that, and false.
func jsonElement(b []byte) ([]byte, bool) {
	for i, c := range b {
		switch c {
		case ' ', '\t', '\r', '\n', ',', ':':
		case ']', '}':
			return b[i+1:], false
		default:
			return b[i:], true
		}
	}
	return nil, false
}

func jsonElems(b []byte, yield func(Value) bool) {
	for rest, more := jsonElement(b[1:]); more; {
		n := jsonSkip(rest)
		if !yield(Value{rest[:n:n], true}) {
			return
		}
		rest, more = jsonElement(rest[n:])
	}
}

func jsonFields(b []byte, yield func(Value, Value) bool) {
	for rest, more := jsonElement(b[1:]); more; {
		k := jsonSkip(rest)
		val, _ := jsonElement(rest[k:])
		n := jsonSkip(val)
		if !yield(Value{rest[:k:k], true}, Value{val[:n:n], true}) {
			return
		}
		rest, more = jsonElement(val[n:])
	}
}

// jsonNumber returns what JSON.parse makes of a number literal (Infinity beyond the range of float64).
func jsonNumber(b []byte) float64 {
	f, _ := strconv.ParseFloat(string(b), 64)
	return f
}

func jsonText(b []byte) string {
	if bytes.IndexByte(b, '\\') < 0 {
		return string(b[1 : len(b)-1])
	}
	var s string
	if json.Unmarshal(b, &s) != nil {
		return ""
	}
	return s
}
