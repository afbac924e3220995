package wire

import (
	"encoding/json"
	"math"
	"strconv"

	"github.com/architus/guildcast/internal/js"
)

// AppendJSON appends v as the JSON text that JSON.stringify and socket.io-parser would make of it: each
// binary value is appended to *attachments and replaced by a numbered placeholder. With nil attachments, binary
// becomes {"type":"Buffer","data":[...]}, as Node's Buffer.toJSON does. An undefined v becomes null. JSON is copied as
// it is. The attachments alias the payload.
func (v Value) AppendJSON(dst []byte, attachments *[][]byte) []byte {
	if v.json {
		return append(dst, v.b...)
	}
	if len(v.b) == 0 {
		return append(dst, "null"...)
	}
	w := jsonWriter{dst, attachments}
	w.value(v.b)
	return w.dst
}

type jsonWriter struct {
	dst         []byte
	attachments *[][]byte
}

// value writes the value at the beginning of b and returns its length. It goes over the bytes once.
func (w *jsonWriter) value(b []byte) int {
	h := readHead(b)
	end := h.size + h.n
	switch h.kind {
	case Array:
		return w.array(b, h)
	case Map:
		return w.object(b, h)
	case Bool:
		w.dst = strconv.AppendBool(w.dst, b[0] == 0xc3)
	case Number:
		w.dst = Value{b: b[:end]}.appendNumber(w.dst)
	case String:
		w.dst = js.AppendBytes(w.dst, b[h.size:end])
	case Binary:
		w.binary(b[h.size:end:end])
	case Date:
		if text := dateText(h.millis(b)); text != "" {
			w.dst = append(append(append(w.dst, '"'), text...), '"')
		} else {
			w.dst = append(w.dst, "null"...)
		}
	case Ext:
		w.dst = append(strconv.AppendInt(append(w.dst, '['), int64(h.typ), 10), ',')
		w.binary(b[h.size:end:end])
		w.dst = append(w.dst, ']')
	default:
		w.dst = append(w.dst, "null"...)
	}
	return end
}

func (w *jsonWriter) array(b []byte, h head) int {
	w.dst = append(w.dst, '[')
	at := h.size
	for i := range h.n {
		if i > 0 {
			w.dst = append(w.dst, ',')
		}
		at += w.value(b[at:])
	}
	w.dst = append(w.dst, ']')
	return at
}

func (w *jsonWriter) object(b []byte, h head) int {
	w.dst = append(w.dst, '{')
	at, first := h.size, true
	for range h.n {
		key := Value{b: b[at : at+skip(b[at:])]}
		at += len(key.b)
		if readHead(b[at:]).kind == Undefined || key.isProto() { // neither becomes a property
			at += skip(b[at:])
			continue
		}
		if !first {
			w.dst = append(w.dst, ',')
		}
		first = false
		if key.Kind() == String {
			w.dst = js.AppendBytes(w.dst, key.b[readHead(key.b).size:])
		} else {
			w.dst = js.AppendBytes(w.dst, []byte(key.Text()))
		}
		w.dst = append(w.dst, ':')
		at += w.value(b[at:])
	}
	w.dst = append(w.dst, '}')
	return at
}

// isProto reports whether a key, as text, names what JavaScript does not keep as a property.
func (v Value) isProto() bool {
	return v.Is("__proto__") || v.Kind() == Array && v.Text() == "__proto__"
}

func (w *jsonWriter) binary(p []byte) {
	if w.attachments == nil {
		w.dst = append(w.dst, `{"type":"Buffer","data":[`...)
		for i, c := range p {
			if i > 0 {
				w.dst = append(w.dst, ',')
			}
			w.dst = strconv.AppendUint(w.dst, uint64(c), 10)
		}
		w.dst = append(w.dst, "]}"...)
		return
	}
	w.dst = append(w.dst, `{"_placeholder":true,"num":`...)
	w.dst = strconv.AppendInt(w.dst, int64(len(*w.attachments)), 10)
	w.dst = append(w.dst, '}')
	*w.attachments = append(*w.attachments, p)
}

// Go returns v as Go values, of the types that encoding/json decodes to: map[string]any, []any, string, bool, nil, and
// float64; an integer that float64 can't hold is int64 or uint64. A date is a string and NaN is nil, as for a client.
// Binary goes through bin, or is a []byte that aliases the payload if bin is nil.
func (v Value) Go(bin func([]byte) any) any {
	if len(v.b) == 0 {
		return nil
	}
	if v.json {
		var x any
		if json.Unmarshal(v.b, &x) != nil {
			return nil // a number that float64 can't hold; JavaScript would have Infinity
		}
		return x
	}
	x, _ := goReader{bin}.value(v.b)
	return x
}

type goReader struct{ bin func([]byte) any }

func (r goReader) value(b []byte) (any, int) {
	h := readHead(b)
	end := h.size + h.n
	switch h.kind {
	case Array:
		return r.array(b, h)
	case Map:
		return r.object(b, h)
	case Bool:
		return b[0] == 0xc3, end
	case Number:
		return h.number(b), end
	case String:
		return js.Text(b[h.size:end]), end
	case Binary:
		return r.binary(b[h.size:end:end]), end
	case Date:
		if text := dateText(h.millis(b)); text != "" {
			return text, end
		}
		return nil, end
	case Ext:
		return []any{float64(h.typ), r.binary(b[h.size:end:end])}, end
	}
	return nil, end
}

func (r goReader) array(b []byte, h head) (any, int) {
	out := make([]any, h.n)
	at := h.size
	for i := range out {
		x, n := r.value(b[at:])
		out[i] = x
		at += n
	}
	return out, at
}

func (r goReader) object(b []byte, h head) (any, int) {
	out := make(map[string]any, h.n)
	at := h.size
	for range h.n {
		key := Value{b: b[at : at+skip(b[at:])]}
		at += len(key.b)
		if readHead(b[at:]).kind == Undefined || key.isProto() {
			at += skip(b[at:])
			continue
		}
		x, n := r.value(b[at:])
		out[key.Text()] = x
		at += n
	}
	return out, at
}

func (r goReader) binary(p []byte) any {
	if r.bin != nil {
		return r.bin(p)
	}
	return p
}

// number returns the Number at b as float64, as an integer if float64 would round it, or nil if it is no number.
func (h head) number(b []byte) any {
	const exact = 1 << 53
	i, u, isInt := h.integer(b)
	switch {
	case !isInt:
		if f := h.float(b); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f
		}
		return nil
	case u != 0:
		return u
	case i > exact || i < -exact:
		return i
	}
	return float64(i)
}
