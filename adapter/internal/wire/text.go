package wire

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Text is JavaScript's String(v); a Date is given in its JSON form.
func (v Value) Text() string {
	switch v.Kind() {
	case Undefined:
		return "undefined"
	case Null:
		return "null"
	case Bool:
		return strconv.FormatBool(v.Truthy())
	case Number:
		return string(v.appendNumber(nil))
	case String:
		if v.json {
			return jsonText(v.b)
		}
		return toUTF8(v.b[readHead(v.b).size:])
	case Binary:
		return toUTF8(v.Bytes())
	case Date:
		return dateText(readHead(v.b).millis(v.b))
	case Array:
		return v.join()
	default:
		return "[object Object]"
	}
}

// join is Array.prototype.join: a null element is empty. Nobody means an array to be a map key; a long one is not worth
// the work, which grows with size times depth.
func (v Value) join() string {
	if len(v.b) > 256 {
		return "[object Array]"
	}
	var parts []string
	for e := range v.Elems() {
		if e.Present() {
			parts = append(parts, e.Text())
		} else {
			parts = append(parts, "")
		}
	}
	return strings.Join(parts, ",")
}

// appendNumber appends a Number as JSON.stringify does, except that an integer beyond 2^53 keeps its digits.
func (v Value) appendNumber(dst []byte) []byte {
	if v.json {
		return append(dst, v.b...)
	}
	h := readHead(v.b)
	switch i, u, isInt := h.integer(v.b); {
	case isInt && u != 0:
		return strconv.AppendUint(dst, u, 10)
	case isInt:
		return strconv.AppendInt(dst, i, 10)
	}
	return appendFloat(dst, h.float(v.b))
}

// appendFloat appends f as ECMAScript's Number::toString does; NaN and infinities are null in JSON.
func appendFloat(dst []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(dst, "null"...)
	}
	if f == 0 {
		return append(dst, '0')
	}
	if abs := math.Abs(f); abs >= 1e-6 && abs < 1e21 {
		return strconv.AppendFloat(dst, f, 'f', -1, 64)
	}
	dst = strconv.AppendFloat(dst, f, 'e', -1, 64)
	if n := len(dst); dst[n-4] == 'e' && dst[n-2] == '0' { // 1e-07 is 1e-7 in JavaScript
		dst[n-2] = dst[n-1]
		dst = dst[:n-1]
	}
	return dst
}

const maxDateMillis = 8.64e15 // ECMAScript's limit

// dateText is Date.prototype.toJSON, empty for an invalid date.
func dateText(ms float64) string {
	ms = math.Trunc(ms)
	if !(math.Abs(ms) <= maxDateMillis) {
		return ""
	}
	t := time.UnixMilli(int64(ms)).UTC()
	if y := t.Year(); y < 0 || y > 9999 {
		return fmt.Sprintf("%+07d", y) + t.Format("-01-02T15:04:05.000Z")
	}
	return t.Format("2006-01-02T15:04:05.000Z")
}

// toUTF8 is Buffer.toString: every maximal part of an ill-formed sequence becomes one U+FFFD.
func toUTF8(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	out := make([]byte, 0, len(b)+8)
	for len(b) > 0 {
		if r, n := utf8.DecodeRune(b); r != utf8.RuneError || n > 1 {
			out, b = append(out, b[:n]...), b[n:]
			continue
		}
		out, b = append(out, "\uFFFD"...), b[illFormed(b):]
	}
	return string(out)
}

// illFormed returns how many bytes at the beginning of b are the start of a sequence that is not completed (the
// Unicode Standard, section 3.9, "maximal subpart").
func illFormed(b []byte) int {
	need, low, high := 0, byte(0x80), byte(0xbf)
	switch c := b[0]; {
	case c >= 0xc2 && c <= 0xdf:
		need = 1
	case c >= 0xe0 && c <= 0xef:
		need = 2
	case c >= 0xf0 && c <= 0xf4:
		need = 3
	}
	switch b[0] {
	case 0xe0:
		low = 0xa0
	case 0xed:
		high = 0x9f
	case 0xf0:
		low = 0x90
	case 0xf4:
		high = 0x8f
	}
	n := 1
	for n <= need && n < len(b) && b[n] >= low && b[n] <= high {
		low, high = 0x80, 0xbf
		n++
	}
	return n
}

const hex = "0123456789abcdef"

// appendQuoted appends s as JSON.stringify quotes it. Bytes that are not UTF-8 become U+FFFD.
func appendQuoted(dst, s []byte) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			if r, n := utf8.DecodeRune(s[i:]); r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
			dst = append(append(dst, s[start:i]...), "\uFFFD"...)
			i += illFormed(s[i:])
			start = i
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[start:i]...)
		dst = appendEscaped(dst, c)
		i++
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}

func appendEscaped(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, '\\', 'b')
	case '\f':
		return append(dst, '\\', 'f')
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
}
