package wire

import (
	"encoding/binary"
	"math"
)

var nan = math.NaN()

// head is the decoded first byte of a msgpack value and the length that follows it.
type head struct {
	kind Kind
	typ  int8 // of an extension
	size int  // bytes of the head
	n    int  // bytes after the head; of Array and Map, the number of elements or of pairs
	ok   bool
}

// readHead reads the head at the beginning of b. It checks that the head is complete, not that the rest is there.
func readHead(b []byte) head {
	if len(b) == 0 {
		return head{}
	}
	switch c := b[0]; {
	case c < 0x80, c >= 0xe0:
		return head{kind: Number, size: 1, ok: true}
	case c < 0x90:
		return head{kind: Map, size: 1, n: int(c & 0x0f), ok: true}
	case c < 0xa0:
		return head{kind: Array, size: 1, n: int(c & 0x0f), ok: true}
	case c < 0xc0:
		return head{kind: String, size: 1, n: int(c & 0x1f), ok: true}
	case c == 0xc0:
		return head{kind: Null, size: 1, ok: true}
	case c == 0xc2, c == 0xc3:
		return head{kind: Bool, size: 1, ok: true}
	case c >= 0xc4 && c <= 0xc6:
		return lengthHead(b, Binary, 1<<(c-0xc4))
	case c >= 0xc7 && c <= 0xc9:
		return extHead(b, 1<<(c-0xc7))
	case c == 0xca:
		return head{kind: Number, size: 1, n: 4, ok: true}
	case c == 0xcb:
		return head{kind: Number, size: 1, n: 8, ok: true}
	case c >= 0xcc && c <= 0xcf:
		return head{kind: Number, size: 1, n: 1 << (c - 0xcc), ok: true}
	case c >= 0xd0 && c <= 0xd3:
		return head{kind: Number, size: 1, n: 1 << (c - 0xd0), ok: true}
	case c >= 0xd4 && c <= 0xd8:
		return fixExtHead(b, 1<<(c-0xd4))
	case c >= 0xd9 && c <= 0xdb:
		return lengthHead(b, String, 1<<(c-0xd9))
	case c == 0xdc, c == 0xdd:
		return lengthHead(b, Array, 2<<(c-0xdc))
	case c == 0xde, c == 0xdf:
		return lengthHead(b, Map, 2<<(c-0xde))
	}
	return head{} // 0xc1 is not used
}

// lengthHead reads a length of width bytes.
func lengthHead(b []byte, kind Kind, width int) head {
	if len(b) < 1+width {
		return head{}
	}
	return head{kind: kind, size: 1 + width, n: int(bigEndian(b[1 : 1+width])), ok: true}
}

func extHead(b []byte, width int) head {
	h := lengthHead(b, Ext, width)
	if !h.ok || len(b) < h.size+1 {
		return head{}
	}
	h.typ = int8(b[h.size])
	h.size++
	switch {
	case h.typ == 0:
		h.kind = Binary // an ArrayBuffer of notepack 2.2
	case h.typ == -1 && b[0] == 0xc7:
		// Node reads 12 bytes whatever the length says; another length is left to be an unknown extension.
		if h.n == 12 {
			h.kind = Date
		}
	}
	return h
}

func fixExtHead(b []byte, n int) head {
	if len(b) < 2 {
		return head{}
	}
	h := head{kind: Ext, typ: int8(b[1]), size: 2, n: n, ok: true}
	switch {
	case h.typ == 0 && n == 1:
		h.kind = Undefined
	case h.typ == 0 && n == 8, h.typ == -1 && (n == 4 || n == 8):
		h.kind = Date
	}
	return h
}

// checkMsgpack checks the value at the beginning of b and returns its length. Depth is what recursion is left; every
// declared length is compared with the bytes that are there before anything is done with it.
func checkMsgpack(b []byte, depth int) (int, error) {
	h := readHead(b)
	if !h.ok {
		return 0, &Error{Malformed, "msgpack head"}
	}
	if h.n > len(b)-h.size {
		return 0, &Error{Malformed, "msgpack truncated"}
	}
	if h.kind != Array && h.kind != Map {
		return h.size + h.n, nil
	}
	if depth == 0 {
		return 0, &Error{TooDeep, "msgpack"}
	}
	at, elems := h.size, h.n
	if h.kind == Map {
		elems *= 2
	}
	for range elems {
		n, err := checkMsgpack(b[at:], depth-1)
		if err != nil {
			return 0, err
		}
		at += n
	}
	return at, nil
}

// skip returns the length of the value at the beginning of checked bytes.
func skip(b []byte) int {
	at := 0
	for todo := 1; todo > 0; todo-- {
		switch c := b[at]; { // the shortest forms are most of what there is
		case c < 0x80, c >= 0xe0, c == 0xc0, c == 0xc2, c == 0xc3:
			at++
			continue
		case c >= 0xa0 && c < 0xc0:
			at += 1 + int(c&0x1f)
			continue
		}
		h := readHead(b[at:])
		at += h.size
		switch h.kind {
		case Array:
			todo += h.n
		case Map:
			todo += 2 * h.n
		default:
			at += h.n
		}
	}
	return at
}

// msgpackKind is the kind of a value by its first byte. An extension's is in its head.
func msgpackKind(b []byte) Kind {
	switch c := b[0]; {
	case c < 0x80, c >= 0xe0:
		return Number
	case c < 0x90:
		return Map
	case c < 0xa0:
		return Array
	case c < 0xc0:
		return String
	}
	return readHead(b).kind
}

// integer returns the integer whose head is h, in one of two types, and false if the number is none.
func (h head) integer(b []byte) (i int64, u uint64, isInt bool) {
	p := b[h.size : h.size+h.n]
	switch c := b[0]; {
	case c < 0x80:
		return int64(c), 0, true
	case c >= 0xe0:
		return int64(int8(c)), 0, true
	case c >= 0xcc && c <= 0xcf:
		if x := bigEndian(p); x > math.MaxInt64 {
			return 0, x, true
		} else {
			return int64(x), 0, true
		}
	case c >= 0xd0 && c <= 0xd3:
		x := int64(bigEndian(p))
		shift := 64 - 8*h.n
		return x << shift >> shift, 0, true
	}
	return 0, 0, false
}

func (h head) float(b []byte) float64 {
	p := b[h.size : h.size+h.n]
	switch b[0] {
	case 0xca:
		return float64(math.Float32frombits(binary.BigEndian.Uint32(p)))
	case 0xcb:
		return math.Float64frombits(binary.BigEndian.Uint64(p))
	}
	i, u, _ := h.integer(b)
	if u != 0 {
		return float64(u)
	}
	return float64(i)
}

// millis returns the Unix time in ms of a Date, not necessarily one that JavaScript can hold.
func (h head) millis(b []byte) float64 {
	p := b[h.size : h.size+h.n]
	switch {
	case h.typ == 0:
		return float64(int64(binary.BigEndian.Uint64(p)))
	case h.n == 4:
		return float64(binary.BigEndian.Uint32(p)) * 1e3
	case h.n == 8:
		x := binary.BigEndian.Uint64(p)
		return float64(x&(1<<34-1))*1e3 + float64(x>>34)/1e6
	default:
		return float64(int64(binary.BigEndian.Uint64(p[4:])))*1e3 + float64(binary.BigEndian.Uint32(p))/1e6
	}
}

func bigEndian(p []byte) uint64 {
	var x uint64
	for _, c := range p {
		x = x<<8 | uint64(c)
	}
	return x
}
