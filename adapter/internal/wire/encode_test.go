package wire

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"
	"time"
)

// TestMsgpackIsNotepacks compares with what notepack.io, which Node's adapter uses, writes.
func TestMsgpackIsNotepacks(t *testing.T) {
	text, err := os.ReadFile("testdata/notepack.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		JSON    string
		Bytes   int
		Msgpack []byte
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		var v any = bytes.Repeat([]byte{7}, c.Bytes)
		if c.JSON != "" {
			if err := json.Unmarshal([]byte(c.JSON), &v); err != nil {
				t.Fatal(err)
			}
		}
		got, err := AppendMsgpack(nil, v)
		if err != nil || !bytes.Equal(got, c.Msgpack) {
			t.Errorf("%.40s%d: got %.40x, want %.40x (%v)", c.JSON, c.Bytes, got, c.Msgpack, err)
		}
		if c.JSON == "" {
			continue
		}
		// The same from JSON text, and back.
		if got, err := AppendMsgpack(nil, json.RawMessage(c.JSON)); err != nil || !bytes.Equal(got, c.Msgpack) {
			t.Errorf("raw %.40s: got %.40x, want %.40x (%v)", c.JSON, got, c.Msgpack, err)
		}
		parsed, err := Parse(c.Msgpack)
		if err != nil {
			t.Fatalf("%.40s: %v", c.JSON, err)
		}
		if back := string(parsed.AppendJSON(nil, nil)); back != c.JSON {
			t.Errorf("back: got %.60s, want %.60s", back, c.JSON)
		}
	}
}

// TestBroadcastIsNodes compares with what @socket.io/redis-adapter 8.3 wrote to Redis.
func TestBroadcastIsNodes(t *testing.T) {
	n := 0
	for _, v := range vectors(t) {
		if !strings.HasPrefix(v.ID, "socket-io-redis-adapter@8.3.0/") || v.Expect.Kind != "broadcast" {
			continue
		}
		b, err := DecodeBroadcast(v.Payload)
		if err != nil {
			t.Fatal(err)
		}
		p, err := b.Packet()
		if err != nil {
			t.Fatal(err)
		}
		got, err := EncodeBroadcast(b.uid.Text(), p.Nsp, p.Values(nil), b.Options)
		if err != nil {
			t.Fatal(err)
		}
		n++
		if !bytes.Equal(got, v.Payload) {
			t.Errorf("%s: %s: got %q, want %q", v.ID, v.Call, got, v.Payload)
		}
	}
	if n == 0 {
		t.Error("no vectors")
	}
}

type point struct {
	X int    `json:"x"`
	B []byte `json:"b"`
}

func TestEncodeGoTypes(t *testing.T) {
	at := time.Date(2023, 11, 14, 22, 13, 20, 5e8, time.UTC)
	for _, c := range []struct {
		v    any
		want string // JSON of what a client gets
	}{
		{[]any{
			int8(-1), int16(2), int32(-3), int64(4), uint(5), uint8(6), uint16(7), uint32(8), uint64(math.MaxUint64),
		}, `[-1,2,-3,4,5,6,7,8,18446744073709551615]`},
		{[]any{float32(1.5), 2.0}, `[1.5,2]`},
		{[]string{"a", "b"}, `["a","b"]`},
		{[]int{1, 2}, `[1,2]`},
		{map[string]int{"b": 1, "a": 2}, `{"a":2,"b":1}`},
		{&point{1, []byte("x")}, `{"x":1,"b":"eA=="}`},
		{point{}, `{"x":0,"b":null}`},
		{at, `"2023-11-14T22:13:20.5Z"`},
		{json.RawMessage(` {"a": [1, "<"]} `), `{"a":[1,"<"]}`},
		{json.Number("12345678901234567890"), `12345678901234567890`},
		{map[string]any(nil), `null`},
		{[]any(nil), `null`}, {[]string(nil), `null`},
		{strings.NewReader("text"), `"text"`},
		{[]byte{1, 2}, `{"type":"Buffer","data":[1,2]}`},
		{bytes.NewReader([]byte{3}), `{"type":"Buffer","data":[3]}`},
		{bytes.NewBuffer([]byte{4}), `{"type":"Buffer","data":[4]}`},
		{Object{{"z", 1}, {"a", []any{}}}, `{"z":1,"a":[]}`},
		{"\u2028<&>\x00\"\\\n\x1f", `"` + "\u2028" + `<&>\u0000\"\\\n\u001f"`},
	} {
		got, err := AppendJSON(nil, c.v)
		if err != nil || string(got) != c.want {
			t.Errorf("%T: got %s, want %s (%v)", c.v, got, c.want, err)
		}
	}
	buffer := bytes.NewBufferString("twice")
	for range 2 {
		if b, err := AppendMsgpack(nil, buffer); err != nil || !strings.HasSuffix(string(b), "twice") {
			t.Errorf("got %q, %v", b, err)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	cycle := map[string]any{}
	cycle["self"] = []any{cycle}
	for _, v := range []any{
		cycle, make(chan int), func() {}, map[string]any{"f": []any{func() {}}}, math.NaN(), math.Inf(-1),
	} {
		if _, err := AppendMsgpack(nil, v); err == nil {
			t.Errorf("%T was encoded", v)
		}
		HasBinary(v)
	}
}

func TestHasBinary(t *testing.T) {
	for _, c := range []struct {
		v    any
		want bool
	}{
		{nil, false}, {"x", false}, {[]any{1, map[string]any{"k": []byte{}}}, true}, {bytes.NewBufferString(""), true},
		{strings.NewReader("x"), false}, {bytes.NewReader(nil), true}, {point{B: []byte{1}}, false},
		{Object{{"k", []byte{}}}, true},
		{json.RawMessage("1"), false}, {Object{{"k", 1}}, false}, {time.Now(), false},
	} {
		if got := HasBinary(c.v); got != c.want {
			t.Errorf("%#v: %v", c.v, got)
		}
		b, err := AppendMsgpack(nil, c.v)
		if err != nil {
			t.Fatal(err)
		}
		if v, err := Parse(b); err != nil || v.HasBinary() != c.want {
			t.Errorf("%#v: parsed %v, %v", c.v, v.HasBinary(), err)
		}
	}
}

func TestOptionsObject(t *testing.T) {
	yes := true
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{}, `{"rooms":[],"except":[],"flags":{}}`},
		{Options{
			Rooms: Rooms{Names: []string{"r"}}, Except: []string{"e"},
			Flags: Flags{Volatile: true, Compress: &yes, Timeout: time.Second},
		},
			`{"rooms":["r"],"except":["e"],"flags":{"volatile":true,"compress":true,"timeout":1000}}`},
	} {
		if got, err := AppendJSON(nil, c.o.Object()); err != nil || string(got) != c.want {
			t.Errorf("got %s, want %s (%v)", got, c.want, err)
		}
	}
}
