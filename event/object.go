package event

import (
	"encoding/json"
	"unicode/utf8"
)

// members calls yield for each member of the JSON object in data, in order, with its decoded name and the bytes of its
// value. Unlike encoding/json it neither matches names loosely nor hides duplicates. It is false where data is not one
// valid object; yield may then have been called for none of it. Yield ends the walk early by returning false.
func members(data []byte, yield func(name string, value []byte) bool) bool {
	if !utf8.Valid(data) || !json.Valid(data) {
		return false
	}
	// From here on data is known to be valid JSON, so that finding the ends of its parts needs no checks.
	i := skipSpace(data, 0)
	if data[i] != '{' {
		return false
	}
	for i = skipSpace(data, i+1); data[i] != '}'; {
		end := skipValue(data, i)
		name, ok := unquote(data[i:end])
		if !ok {
			return false
		}
		i = skipSpace(data, end)      // at ':'
		start := skipSpace(data, i+1) // at the value
		end = skipValue(data, start)  // after it
		i = skipSpace(data, end)      // at ',' or '}'
		if !yield(name, data[start:end]) {
			return true
		}
		if data[i] == ',' {
			i = skipSpace(data, i+1)
		}
	}
	return true
}

func skipSpace(data []byte, i int) int {
	for data[i] == ' ' || data[i] == '\t' || data[i] == '\n' || data[i] == '\r' {
		i++
	}
	return i
}

// skipValue returns the index after the value that begins at i in valid JSON.
func skipValue(data []byte, i int) int {
	switch data[i] {
	case '"':
		return skipString(data, i)
	case '{', '[':
		depth := 0
		for {
			switch data[i] {
			case '"':
				i = skipString(data, i)
				continue
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
			i++
		}
	}
	// A number or a word ends where the text does, or at what can follow a value.
	for ; i < len(data); i++ {
		switch data[i] {
		case ',', '}', ']', ' ', '\t', '\n', '\r':
			return i
		}
	}
	return i
}

func skipString(data []byte, i int) int {
	for i++; data[i] != '"'; i++ {
		if data[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// unquote decodes a JSON string.
func unquote(value []byte) (string, bool) {
	if len(value) < 2 || value[0] != '"' {
		return "", false
	}
	plain := value[1 : len(value)-1]
	for _, c := range plain {
		if c == '\\' {
			var s string
			err := json.Unmarshal(value, &s)
			return s, err == nil
		}
	}
	return string(plain), true
}
