package js

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"unicode/utf8"
)

// Unquote returns the text of a JSON string, and false for any other value. Bytes that are not UTF-8 become U+FFFD, one
// each.
func Unquote(raw []byte) (string, bool) {
	if len(raw) < 2 || raw[0] != '"' {
		return "", false
	}
	inner := raw[1 : len(raw)-1]
	for _, c := range inner {
		if c == '\\' || c < ' ' || c >= utf8.RuneSelf {
			return unquoteSlowly(raw)
		}
	}
	return string(inner), true
}

func unquoteSlowly(raw []byte) (string, bool) {
	if inner := raw[1 : len(raw)-1]; bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner) && !hasControl(inner) {
		return string(inner), true
	}
	var s string
	err := json.Unmarshal(raw, &s)
	return s, err == nil
}

func hasControl(text []byte) bool {
	for _, c := range text {
		if c < ' ' {
			return true
		}
	}
	return false
}

// Quote returns s as a JSON string, as AppendString writes it.
func Quote(s string) []byte { return AppendString(make([]byte, 0, len(s)+2), s) }

// AppendString appends s as JSON.stringify quotes it: only what JSON demands is escaped, unlike in encoding/json, which
// also escapes <, >, &, U+2028 and U+2029. Bytes that are not UTF-8 become U+FFFD, one each, as encoding/json has it.
func AppendString(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			if !utf8.ValidString(s[i:]) {
				s = string([]rune(s))
			}
			return AppendValid(dst, s)
		}
	}
	dst = append(dst, '"') // nothing to escape, as mostly
	dst = append(dst, s...)
	return append(dst, '"')
}

// AppendBytes is AppendString for a text that came as bytes: those that are not UTF-8 become U+FFFD as in Text.
func AppendBytes(dst, text []byte) []byte {
	if !utf8.Valid(text) {
		return AppendValid(dst, Text(text))
	}
	return AppendValid(dst, text)
}

// AppendValid appends s, which must be valid UTF-8, as AppendString does.
func AppendValid[S string | []byte](dst []byte, s S) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\f':
			dst = append(dst, '\\', 'f')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
		}
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// AppendNumber appends f as JSON.stringify writes it (ECMAScript's Number::toString): -0 is 0, and NaN and the
// infinities are null.
func AppendNumber(dst []byte, f float64) []byte {
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

// Text returns b as a string, as Buffer.toString and TextDecoder do: every maximal part of an ill-formed sequence
// becomes one U+FFFD.
func Text(b []byte) string {
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
