package engine

import (
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io-go-parser/v2/parser"
)

// assemble feeds a packet's text and attachments to an assembler and decodes what comes out.
func assemble(protocol int, text string, bins ...[]byte) (*packet, any, error) {
	var a assembler
	p, err := a.text([]byte(text), protocol, 10)
	for _, b := range bins {
		if err != nil || p != nil {
			break
		}
		p, err = a.binary(b)
	}
	if err != nil || p == nil {
		return p, nil, err
	}
	data, err := p.data(&Options{MaxJSONDepth: 32, MaxDecodedBytes: 1 << 20})
	return p, data, err
}

func id(n uint64) *uint64 { return &n }

// goldenPackets are what socket.io-parser 4.2 writes (its encoder, run in Node): see testdata/packets.js.
func goldenPackets(t *testing.T) []goldenPacket {
	b, err := os.ReadFile("testdata/packets.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []goldenPacket
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

type goldenPacket struct {
	Name   string
	Type   int
	Nsp    string
	ID     *uint64
	Data   json.RawMessage // attachments are {"$bin": base64}
	Frames []struct {
		Text   *string
		Binary []byte
	}
}

// revive turns {"$bin": base64} into attachments.
func revive(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = revive(v[i])
		}
	case map[string]any:
		if s, ok := v["$bin"].(string); ok {
			var b []byte
			if err := json.Unmarshal([]byte(`"`+s+`"`), &b); err != nil {
				panic(err)
			}
			return b
		}
		for k := range v {
			v[k] = revive(v[k])
		}
	}
	return v
}

// plain turns attachments into []byte, for comparison.
func plain(v any) any {
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = plain(v[i])
		}
		return out
	case map[string]any:
		out := map[string]any{}
		for k := range v {
			out[k] = plain(v[k])
		}
		return out
	case types.BufferInterface:
		return append([]byte{}, v.Bytes()...)
	}
	return v
}

func TestGoldenPackets(t *testing.T) {
	for _, g := range goldenPackets(t) {
		t.Run(g.Name, func(t *testing.T) {
			var want any
			if len(g.Data) > 0 {
				if err := json.Unmarshal(g.Data, &want); err != nil {
					t.Fatal(err)
				}
				want = revive(want)
			}
			var bins [][]byte
			for _, f := range g.Frames[1:] {
				bins = append(bins, f.Binary)
			}
			text := *g.Frames[0].Text

			p, got, err := assemble(4, text, bins...)
			if err != nil {
				t.Fatal(err)
			}
			if nsp := g.Nsp; p.namespace != nsp || p.hasID != (g.ID != nil) || g.ID != nil && *g.ID != p.id {
				t.Errorf("decoded namespace %q id %v %d", p.namespace, p.hasID, p.id)
			}
			if want != nil && !reflect.DeepEqual(plain(got), want) {
				t.Errorf("decoded %#v, want %#v", plain(got), want)
			}

			in := &parser.Packet{Type: parser.PacketType('0' + g.Type), Data: want, Id: g.ID}
			m, err := NewMessage(g.Nsp, in)
			if err != nil {
				t.Fatal(err)
			}
			if len(m.frames) != len(g.Frames) {
				t.Fatalf("%d frames, want %d", len(m.frames), len(g.Frames))
			}
			if got := string(m.frames[0].Data()); got != text {
				t.Errorf("encoded %q, want %q", got, text)
			}
			for i, b := range bins {
				if got := m.frames[i+1].Data(); string(got) != string(b) {
					t.Errorf("attachment %d is %q, want %q", i, got, b)
				}
			}
		})
	}
}

func TestPacketsRefused(t *testing.T) {
	for _, text := range []string{
		"", "7", "a", "x[]", // no type
		"5[]", "5-[]", "50-[]", "5a-[]", "511-[]", "5-1-[]", "51.5-[]", "51", // attachments
		"2", "2{}", "2[]", "2[null]", "2[{}]", "2[true]", "2abc[\"a\"]", "2[\"a\"", "2[\"a\"]x", "2[\"a\"]]", // events
		`2["connect"]`, `2["connect_error"]`, `2["disconnect"]`, `2["disconnecting"]`, `2["newListener"]`,
		`2["removeListener"]`,
		"3{}", "31{}", "31\"a\"", "3nan", // acknowledgements
		"0[]", `0"a"`, "01x", "0/a,[]", // connect
		"1{}", `1["a"]`, // disconnect
		"212345678901234567890[\"a\"]",                          // id too long
		"2" + strings.Repeat("[", 40) + strings.Repeat("]", 40), // too deep
		"2/" + strings.Repeat("n", maxNamespaceLen+1) + `,["a"]`,
	} {
		if p, data, err := assemble(4, text); err == nil && p != nil {
			t.Errorf("%.60q is accepted: %v", text, data)
		} else if err != nil && !errors.Is(err, ErrPacket) {
			t.Errorf("%.60q: %v is not an ErrPacket", text, err)
		}
	}
}

func TestPacketsAccepted(t *testing.T) {
	for text, want := range map[string]string{
		"0":                     "{}", // a missing auth payload is an empty object
		"0/a,":                  "{}",
		"0/a":                   "{}",
		`0{"a":1}`:              `{"a":1}`,
		"1":                     "null",
		"1/a,":                  "null",
		"31[]":                  "[]",
		"31":                    "[]",
		`2[1.5,"x"]`:            `["1.5","x"]`, // JavaScript allows numbers as names
		`2[1e21]`:               `["1e+21"]`,
		`2["a,b",{"/":"1[2]"}]`: `["a,b",{"/":"1[2]"}]`,
		`2/a?b,["c"]`:           `["c"]`,
	} {
		_, data, err := assemble(4, text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		} else if got := toJSON(t, data); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestAttachmentsRefused(t *testing.T) {
	for _, body := range []string{
		`["a",{"_placeholder":true,"num":1}]`,
		`["a",{"_placeholder":true,"num":-1}]`,
		`["a",{"_placeholder":true,"num":0.5}]`,
		`["a",{"_placeholder":true,"num":"0"}]`,
		`["a",{"_placeholder":true}]`,
	} {
		if _, data, err := assemble(4, "51-"+body, []byte{1}); err == nil {
			t.Errorf("%s is accepted: %v", body, data)
		}
	}
	var a assembler
	if _, err := a.binary([]byte{1}); err == nil {
		t.Error("an attachment of nothing is accepted")
	}
	if p, err := a.text([]byte(`51-["a",{"_placeholder":true,"num":0}]`), 4, 10); p != nil || err != nil {
		t.Error(p, err)
	}
	if _, err := a.text([]byte(`2["a"]`), 4, 10); err == nil {
		t.Error("text is accepted where an attachment is missing")
	}
}

func TestNamespaceOfRevision3(t *testing.T) {
	for text, want := range map[string][2]string{
		"0/a?token=x,":   {"/a", "/a?token=x"},
		"0/a?b=c%2Cd,":   {"/a", "/a?b=c%2Cd"},
		"0/a,":           {"/a", "/a"},
		"0":              {"/", "/"},
		"0/a?x={\"y\":1": {"/a", "/a?x={\"y\":1"},
	} {
		var a assembler
		p, err := a.text([]byte(text), 3, 10)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		} else if p.namespace != want[0] || p.connect != want[1] {
			t.Errorf("%q: namespace %q, connect %q", text, p.namespace, p.connect)
		}
	}
	for _, text := range []string{"0//host?x,", "0/%zz?,"} {
		var a assembler
		if p, err := a.text([]byte(text), 3, 10); err == nil {
			t.Errorf("%q is namespace %q", text, p.namespace)
		}
	}
}

func TestEncodeDoesNotChangeItsPacket(t *testing.T) {
	args := []any{"a", []byte{1}, map[string]any{
		"b": types.NewBytesBuffer([]byte{2}), "s": types.NewStringBufferString("t"),
	}}
	p := &parser.Packet{Type: parser.EVENT, Data: args}
	for range 2 {
		m, err := NewMessage("/n", p)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := string(m.frames[0].Data()),
			`52-/n,["a",{"_placeholder":true,"num":0},{"b":{"_placeholder":true,"num":1},"s":"t"}]`; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if p.Type != parser.EVENT || p.Nsp != "" || p.Attachments != nil {
		t.Errorf("packet is changed: %+v", p)
	}
}

func TestEncodeFails(t *testing.T) {
	for _, data := range []any{make(chan int), func() {}, []any{"a", failingReader{}}} {
		if _, err := NewMessage("/", &parser.Packet{Type: parser.EVENT, Data: data}); err == nil {
			t.Errorf("%T is encoded", data)
		}
	}
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errors.New("fails") }

func TestEventMessage(t *testing.T) {
	m := NewEventMessage("/n", []byte(`["a",{"_placeholder":true,"num":0}]`), [][]byte{{7}})
	if got := string(m.frames[0].Data()); got != `51-/n,["a",{"_placeholder":true,"num":0}]` || len(m.frames) != 2 {
		t.Error(got, len(m.frames))
	}
	p, err := m.packet()
	if err != nil {
		t.Fatal(err)
	}
	if got := plain(p.Data); !reflect.DeepEqual(got, []any{"a", []byte{7}}) || p.Nsp != "/n" {
		t.Errorf("%#v", got)
	}
	if n := testing.AllocsPerRun(100, func() { NewEventMessage("/n", []byte(`["a"]`), nil) }); n > 6 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzPacket(f *testing.F) {
	b, err := os.ReadFile("testdata/packets.json")
	if err != nil {
		f.Fatal(err)
	}
	var all []goldenPacket
	if err := json.Unmarshal(b, &all); err != nil {
		f.Fatal(err)
	}
	for _, g := range all {
		f.Add(*g.Frames[0].Text, []byte{1}, false)
		f.Add(*g.Frames[0].Text, []byte{}, true)
	}
	f.Fuzz(func(t *testing.T, text string, bin []byte, old bool) {
		protocol := 4
		if old {
			protocol = 3
		}
		p, data, err := assemble(protocol, text, bin, bin, bin)
		if err != nil {
			if !errors.Is(err, ErrPacket) {
				t.Fatalf("%v is not an ErrPacket", err)
			}
			return
		}
		if p == nil {
			return
		}
		if p.namespace == "" || len(p.bins) > 10 || p.missing != 0 {
			t.Fatalf("%+v", p)
		}
		// What has been decoded can be encoded, and decodes to the same.
		out := &parser.Packet{Type: p.kind, Data: data}
		if p.hasID {
			out.Id = id(p.id)
		}
		if p.kind == parser.CONNECT_ERROR || strings.ContainsAny(p.namespace, ",") {
			return
		}
		m, err := NewMessage(p.namespace, out)
		if err != nil {
			t.Fatal(err)
		}
		var bins [][]byte
		for _, f := range m.frames[1:] {
			bins = append(bins, f.Data())
		}
		if len(bins) > 10 {
			return // one attachment was used often
		}
		_, again, err := assemble(4, string(m.frames[0].Data()), bins...)
		if err != nil {
			t.Fatalf("%q became %q: %v", text, m.frames[0].Data(), err)
		}
		if !reflect.DeepEqual(plain(again), plain(data)) {
			t.Fatalf("%#v became %#v", plain(data), plain(again))
		}
	})
}
