package proxyproto

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// The headers of version 2: what follows the signature.
const (
	v4   = "\x21\x11\x00\x0c" + "\xcb\x00\x71\x07" + "\xc0\x00\x02\x01" + "\xc8\x83" + "\x01\xbb"
	v4x  = "\x21\x11\x00\x13" + "\xcb\x00\x71\x07" + "\xc0\x00\x02\x01" + "\xc8\x83" + "\x01\xbb" + "\x02\x00\x04host"
	v6   = "\x21\x21\x00\x24" + net6 + zeros + "\x07" + net6 + zeros + "\x01" + "\xc8\x83" + "\x01\xbb"
	four = "\x21\x21\x00\x24" + mapped + "\xcb\x00\x71\x07" + mapped + "\xc0\x00\x02\x01" + "\xc8\x83" + "\x01\xbb"

	net6   = "\x20\x01\x0d\xb8"
	zeros  = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	mapped = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff"
)

var headers = map[string]string{ // the client's address, "" for none, or what is wrong
	"PROXY TCP4 203.0.113.7 192.0.2.1 51331 443\r\n":          "203.0.113.7:51331",
	"PROXY TCP6 2001:db8::7 2001:db8::1 51331 443\r\n":        "[2001:db8::7]:51331",
	"PROXY TCP6 ::ffff:203.0.113.7 2001:db8::1 51331 443\r\n": "203.0.113.7:51331",
	"PROXY UNKNOWN\r\n":                         "",
	"PROXY UNKNOWN ff::1 ff::2 65535 65535\r\n": "",
	signature + v4:                              "203.0.113.7:51331",
	signature + v4x:                             "203.0.113.7:51331",
	signature + v6:                              "[2001:db8::7]:51331",
	signature + four:                            "203.0.113.7:51331",
	Local:                                       "",
	signature + "\x20\x11\x00\x02xx":            "",
	signature + "\x21\x00\x00\x02xx":            "",
	signature + "\x21\x31\x00\x02xx":            "",
	"GET / HTTP/1.1\r\n":                        "error: no PROXY header",
	"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00":   "error: no PROXY header",
	"PROXY TCP4 203.0.113.7 192.0.2.1 51331\r\n":         "error: PROXY header",
	"PROXY TCP4 203.0.113.7 192.0.2.1 51331 65536\r\n":   "error: PROXY header",
	"PROXY TCP4 203.0.113.7  192.0.2.1 51331 443\r\n":    "error: PROXY header",
	"PROXY TCP4 2001:db8::7 2001:db8::1 51331 443\r\n":   "error: PROXY header",
	"PROXY TCP6 203.0.113.7 192.0.2.1 51331 443\r\n":     "error: PROXY header",
	"PROXY TCP6 fe80::1%eth0 2001:db8::1 51331 443\r\n":  "error: PROXY header",
	"PROXY TCP4 host 192.0.2.1 51331 443\r\n":            "error: PROXY header",
	"PROXY UDP4 203.0.113.7 192.0.2.1 51331 443\r\n":     "error: PROXY header",
	"PROXY \r\n\r\n\r\n\r\n":                             "error: PROXY header",
	"PROXY TCP4 203.0.113.7 192.0.2.1 51331 443\n":       "error: read PROXY header",
	"PROXY UNKNOWN " + strings.Repeat("x", 200) + "\r\n": "error: PROXY header: the line is too long",
	"PROXY TCP4":                    "error: read PROXY header",
	signature:                       "error: read PROXY header",
	signature + v4[:12]:             "error: read PROXY header",
	signature + v4x[:20]:            "error: read PROXY header",
	signature + "\x22\x11\x00\x00":  "error: PROXY header: version and command",
	signature + "\x11\x11\x00\x00":  "error: PROXY header: version and command",
	signature + "\x21\x12" + v4[2:]: "error: PROXY header: family",
	signature + "\x21\x21" + v4[2:]: "error: PROXY header: too short",
	"":                              "error: read PROXY header",
}

func TestRead(t *testing.T) {
	for header, want := range headers {
		const rest = "GET /"
		text := header
		if !strings.HasPrefix(want, "error: read") {
			text += rest
		}
		r := strings.NewReader(text)
		client, err := Read(r)
		switch {
		case strings.HasPrefix(want, "error: "):
			if err == nil || !strings.HasPrefix(err.Error(), want[len("error: "):]) {
				t.Errorf("%q: %v, %v; want %s", header, client, err, want)
			}
			continue
		case err != nil:
			t.Errorf("%q: %v", header, err)
		case want == "" && client.IsValid(), want != "" && client.String() != want:
			t.Errorf("%q: %v, want %s", header, client, want)
		}
		if left, _ := io.ReadAll(r); string(left) != rest {
			t.Errorf("%q: left %q", header, left)
		}
	}
}

// FuzzRead finds that a header is read alike however it arrives, and that nothing behind it is.
func FuzzRead(f *testing.F) {
	for header := range headers {
		f.Add([]byte(header + "GET /"))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		whole := bytes.NewReader(data)
		client, err := Read(whole)
		pieces := bytes.NewReader(data)
		again, err2 := Read(io.LimitReader(onePerRead{pieces}, int64(len(data))))
		if client != again || (err == nil) != (err2 == nil) || whole.Len() != pieces.Len() {
			t.Errorf("%v, %v; in pieces %v, %v", client, err, again, err2)
		}
		if err != nil && client.IsValid() {
			t.Errorf("%v with %v", client, err)
		}
		if read := len(data) - whole.Len(); err == nil {
			if same, err := Read(bytes.NewReader(data[:read])); err != nil || same != client {
				t.Errorf("the header alone: %v, %v", same, err)
			}
		}
	})
}

// onePerRead returns one byte at a time.
type onePerRead struct{ io.Reader }

func (r onePerRead) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(1, len(p))]) }
