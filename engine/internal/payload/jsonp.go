package payload

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strings"
)

// JSONPHead returns the text before the payload in the answer to a JSONP request with the query parameter j.
func JSONPHead(j string) string {
	digits := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, j)
	return "___eio[" + digits[:min(len(digits), maxDigits)] + "]("
}

// AppendJSONP appends the answer to a JSONP request.
func AppendJSONP(dst []byte, head string, payload []byte) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)        // U+2028 and U+2029, which JavaScript takes for line ends, are escaped all the same
	_ = enc.Encode(string(payload)) // a string always encodes
	literal := bytes.TrimRight(b.Bytes(), "\n")
	return append(append(append(dst, head...), literal...), ");"...)
}

// DecodeJSONP returns the payload in the body of a JSONP POST: the form field d, in which the client has escaped line
// ends, and what looked like escaped ones.
func DecodeJSONP(body []byte) ([]byte, error) {
	for field := range strings.SplitSeq(string(body), "&") {
		name, value, _ := strings.Cut(field, "=")
		if name != "d" {
			continue
		}
		value, err := url.QueryUnescape(value)
		if err != nil {
			return nil, ErrMalformed
		}
		return unescapeLines(value), nil
	}
	return nil, ErrMalformed
}

// unescapeLines makes `\n` a line end, and `\\n` the two characters `\n`.
func unescapeLines(s string) []byte {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case strings.HasPrefix(s[i:], `\\n`):
			out = append(out, `\n`...)
			i += 2
		case strings.HasPrefix(s[i:], `\n`):
			out = append(out, '\n')
			i++
		default:
			out = append(out, s[i])
		}
	}
	return out
}
