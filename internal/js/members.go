package js

import (
	"encoding/json"
	"iter"
)

// Members gives the names and values of the JSON object in data, as they come: a name that is there twice comes twice.
// Anything but an object has none. Data must be valid JSON, which makes this a matter of finding where things end;
// encoding/json's map of raw messages took three times as long, and most of a token's verification.
func Members(data []byte) iter.Seq2[string, json.RawMessage] {
	return func(yield func(string, json.RawMessage) bool) {
		at := skipSpace(data, 0)
		if at == len(data) || data[at] != '{' {
			return
		}
		for at = skipSpace(data, at+1); at < len(data) && data[at] == '"'; {
			end := endOfString(data, at)
			name, _ := Unquote(data[at:end])
			at = skipSpace(data, min(skipSpace(data, end)+1, len(data))) // behind the colon
			end = endOfValue(data, at)
			if !yield(name, data[at:end:end]) {
				return
			}
			if at = skipSpace(data, end); at < len(data) && data[at] == ',' {
				at = skipSpace(data, at+1)
			}
		}
	}
}

func skipSpace(data []byte, at int) int {
	for at < len(data) && (data[at] == ' ' || data[at] == '\n' || data[at] == '\t' || data[at] == '\r') {
		at++
	}
	return at
}

// endOfString gives the place behind the string that begins at at.
func endOfString(data []byte, at int) int {
	for at++; at < len(data) && data[at] != '"'; at++ {
		if data[at] == '\\' {
			at++
		}
	}
	return min(at+1, len(data))
}

// endOfValue gives the place behind the value that begins at at.
func endOfValue(data []byte, at int) int {
	for depth := 0; at < len(data); {
		switch data[at] {
		case '"':
			if at = endOfString(data, at); depth == 0 {
				return at
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			switch depth {
			case 0: // of what the value is in
				return at
			case 1:
				return at + 1
			}
			depth--
		case ',', ' ', '\n', '\t', '\r':
			if depth == 0 {
				return at
			}
		}
		at++
	}
	return at
}

// Unquote reads a JSON string. It is false for any other value.
func Unquote(raw json.RawMessage) (string, bool) {
	if len(raw) < 2 || raw[0] != '"' {
		return "", false
	}
	inner := raw[1 : len(raw)-1]
	for _, c := range inner {
		if c == '\\' || c < ' ' || c >= 0x7f {
			var s string
			err := json.Unmarshal(raw, &s)
			return s, err == nil
		}
	}
	return string(inner), true
}
