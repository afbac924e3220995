package payload

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func text(s string) Packet { return Packet{Data: []byte(s)} }
func bin(b ...byte) Packet { return Packet{Binary: true, Data: b} }

// golden payloads were made by engine.io-parser 5.2 (v4) and by the revision 3 parser of engine.io 6.6 (text, with
// base64 for binary data, and binary, in hex).
var golden = []struct {
	name            string
	packets         []Packet
	v4, text3, bin3 string
}{
	{"ascii", []Packet{text("4hello")}, "4hello", "6:4hello", ""},
	{"several", []Packet{text("4a"), text("4"), text("4b")}, "4a\x1e4\x1e4b", "2:4a1:42:4b", ""},
	{"unicode", []Packet{text("4€é😀"), text("4x")}, "4€é😀\x1e4x", "5:4€é😀2:4x", ""},
	{"binary", []Packet{bin(1, 2, 3, 4)}, "bAQIDBA==", "10:b4AQIDBA==", "0105ff0401020304"},
	{"mixed", []Packet{text("4hé😀"), bin(0, 255), text("2")}, "4hé😀\x1ebAP8=\x1e2", "5:4hé😀6:b4AP8=1:2",
		"0008ff3468c3a9f09f98800103ff0400ff0001ff32"},
	{"control", []Packet{text("0{}"), text("6"), text("1")}, "0{}\x1e6\x1e1", "3:0{}1:61:1", ""},
	{"empty binary", []Packet{bin()}, "b", "2:b4", "0101ff04"},
}

func TestGolden(t *testing.T) {
	for _, g := range golden {
		t.Run(g.name, func(t *testing.T) {
			check(t, g.packets, []byte(g.v4), Append4, Decode4)
			check(t, g.packets, []byte(g.text3), Append3, Decode3)
			if b, _ := hex.DecodeString(g.bin3); len(b) > 0 {
				check(t, g.packets, b, AppendBinary3, DecodeBinary3)
			}
		})
	}
}

func check(t *testing.T, packets []Packet, want []byte, appendPacket func([]byte, Packet) []byte,
	decode func([]byte, int, func(Packet) bool) error) {
	t.Helper()
	var got []byte
	for _, p := range packets {
		got = appendPacket(got, p)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("encoded %q, want %q", got, want)
	}
	back, err := collect(decode, want, len(packets))
	if err != nil {
		t.Fatalf("decode %q: %v", want, err)
	}
	if !slices.EqualFunc(back, packets, same) {
		t.Errorf("decoded %v, want %v", back, packets)
	}
	if _, err := collect(decode, want, len(packets)-1); !errors.Is(err, ErrTooMany) {
		t.Errorf("over the limit: %v", err)
	}
}

func same(a, b Packet) bool { return a.Binary == b.Binary && bytes.Equal(a.Data, b.Data) }

func collect(decode func([]byte, int, func(Packet) bool) error, body []byte, limit int) (all []Packet, err error) {
	err = decode(body, limit, func(p Packet) bool {
		all = append(all, Packet{p.Binary, bytes.Clone(p.Data)})
		return true
	})
	return all, err
}

func TestMalformed(t *testing.T) {
	decoders := map[string]func([]byte, int, func(Packet) bool) error{
		"4": Decode4, "3": Decode3, "3 binary": DecodeBinary3,
	}
	for _, c := range []struct{ decoder, body string }{
		{"4", ""}, {"4", "4a\x1e"}, {"4", "\x1e4a"}, {"4", "4\xff"}, {"4", "b!"},
		{"3", ""}, {"3", "abc"}, {"3", ":4"}, {"3", "1"}, {"3", "2:4"}, {"3", "-1:4"}, {"3", "+1:4"}, {"3", "1:42"},
		{"3", "99999999999:4"}, {"3", "2:4a:"}, {"3", "2:😀x"}, {"3", "1:😀"}, {"3", "3:b2AA"}, {"3", "3:b4!"},
		{"3", "0x1:4"},
		{"3 binary", "\x02\x01\xff4"}, {"3 binary", "\x00\xff4"}, {"3 binary", "\x00\x01"},
		{"3 binary", "\x00\x02\xff4"},
		{"3 binary", "\x00\x0b\xff4"}, {"3 binary", "\x00\x02\xff4\xff"}, {"3 binary", "\x00\x00\xff"},
		{"3 binary", "\x00\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\xff4"},
	} {
		if all, err := collect(decoders[c.decoder], []byte(c.body), 10); err == nil {
			t.Errorf("%s: %q gave %v", c.decoder, c.body, all)
		}
	}
}

// Binary packets that are not messages: a ping, an unknown type, and one without any.
func TestBinaryPackets3(t *testing.T) {
	all, err := collect(DecodeBinary3, []byte("\x01\x02\xff\x02x\x01\x01\xff\x07\x01\x00\xff\x01\x02\xff\x04x"), 10)
	if want := []Packet{text("2"), bin('x')}; err != nil || !slices.EqualFunc(all, want, same) {
		t.Errorf("%v %v, want %v", all, err, want)
	}
}

func TestDecodersStop(t *testing.T) {
	for _, c := range []struct {
		decode func([]byte, int, func(Packet) bool) error
		body   string
	}{{Decode4, "41\x1e42"}, {Decode3, "2:412:42"}, {DecodeBinary3, "\x00\x02\xff41\x00\x02\xff42"}} {
		n := 0
		if err := c.decode([]byte(c.body), 10, func(Packet) bool { n++; return false }); err != nil || n != 1 {
			t.Errorf("%q: %d packets, %v", c.body, n, err)
		}
	}
}

func TestJSONP(t *testing.T) {
	if got := JSONPHead("1a2);alert(1)"); got != "___eio[121](" {
		t.Errorf("head %q", got)
	}
	got := string(AppendJSONP(nil, "___eio[0](", []byte("4\"\\\n\u2028</script>")))
	if want := `___eio[0]("4\"\\\n\u2028</script>");`; got != want {
		t.Errorf("answer %s, want %s", got, want)
	}
	// The bodies are what engine.io-client 3 makes of a line end, of an escaped one, and of reserved characters.
	for body, want := range map[string]string{
		`d=6%3A4hello`:           "6:4hello",
		`d=4%3A4a%5Cnb`:          "4:4a\nb",
		`d=5%3A4a%5C%5Cnb`:       `5:4a\nb`,
		`d=4%3A4%26%3D%2B&x=1`:   "4:4&=+",
		`x=1&d=2%3A4a&d=ignored`: "2:4a",
	} {
		if got, err := DecodeJSONP([]byte(body)); err != nil || string(got) != want {
			t.Errorf("%s: %q %v, want %q", body, got, err, want)
		}
	}
	for _, body := range []string{"", "x=1", "d=%zz"} {
		if got, err := DecodeJSONP([]byte(body)); err == nil {
			t.Errorf("%s: %q", body, got)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, g := range golden {
		b, _ := hex.DecodeString(g.bin3)
		f.Add([]byte(g.v4))
		f.Add([]byte(g.text3))
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for name, c := range map[string]struct {
			decode       func([]byte, int, func(Packet) bool) error
			appendPacket func([]byte, Packet) []byte
		}{"4": {Decode4, Append4}, "3": {Decode3, Append3}, "3 binary": {DecodeBinary3, AppendBinary3}} {
			packets, err := collect(c.decode, body, 50)
			if len(packets) > 50 {
				t.Fatalf("%s: %d packets", name, len(packets))
			}
			if err != nil || len(packets) == 0 {
				continue
			}
			var again []byte
			for _, p := range packets {
				again = c.appendPacket(again, p)
			}
			back, err := collect(c.decode, again, 50)
			if err != nil || !slices.EqualFunc(back, packets, same) {
				t.Fatalf("%s: %q decoded to %v, whose payload %q decodes to %v %v", name, body, packets, again, back,
					err)
			}
		}
	})
}

func FuzzJSONP(f *testing.F) {
	f.Add([]byte(`d=5%3A4a%5C%5Cnb`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if got, err := DecodeJSONP(body); err == nil && len(got) > len(body) {
			t.Fatalf("%q grew to %q", body, got)
		}
		if s := string(AppendJSONP(nil, "(", body)); strings.ContainsAny(s, "\n\u2028\u2029") {
			t.Fatalf("%q is not one line of JavaScript", s)
		}
	})
}
