package js

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
)

// The functions that walk expect valid JSON and do not check it: finding where things end is all there is to do. They
// are safe for any other text, of which they make something.

// Members returns the members of the JSON object in data, in order and with decoded names: a name that is there twice
// comes twice. Anything but an object has none. The values alias data.
//
// encoding/json's map of raw messages took three times as long, and most of a token's verification.
func Members(data []byte) iter.Seq2[string, json.RawMessage] {
	return func(yield func(string, json.RawMessage) bool) {
		w := walker{data: data}
		for w.enter('{'); w.next(); {
			name := w.value()
			w.next()
			text, _ := Unquote(name)
			if !yield(text, w.value()) {
				return
			}
		}
	}
}

// Fields returns the members of the JSON object in data as Members does, with names as they are written, in quotes.
func Fields(data []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		w := walker{data: data}
		for w.enter('{'); w.next(); {
			name := w.value()
			w.next()
			if !yield(name, w.value()) {
				return
			}
		}
	}
}

// Elements returns the elements of the JSON array in data. Anything but an array has none. The elements alias data.
func Elements(data []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		w := walker{data: data}
		for w.enter('['); w.next(); {
			if !yield(w.value()) {
				return
			}
		}
	}
}

// Each calls visit for the members of the object that data consists of. Unlike Members it checks data: anything but one
// valid object is an error, and so is a name that is there twice. An error of visit ends the walk and is returned.
func Each(data []byte, visit func(name string, value json.RawMessage) error) error {
	if !json.Valid(data) {
		var whole json.RawMessage
		return fmt.Errorf("not JSON: %w", json.Unmarshal(data, &whole))
	}
	if !IsObject(data) {
		return errors.New("not a JSON object")
	}
	seen := map[string]bool{}
	for name, value := range Members(data) {
		if seen[name] {
			return fmt.Errorf("%q is there twice", name)
		}
		seen[name] = true
		if err := visit(name, value); err != nil {
			return err
		}
	}
	return nil
}

// IsObject reports whether the JSON value in data is an object.
func IsObject(data []byte) bool {
	at := SkipSpace(data, 0)
	return at < len(data) && data[at] == '{'
}

// Depth returns how deep arrays and objects are nested in data: 0 for a scalar.
func Depth(data []byte) int {
	depth, deepest := 0, 0
	for at := 0; at < len(data); at++ {
		switch data[at] {
		case '"':
			at = SkipString(data, at) - 1
		case '[', '{':
			depth++
			deepest = max(deepest, depth)
		case ']', '}':
			depth--
		}
	}
	return deepest
}

// Measure returns what Depth does, and about how many bytes data takes when encoding/json has decoded it into an any:
// never less for data without bytes that are not UTF-8, and seldom more than three times as many.
func Measure(data []byte) (depth, cost int) {
	const (
		perString = 32  // its header, boxed, and the rounding of its text
		perArray  = 48  // its header, boxed, and its first element
		perObject = 340 // the map and its first group of eight
		perName   = 64  // of a map that has grown, on top of string and comma
		perComma  = 40  // an interface and a boxed number
	)
	open := 0
	cost = len(data)
	for at := 0; at < len(data); at++ {
		switch data[at] {
		case '"':
			at = SkipString(data, at) - 1
			cost += perString
		case '[':
			open++
			depth = max(depth, open)
			cost += perArray
		case '{':
			open++
			depth = max(depth, open)
			cost += perObject
		case ']', '}':
			open--
		case ':':
			cost += perName
		case ',':
			cost += perComma
		}
	}
	return depth, cost
}

// walker goes over the parts of one array or object.
type walker struct {
	data []byte
	at   int
}

// enter goes behind the bracket that opens, or to the end if data holds something else.
func (w *walker) enter(bracket byte) {
	w.at = SkipSpace(w.data, 0)
	if w.at < len(w.data) && w.data[w.at] == bracket {
		w.at++
	} else {
		w.at = len(w.data)
	}
}

// next goes to the next name or value, and reports whether there is one.
func (w *walker) next() (ok bool) {
	w.at, ok = Next(w.data, w.at)
	return ok
}

// value returns the value at hand and goes behind it.
func (w *walker) value() []byte {
	start := w.at
	w.at = SkipValue(w.data, start)
	return w.data[start:w.at:w.at]
}

// Next returns the place of the next name or value in the array or object that at is in, past the space and separators
// before it. If a bracket closes instead, it returns the place behind that, and false.
func Next(data []byte, at int) (next int, ok bool) {
	for ; at < len(data); at++ {
		switch data[at] {
		case ' ', '\t', '\r', '\n', ',', ':':
		case ']', '}':
			return at + 1, false
		default:
			return at, true
		}
	}
	return len(data), false
}

// SkipSpace returns the place of the first byte from at on that is no white space.
func SkipSpace(data []byte, at int) int {
	for at < len(data) && (data[at] == ' ' || data[at] == '\n' || data[at] == '\t' || data[at] == '\r') {
		at++
	}
	return at
}

// SkipString returns the place behind the string that begins at at.
func SkipString(data []byte, at int) int {
	const short = 16 // bytes, which are looked at one by one sooner than bytes.IndexByte has begun
	at++
	if long := at + short; long < len(data) {
		for ; at < long; at++ {
			switch data[at] {
			case '"':
				return at + 1
			case '\\':
				at++
			}
		}
		if at < len(data) {
			end := bytes.IndexByte(data[at:], '"')
			if end >= 0 && bytes.IndexByte(data[at:at+end], '\\') < 0 {
				return at + end + 1
			}
		}
	}
	for ; at < len(data); at++ {
		switch data[at] {
		case '"':
			return at + 1
		case '\\':
			at++
		}
	}
	return len(data)
}

// SkipValue returns the place behind the value that begins at at.
func SkipValue(data []byte, at int) int {
	if at >= len(data) {
		return len(data)
	}
	switch data[at] {
	case '"':
		return SkipString(data, at)
	case '{', '[':
		return skipNested(data, at)
	}
	// A number or a word ends where the text does, or at what can follow a value.
	for ; at < len(data); at++ {
		switch data[at] {
		case ',', ':', ']', '}', ' ', '\t', '\r', '\n':
			return at
		}
	}
	return at
}

func skipNested(data []byte, at int) int {
	for depth := 0; at < len(data); at++ {
		switch data[at] {
		case '"':
			at = SkipString(data, at) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return at + 1
			}
		}
	}
	return len(data)
}
