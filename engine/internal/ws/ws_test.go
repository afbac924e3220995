package ws

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clientFrame frames as a client does, with the mask 1, 2, 3, 4.
func clientFrame(first byte, payload string) []byte {
	b := AppendHeader(nil, 0, false, len(payload))
	b[0] = first
	b[1] |= bitMask
	b = append(b, 1, 2, 3, 4)
	at := len(b)
	b = append(b, payload...)
	unmask(b[at:], 0x04030201)
	return b
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// The frames were made by ws 8 (Node) with the mask 1, 2, 3, 4.
func TestFramesOfNode(t *testing.T) {
	limits := &Limits{Message: 1 << 20, Fragments: 10, Inflate: new(Inflater)}
	for _, c := range []struct {
		name, frames string
		op           Opcode
		want         string
	}{
		{"text", "818601020304356a66686d6d", Text, "4hello"},
		{"16 bit length", "81fe007e01020304" + strings.Repeat("797a7b7c", 31) + "797a", Text, strings.Repeat("x", 126)},
		{
			"64 bit length", "82ff000000000001000001020304" + strings.Repeat("797a7b7c", 1<<14), Binary,
			strings.Repeat("x", 1<<16),
		},
		{"ping", "898201020304696b", Ping, "hi"},
		{"close", "88840102030402ea617d", Close, "\x03\xe8by"},
		{"fragments", "01830102030469676f8082010203046d6d", Text, "hello"},
		{"deflated", "c18b01020304cb4acecdc855cb44260303", Text, "hello hello hello hello"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, step := range []int{1, 7, 1 << 20} { // bytes that arrive at a time
				got, err := assemble(unhex(c.frames), limits, step)
				if err != nil || len(got) != 1 || got[0].Op != c.op || string(got[0].Data) != c.want {
					t.Errorf("steps of %d: %v %v", step, got, err)
				}
			}
		})
	}
}

// assemble feeds b in steps, as a connection does.
func assemble(b []byte, l *Limits, step int) (all []Message, err error) {
	var a Assembler
	b = bytes.Clone(b)
	r, need := 0, 0
	for w := min(step, len(b)); ; w = min(w+step, len(b)) {
		for r < w && w-r >= need {
			m, ok, n, more, err := a.Next(b[r:w], l, nil)
			if err != nil {
				return all, err
			}
			if ok {
				all = append(all, Message{Op: m.Op, Data: bytes.Clone(m.Data)})
			}
			if need = more; n == 0 {
				break
			}
			r += n
		}
		if w == len(b) {
			return all, nil
		}
	}
}

func TestBreaches(t *testing.T) {
	limits := &Limits{Message: 10, Fragments: 3}
	inflating := &Limits{Message: 10, Fragments: 3, Inflate: new(Inflater)}
	d := NewDeflater(9)
	zeros, _ := d.AppendFrame(nil, Text, make([]byte, 1<<20))
	bomb := clientFrame(0xc1, string(zeros[headerLen(zeros):]))
	for _, c := range []struct {
		name   string
		limits *Limits
		frames [][]byte
		code   int
	}{
		{"unmasked", limits, [][]byte{{0x81, 0x01, 'a'}}, CodeProtocol},
		{"reserved bit 1", limits, [][]byte{clientFrame(0xc1, "a")}, CodeProtocol},
		{"reserved bit 2", inflating, [][]byte{clientFrame(0xa1, "a")}, CodeProtocol},
		{"reserved bit 3", limits, [][]byte{clientFrame(0x91, "a")}, CodeProtocol},
		{"opcode 3", limits, [][]byte{clientFrame(0x83, "a")}, CodeProtocol},
		{"opcode 11", limits, [][]byte{clientFrame(0x8b, "a")}, CodeProtocol},
		{"fragmented ping", limits, [][]byte{clientFrame(0x09, "a")}, CodeProtocol},
		{"compressed ping", inflating, [][]byte{clientFrame(0xc9, "a")}, CodeProtocol},
		{"long ping", limits, [][]byte{clientFrame(0x89, strings.Repeat("a", 126))}, CodeProtocol},
		{"continuation of nothing", limits, [][]byte{clientFrame(0x80, "a")}, CodeProtocol},
		{"interleaved", limits, [][]byte{clientFrame(0x01, "a"), clientFrame(0x81, "b")}, CodeProtocol},
		{"compressed continuation", inflating, [][]byte{clientFrame(0x01, "a"), clientFrame(0xc0, "b")}, CodeProtocol},
		{
			"length with the top bit", limits, [][]byte{{0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}},
			CodeProtocol,
		},
		{"too long", limits, [][]byte{clientFrame(0x81, strings.Repeat("a", 11))}, CodeTooBig},
		{"huge", limits, [][]byte{{0x81, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4}}, CodeTooBig},
		{
			"too long in fragments", limits, [][]byte{clientFrame(0x01, "aaaaaa"), clientFrame(0x80, "aaaaa")},
			CodeTooBig,
		},
		{"too many fragments", limits, [][]byte{
			clientFrame(0x01, ""), clientFrame(0, ""), clientFrame(0, ""), clientFrame(0x80, ""),
		}, CodePolicy},
		{"not UTF-8", limits, [][]byte{clientFrame(0x81, "a\xff")}, CodeInvalid},
		{"surrogate", limits, [][]byte{clientFrame(0x81, "\xed\xa0\x80")}, CodeInvalid},
		{
			"not UTF-8 over fragments", limits, [][]byte{clientFrame(0x01, "\xe2\x82"), clientFrame(0x80, "\xff")},
			CodeInvalid,
		},
		{"not deflate", inflating, [][]byte{clientFrame(0xc1, "\xff\xff\xff")}, CodeInvalid},
		{"bomb", inflating, [][]byte{bomb}, CodeTooBig},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := *c.limits
			if c.name == "bomb" {
				l.Message = 1 << 16
			}
			_, err := assemble(bytes.Join(c.frames, nil), &l, 1<<20)
			var breach *Error
			if !errors.As(err, &breach) || breach.Code != c.code {
				t.Errorf("%v, want code %d", err, c.code)
			}
		})
	}
}

func headerLen(frame []byte) int {
	switch frame[1] {
	case 126:
		return 4
	case 127:
		return 10
	}
	return 2
}

func TestControlInsideOfFragments(t *testing.T) {
	frames := bytes.Join([][]byte{clientFrame(0x01, "\xe2"), clientFrame(0x89, "p"), clientFrame(0x00, "\x82"),
		clientFrame(0x8a, ""), clientFrame(0x80, "\xac")}, nil)
	got, err := assemble(frames, &Limits{Message: 3, Fragments: 3}, 1)
	if err != nil || len(got) != 3 || got[0].Op != Ping || got[1].Op != Pong || string(got[2].Data) != "€" {
		t.Errorf("%v %v", got, err)
	}
}

func TestDeflateRoundTrip(t *testing.T) {
	d, l := NewDeflater(1), &Limits{Message: 1 << 20, Fragments: 5, Inflate: new(Inflater)}
	for _, msg := range []string{strings.Repeat("hello ", 1000), strings.Repeat("x", 1<<18), strings.Repeat("é", 50)} {
		frame, ok := d.AppendFrame([]byte("prefix"), Text, []byte(msg))
		if !ok || !bytes.HasPrefix(frame, []byte("prefix\xc1")) {
			t.Fatalf("%.20q was not compressed", msg)
		}
		payload := frame[6+headerLen(frame[6:]):]
		half := len(payload) / 2
		for _, frames := range [][]byte{
			clientFrame(0xc1, string(payload)),
			append(clientFrame(0x41, string(payload[:half])), clientFrame(0x80, string(payload[half:]))...),
		} {
			got, err := assemble(frames, l, 1000)
			if err != nil || len(got) != 1 || string(got[0].Data) != msg {
				t.Errorf("%.20q came back as %d messages, %v", msg, len(got), err)
			}
		}
	}
	if frame, ok := d.AppendFrame(nil, Text, []byte("ab")); ok || frame != nil {
		t.Error("compressed what does not get smaller")
	}
}

func TestParseClose(t *testing.T) {
	for _, c := range []struct {
		payload string
		code    int
		breach  int
	}{
		{"", CodeNone, 0}, {"\x03\xe8", 1000, 0}, {"\x03\xf5", 1013, 0}, {"\x0b\xb8ok", 3000, 0}, {"\x13\x87", 4999, 0},
		{"\x03", 0, CodeProtocol}, {"\x03\xe7", 0, CodeProtocol}, {"\x03\xec", 0, CodeProtocol},
		{"\x03\xed", 0, CodeProtocol},
		{"\x03\xee", 0, CodeProtocol}, {"\x03\xf7", 0, CodeProtocol}, {"\x0b\xb7", 0, CodeProtocol},
		{"\x13\x88", 0, CodeProtocol},
		{"\x03\xe8\xff", 0, CodeInvalid},
	} {
		code, _, err := ParseClose([]byte(c.payload))
		var breach *Error
		if errors.As(err, &breach) != (c.breach != 0) || code != c.code || breach != nil && breach.Code != c.breach {
			t.Errorf("%x: %d %v", c.payload, code, err)
		}
	}
}

func TestAppendClose(t *testing.T) {
	long := strings.Repeat("é", 100)
	b := AppendClose(nil, CodePolicy, long)
	code, reason, err := ParseClose(b[2:])
	if err != nil || code != CodePolicy || len(reason) != 122 || len(b) != 2+2+122 {
		t.Errorf("%d %q %v", code, reason, err)
	}
	if b := AppendClose(nil, CodeNone, "ignored"); !bytes.Equal(b, []byte{0x88, 0}) {
		t.Errorf("%x", b)
	}
}

func TestAccept(t *testing.T) {
	get := func(change func(*http.Request)) *http.Request {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Connection", "keep-alive, Upgrade")
		r.Header.Set("Upgrade", "WebSocket")
		r.Header.Set("Sec-WebSocket-Version", "13")
		r.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==") // RFC 6455, 1.3
		change(r)
		return r
	}
	if a, status := Accept(get(func(*http.Request) {})); a != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" || status != 0 {
		t.Errorf("%q %d", a, status)
	}
	for want, change := range map[int]func(*http.Request){
		405: func(r *http.Request) { r.Method = "POST" },
		426: func(r *http.Request) { r.Header.Set("Sec-WebSocket-Version", "8") },
		400: func(r *http.Request) { r.Header.Set("Sec-WebSocket-Key", "c2hvcnQ=") },
	} {
		if _, status := Accept(get(change)); status != want {
			t.Errorf("status %d, want %d", status, want)
		}
	}
	if !IsUpgrade(get(func(*http.Request) {})) || IsUpgrade(get(func(r *http.Request) {
		r.Header.Del("Connection")
	})) ||
		IsUpgrade(get(func(r *http.Request) { r.ProtoMajor = 2 })) {
		t.Error("IsUpgrade is wrong")
	}
}

func TestNegotiateDeflate(t *testing.T) {
	const base = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	for offer, want := range map[string]string{
		"":                   "",
		"x-other":            "",
		"permessage-deflate": base,
		"permessage-deflate; client_max_window_bits":                                base,
		"permessage-deflate; client_max_window_bits=15; server_no_context_takeover": base,
		`permessage-deflate; server_max_window_bits="15"`: base +
			"; server_max_window_bits=15",
		"permessage-deflate; server_max_window_bits=10":                                                     "",
		"permessage-deflate; server_max_window_bits=10, permessage-deflate":                                 base,
		"permessage-deflate; server_max_window_bits":                                                        "",
		"permessage-deflate; client_max_window_bits=16":                                                     "",
		"permessage-deflate; client_max_window_bits=08":                                                     "",
		"permessage-deflate; server_no_context_takeover=1":                                                  "",
		"permessage-deflate; client_no_context_takeover; client_no_context_takeover, x, permessage-deflate": base,
		"permessage-deflate; unknown":                                                                       "",
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Sec-WebSocket-Extensions", offer)
		if got, kept := NegotiateDeflate(r, false); got != want || kept {
			t.Errorf("%q: %q, %v, want %q", offer, got, kept, want)
		}
		refused := want == "" || strings.Contains(offer, "server_no_context_takeover")
		if !refused {
			want = strings.Replace(want, " server_no_context_takeover;", "", 1)
		}
		if got, kept := NegotiateDeflate(r, true); got != want || kept == refused {
			t.Errorf("%q with takeover: %q, %v, want %q", offer, got, kept, want)
		}
	}
}

func TestUnmask(t *testing.T) {
	for n := range 40 {
		p := make([]byte, n)
		unmask(p, 0x04030201)
		for i, b := range p {
			if b != byte(i%4+1) {
				t.Fatalf("byte %d of %d is %d", i, n, b)
			}
		}
	}
}

func FuzzAssembler(f *testing.F) {
	f.Add(unhex("818601020304356a66686d6d"), 3)
	f.Add(unhex("01830102030469676f8082010203046d6d"), 5)
	f.Add(unhex("c18b01020304cb4acecdc855cb44260303"), 100)
	f.Add(unhex("88840102030402ea617d"), 2)
	f.Fuzz(func(t *testing.T, b []byte, step int) {
		l := &Limits{Message: 1000, Fragments: 4, Inflate: new(Inflater)}
		whole, err := assemble(b, l, 1<<20)
		for _, m := range whole {
			if len(m.Data) > l.Message {
				t.Fatalf("message of %d bytes", len(m.Data))
			}
		}
		parts, err2 := assemble(b, l, max(step, 1))
		if len(parts) != len(whole) || (err == nil) != (err2 == nil) {
			t.Fatalf("%d messages and %v, in steps of %d %d and %v", len(whole), err, step, len(parts), err2)
		}
		for i := range parts {
			if parts[i].Op != whole[i].Op || !bytes.Equal(parts[i].Data, whole[i].Data) {
				t.Fatalf("message %d differs", i)
			}
		}
	})
}

// FuzzDeflate holds that what is compressed is smaller, comes back whole, and is refused where it is over the limit.
func FuzzDeflate(f *testing.F) {
	f.Add([]byte(strings.Repeat("hello ", 50)), 1)
	f.Add(bytes.Repeat([]byte{0}, 70_000), 9)
	f.Add([]byte{}, 5)
	var inflater Inflater
	f.Fuzz(func(t *testing.T, p []byte, level int) {
		frame, ok := NewDeflater(level).AppendFrame([]byte("before"), Binary, p)
		if !ok {
			if string(frame) != "before" {
				t.Fatalf("%q was left behind", frame)
			}
			return
		}
		frame = bytes.TrimPrefix(frame, []byte("before"))
		size := len(AppendHeader(nil, Binary, true, len(p)))
		for size > 2 && !bytes.Equal(frame[:size], AppendHeader(nil, Binary, true, len(frame)-size)) {
			size -= 2 // a header for a shorter frame
		}
		deflated := frame[size:]
		if len(deflated) >= len(p) {
			t.Fatalf("%d bytes became %d", len(p), len(deflated))
		}
		if back, _, err := inflater.inflate(deflated, len(p), nil); err != nil || !bytes.Equal(back, p) {
			t.Fatalf("%x came back as %x, %v", p, back, err)
		}
		if _, _, err := inflater.inflate(deflated, len(p)-1, nil); !errors.Is(err, ErrTooBig) {
			t.Fatalf("%d bytes, one over the limit: %v", len(p), err)
		}
		whole, err := assemble(clientFrame(0xc2, string(deflated)),
			&Limits{Message: len(p), Fragments: 1, Inflate: &inflater}, 1<<20)
		if err != nil || len(whole) != 1 || !bytes.Equal(whole[0].Data, p) {
			t.Fatalf("%x as a frame came back as %v, %v", p, whole, err)
		}
	})
}

func FuzzParseClose(f *testing.F) {
	f.Add([]byte("\x03\xe8by"))
	f.Fuzz(func(t *testing.T, p []byte) {
		code, reason, err := ParseClose(p)
		if err != nil || len(p) > MaxControl {
			return
		}
		if b := AppendClose(nil, code, reason); !bytes.Equal(b[2:], p) {
			t.Fatalf("%x became %x", p, b)
		}
	})
}

func BenchmarkAssembler(b *testing.B) {
	frame := clientFrame(0x82, strings.Repeat("x", 200))
	l := &Limits{Message: 1 << 20, Fragments: 10}
	var a Assembler
	b.ReportAllocs()
	for b.Loop() {
		if _, ok, _, _, err := a.Next(frame, l, nil); !ok || err != nil {
			b.Fatal(err)
		}
	}
}
