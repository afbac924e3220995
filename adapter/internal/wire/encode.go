package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"

	"github.com/architus/guildcast/internal/js"
)

// Object is a map that is written in this order. Peers do not care; tests that compare bytes do.
type Object []Field

// Field of an Object.
type Field struct {
	Key   string
	Value any
}

var errDepth = errors.New("value nested too deep, or in a cycle")

// AppendMsgpack appends v as notepack.io would encode the JavaScript value that a client receives for v: integers in
// the shortest form, also those that come as floats; []byte and io.Reader as binary (a reader is read to its end). What
// is not of a basic type goes through encoding/json, so that v reaches the clients of other servers as it reaches those
// of this one, whom package engine serves: nil slices and maps are null, NaN is an error, and a time.Time is text, as
// msgpack's timestamps are unknown to version 7 of Node's adapter. Map keys are sorted.
func AppendMsgpack(dst []byte, v any) ([]byte, error) { return appendMsgpack(dst, v, MaxDepth) }

// appendMsgpack appends v, in which arrays and maps may be nested to depth, as Parse counts it.
func appendMsgpack(dst []byte, v any, depth int) ([]byte, error) {
	switch x := v.(type) {
	case nil:
		return msgp.AppendNil(dst), nil
	case string:
		return appendString(dst, x), nil
	case bool:
		return msgp.AppendBool(dst, x), nil
	case int:
		return appendInt(dst, int64(x)), nil
	case int64:
		return appendInt(dst, x), nil
	case uint64:
		return msgp.AppendUint64(dst, x), nil
	case float64:
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return dst, fmt.Errorf("number %v is no JSON", x)
		}
		return appendFloat64(dst, x), nil
	case []byte:
		return msgp.AppendBytes(dst, x), nil
	case Value:
		return appendRaw(dst, x, depth)
	case []any:
		return appendArray(dst, x, depth)
	case []string:
		if x == nil {
			return msgp.AppendNil(dst), nil
		}
		dst = msgp.AppendArrayHeader(dst, uint32(len(x)))
		for _, s := range x {
			dst = appendString(dst, s)
		}
		return dst, nil
	case map[string]any:
		return appendMap(dst, x, depth)
	case Object:
		return appendObject(dst, x, depth)
	}
	return appendOther(dst, v, depth)
}

// appendOther handles the rarer types.
func appendOther(dst []byte, v any, depth int) ([]byte, error) {
	switch x := v.(type) {
	case int8:
		return appendInt(dst, int64(x)), nil
	case int16:
		return appendInt(dst, int64(x)), nil
	case int32:
		return appendInt(dst, int64(x)), nil
	case uint:
		return msgp.AppendUint64(dst, uint64(x)), nil
	case uint8:
		return msgp.AppendUint64(dst, uint64(x)), nil
	case uint16:
		return msgp.AppendUint64(dst, uint64(x)), nil
	case uint32:
		return msgp.AppendUint64(dst, uint64(x)), nil
	case io.Reader:
		return appendReader(dst, x, depth)
	}
	return appendMarshalled(dst, v, depth)
}

// appendReader appends what r holds. A buffer need not be consumed.
func appendReader(dst []byte, r io.Reader, depth int) ([]byte, error) {
	switch x := r.(type) {
	case textBuffer:
		return appendMarshalled(dst, x, depth)
	case interface{ Bytes() []byte }:
		if !isNil(r) {
			return msgp.AppendBytes(dst, x.Bytes()), nil
		}
	}
	v, err := ReadAll(r)
	if err != nil {
		return dst, err
	}
	return appendMsgpack(dst, v, depth)
}

// ReadAll reads r to its end, and closes it if it can be closed. It returns what a client gets: text for a
// strings.Reader, as socket.io-go-parser has it, nil for a nil pointer, and else binary.
func ReadAll(r io.Reader) (any, error) {
	if isNil(r) {
		return nil, nil
	}
	if c, ok := r.(io.Closer); ok {
		defer c.Close() // read only: nothing to lose
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read binary value: %w", err)
	}
	if _, ok := r.(*strings.Reader); ok {
		return string(b), nil
	}
	return b, nil
}

// textBuffer is a buffer of text that encodes itself as JSON. The library's StringBuffer is one: this package knows it
// by its methods, so that programs that only send need not link the library.
type textBuffer interface {
	io.Reader
	Bytes() []byte
	json.Marshaler
}

// isNil reports whether r is a nil pointer, or wraps nothing but one, as a BytesBuffer of the library can.
func isNil(r io.Reader) bool {
	p := reflect.ValueOf(r)
	if p.Kind() != reflect.Pointer || p.IsNil() {
		return p.Kind() == reflect.Pointer
	}
	s := p.Elem()
	if s.Kind() != reflect.Struct || s.NumField() != 1 || !s.Type().Field(0).Anonymous {
		return false
	}
	return s.Field(0).Kind() == reflect.Pointer && s.Field(0).IsNil()
}

func appendMarshalled(dst []byte, v any, depth int) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return dst, err
	}
	if !utf8.Valid(text) { // a json.Marshaler's text is only checked to be JSON
		text = []byte(string([]rune(string(text))))
	}
	return appendRaw(dst, Value{bytes.TrimSpace(text), true}, depth)
}

// appendRaw appends a checked value; JSON is turned into msgpack.
func appendRaw(dst []byte, v Value, depth int) ([]byte, error) {
	if !v.json {
		if len(v.b) == 0 {
			return msgp.AppendNil(dst), nil
		}
		return append(dst, v.b...), nil
	}
	if k := v.Kind(); k == Map || k == Array {
		dst, _, err := appendJSONContainer(dst, v.b, 0, depth)
		return dst, err
	}
	return appendJSONScalar(dst, v), nil
}

func appendJSONScalar(dst []byte, v Value) []byte {
	switch v.Kind() {
	case String:
		return msgp.AppendString(dst, v.Text())
	case Number:
		return appendNumeral(dst, string(v.b))
	case Bool:
		return msgp.AppendBool(dst, v.Truthy())
	default:
		return msgp.AppendNil(dst)
	}
}

// appendJSONContainer appends the JSON array or object that begins at at as msgpack, in the same order. It reads the
// text once: it knows the number of elements only at the end. It returns the position after the container.
func appendJSONContainer(dst, text []byte, at, depth int) (_ []byte, end int, err error) {
	if depth == 0 {
		return dst, 0, errDepth
	}
	object := text[at] == '{'
	start, n := len(dst), uint32(0)
	for at++; ; n++ {
		var more bool
		if at, more = js.Next(text, at); !more {
			break
		}
		if object {
			k := js.SkipString(text, at)
			dst = msgp.AppendString(dst, jsonText(text[at:k]))
			at, _ = js.Next(text, k)
		}
		if text[at] == '{' || text[at] == '[' {
			if dst, at, err = appendJSONContainer(dst, text, at, depth-1); err != nil {
				return dst, 0, err
			}
			continue
		}
		k := js.SkipValue(text, at)
		dst = appendJSONScalar(dst, Value{text[at:k], true})
		at = k
	}
	head := msgp.AppendArrayHeader
	if object {
		head = msgp.AppendMapHeader
	}
	var space [5]byte
	return slices.Insert(dst, start, head(space[:0], n)...), at, nil
}

func appendArray(dst []byte, x []any, depth int) (_ []byte, err error) {
	if x == nil {
		return msgp.AppendNil(dst), nil
	}
	if depth == 0 {
		return dst, errDepth
	}
	dst = msgp.AppendArrayHeader(dst, uint32(len(x)))
	for _, e := range x {
		if dst, err = appendMsgpack(dst, e, depth-1); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

func appendMap(dst []byte, x map[string]any, depth int) (_ []byte, err error) {
	if x == nil {
		return msgp.AppendNil(dst), nil
	}
	if depth == 0 {
		return dst, errDepth
	}
	dst = msgp.AppendMapHeader(dst, uint32(len(x)))
	for _, k := range sortedKeys(x) {
		if dst, err = appendMsgpack(appendString(dst, k), x[k], depth-1); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

func appendObject(dst []byte, x Object, depth int) (_ []byte, err error) {
	if depth == 0 {
		return dst, errDepth
	}
	dst = msgp.AppendMapHeader(dst, uint32(len(x)))
	for _, f := range x {
		if dst, err = appendMsgpack(msgp.AppendString(dst, f.Key), f.Value, depth-1); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// appendString appends s. Each byte that is no UTF-8 becomes U+FFFD, as encoding/json has it: a peer would make one of
// several.
func appendString(dst []byte, s string) []byte {
	if !utf8.ValidString(s) {
		s = string([]rune(s))
	}
	return msgp.AppendString(dst, s)
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// appendInt appends i in notepack's form: unsigned if it is not negative.
func appendInt(dst []byte, i int64) []byte {
	if i >= 0 {
		return msgp.AppendUint64(dst, uint64(i))
	}
	return msgp.AppendInt64(dst, i)
}

// appendFloat64 appends f as an integer if it is one, as a JavaScript number has no other type.
func appendFloat64(dst []byte, f float64) []byte {
	if f == math.Trunc(f) && math.Abs(f) <= 1<<53 {
		return appendInt(dst, int64(f))
	}
	return msgp.AppendFloat64(dst, f)
}

// appendNumeral appends a number from JSON text.
func appendNumeral(dst []byte, s string) []byte {
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return appendInt(dst, i)
	}
	if u, err := strconv.ParseUint(s, 10, 64); err == nil {
		return msgp.AppendUint64(dst, u)
	}
	return appendFloat64(dst, jsonNumber([]byte(s)))
}

// AppendJSON appends v as JSON.stringify would: like AppendMsgpack, with binary as {"type":"Buffer","data":[...]}.
func AppendJSON(dst []byte, v any) ([]byte, error) {
	b, err := AppendMsgpack(nil, v)
	if err != nil {
		return dst, err
	}
	return Value{b: b}.AppendJSON(dst, nil), nil
}

// HasBinary reports whether AppendMsgpack would write binary for v.
func HasBinary(v any) bool { return hasBinary(v, MaxDepth) }

func hasBinary(v any, depth int) bool {
	if depth == 0 {
		return false
	}
	switch x := v.(type) {
	case nil, string, bool, float64, int, int64, *strings.Reader, textBuffer:
		return false
	case []byte:
		return true
	case []any:
		return slices.ContainsFunc(x, func(e any) bool { return hasBinary(e, depth-1) })
	case map[string]any:
		for _, e := range x {
			if hasBinary(e, depth-1) {
				return true
			}
		}
		return false
	case Object:
		return slices.ContainsFunc(x, func(f Field) bool { return hasBinary(f.Value, depth-1) })
	case Value:
		return x.HasBinary()
	case io.Reader:
		return !isNil(x)
	}
	return false
}

// HasBinary reports whether v holds a binary value.
func (v Value) HasBinary() bool {
	if v.json {
		return false
	}
	for at := 0; at < len(v.b); {
		h := readHead(v.b[at:])
		if h.kind == Binary || h.kind == Ext {
			return true
		}
		at += h.size
		if h.kind != Array && h.kind != Map {
			at += h.n
		}
	}
	return false
}
