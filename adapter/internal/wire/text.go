package wire

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/architus/guildcast/internal/js"
)

// Text is JavaScript's String(v); a Date has its JSON form.
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
		return js.Text(v.b[readHead(v.b).size:])
	case Binary:
		return js.Text(v.Bytes())
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
	return js.AppendNumber(dst, h.float(v.b))
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

// jsonText returns the string that a JSON string stands for.
func jsonText(b []byte) string {
	s, _ := js.Unquote(b)
	return s
}

// jsonNumber returns what JSON.parse makes of a number literal (Infinity beyond the range of float64).
func jsonNumber(b []byte) float64 {
	f, _ := strconv.ParseFloat(string(b), 64)
	return f
}
