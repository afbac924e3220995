package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestHostile holds payloads that end, or wedge, a careless decoder.
func TestHostile(t *testing.T) {
	deep := func(n int, open byte) []byte { return append(bytes.Repeat([]byte{open}, n), 0xc0) }
	for _, c := range []struct {
		name    string
		payload []byte
		want    Reason
	}{
		{"empty", nil, Malformed},
		{"array32 of 2^32-1", []byte{0xdd, 0xff, 0xff, 0xff, 0xff}, Malformed},
		{"array32 of 2^32-1 inside", []byte{0x93, 0xa1, 'u', 0xdd, 0xff, 0xff, 0xff, 0xff, 0xc0}, Malformed},
		{"map32 of 2^32-1", []byte{0xdf, 0xff, 0xff, 0xff, 0xff, 0xa1, 'k', 0xc0}, Malformed},
		{"str32 of 2^32-1", []byte{0xdb, 0xff, 0xff, 0xff, 0xff, 'x'}, Malformed},
		{"bin32 of 2^31", []byte{0xc6, 0x80, 0, 0, 0, 'x'}, Malformed},
		{"ext32 of 2^32-1", []byte{0xc9, 0xff, 0xff, 0xff, 0xff, 0, 'x'}, Malformed},
		{"0xc1", []byte{0xc1}, Malformed},
		{"trailing byte", []byte{0xc0, 0xc0}, Malformed},
		{"head cut off", []byte{0xcd, 0}, Malformed},
		{"arrays in arrays", deep(100_000, 0x91), TooDeep},
		{"JSON arrays in arrays", []byte(strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)), TooDeep},
		{"JSON cut off", []byte(`{"a":`), Malformed},
		{"JSON brackets that do not fit", []byte(`{"a":[}]`), Malformed},
		{"too large", make([]byte, MaxSize+1), TooLarge},
	} {
		_, err := Parse(c.payload)
		if err == nil || ReasonOf(err) != c.want {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	if _, err := Parse(deep(MaxDepth, 0x91)); err != nil {
		t.Errorf("depth %d: %v", MaxDepth, err)
	}
}

func TestTooManyAttachments(t *testing.T) {
	data := []any{"event"}
	for range MaxAttachments + 1 {
		data = append(data, []byte{})
	}
	payload, err := EncodeBroadcast("u", "/", data, Options{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := DecodeBroadcast(payload)
	if err != nil {
		t.Fatal(err)
	}
	p, err := b.Packet()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.Args(); err == nil || ReasonOf(err) != TooLarge {
		t.Errorf("got %v", err)
	}
}

// TestJavaScript holds values whose form a client gets by the rules of JavaScript.
func TestJavaScript(t *testing.T) {
	float := func(f float64) []byte { return bigEndian8(0xcb, math.Float64bits(f)) }
	for _, c := range []struct {
		name    string
		payload []byte
		want    string
	}{
		{"negative zero", float(math.Copysign(0, -1)), `0`},
		{"1e21", float(1e21), `1e+21`},
		{"1e20", float(1e20), `100000000000000000000`},
		{"1e-7", float(1e-7), `1e-7`},
		{"1e-6", float(1e-6), `0.000001`},
		{"1.5e-10", float(1.5e-10), `1.5e-10`},
		{"5e-324", float(5e-324), `5e-324`},
		{"max", float(math.MaxFloat64), `1.7976931348623157e+308`},
		{"NaN", float(math.NaN()), `null`},
		{"float32", []byte{0xca, 0x3d, 0xcc, 0xcc, 0xcd}, `0.10000000149011612`},
		{"int64 min", []byte{0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0}, `-9223372036854775808`},
		{"uint64 max", []byte{0xcf, 255, 255, 255, 255, 255, 255, 255, 255}, `18446744073709551615`},
		{"int16", []byte{0xd1, 0xff, 0x00}, `-256`},
		{"fixint", []byte{0xe0}, `-32`},
		{"undefined in an array", []byte{0x92, 0xd4, 0, 0, 0x01}, `[null,1]`},
		{
			"__proto__ in an array, as a key", append([]byte{0x82, 0x91, 0xa9}, "__proto__\x81\xa1x\x01\xa1y\x02"...),
			`{"y":2}`,
		},
		{"undefined in a map", []byte{0x82, 0xa1, 'a', 0xd4, 0, 0, 0xa1, 'b', 1}, `{"b":1}`},
		{"__proto__", append([]byte{0x82, 0xa9}, "__proto__\x81\xa1x\x01\xa1y\x02"...), `{"y":2}`},
		{
			"keys", []byte{0x86, 1, 1, 0xc0, 2, 0xc3, 3, 0xc4, 1, 'b', 4, 0x92, 1, 0xc0, 5, 0x80, 6},
			`{"1":1,"null":2,"true":3,"b":4,"1,":5,"[object Object]":6}`,
		},
		{"date in ms", append([]byte{0xd7, 0}, 0, 0, 1, 0x8b, 0xcf, 0xe5, 0x68, 0x7b), `"2023-11-14T22:13:20.123Z"`},
		{
			"date of a year over 9999", append([]byte{0xd7, 0}, 0, 0, 0xe6, 0x77, 0xd2, 0x1f, 0xdc, 0),
			`"+010000-01-01T00:00:00.000Z"`,
		},
		{
			"date before Christ", append([]byte{0xd7, 0}, 0xff, 0xff, 0xc7, 0x6e, 0x39, 0x4a, 0x74, 0),
			`"-000001-01-01T00:00:00.000Z"`,
		},
		{"invalid date", append([]byte{0xd7, 0}, 0x7f, 0, 0, 0, 0, 0, 0, 0), `null`},
		{
			"timestamp 96", append([]byte{0xc7, 12, 0xff}, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
			`"1969-12-31T23:59:59.000Z"`,
		},
		{
			"ill-formed UTF-8", []byte{0xa8, 'a', 0xe2, 0x82, 'b', 0xff, 0xc0, 0x80, 'c'},
			`"a` + "\uFFFDb\uFFFD\uFFFD\uFFFDc" + `"`,
		},
		{"surrogate in UTF-8", []byte{0xa3, 0xed, 0xa0, 0x80}, `"` + "\uFFFD\uFFFD\uFFFD" + `"`},
	} {
		v, err := Parse(c.payload)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		got := string(v.AppendJSON(nil, nil))
		if got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
		// The Go value has the same JSON.
		text, err := AppendJSON(nil, v.Go(nil))
		var a, b any
		if err != nil || json.Unmarshal(text, &a) != nil || json.Unmarshal([]byte(c.want), &b) != nil ||
			!jsonEqual(a, b) {
			t.Errorf("%s: in Go %s, want %s (%v)", c.name, text, c.want, err)
		}
	}
}

func jsonEqual(a, b any) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return bytes.Equal(x, y)
}

func bigEndian8(head byte, x uint64) []byte {
	b := []byte{head}
	for i := 7; i >= 0; i-- {
		b = append(b, byte(x>>(8*i)))
	}
	return b
}

func TestJSONValue(t *testing.T) {
	v, err := Parse([]byte(" {\"a\" : [1 , \"x,]\\\"\" , {}, [ ] ], \"\\u0062\":null, \"c\":-1.5e3 , \"d\":\"\xff\xe2\x82\xff\"}"[1:]))
	if err != nil {
		t.Fatal(err)
	}
	var elems []string
	for e := range v.Get("a").Elems() {
		elems = append(elems, e.Text())
	}
	if strings.Join(elems, "|") != `1|x,]"|[object Object]|` {
		t.Errorf("elements %q", elems)
	}
	if v.Get("b").Kind() != Null || v.Get("c").Float() != -1500 || v.Get("d").Text() != "\uFFFD\uFFFD\uFFFD" ||
		v.Get("e").Kind() != Undefined {
		t.Errorf("fields of %s", v.b)
	}
}

func TestRooms(t *testing.T) {
	for _, c := range []struct {
		json string
		want []string
		all  bool
	}{
		{`null`, nil, true}, {`[]`, nil, true}, {`""`, nil, true}, {`{}`, nil, true},
		{`["a","a","b"]`, []string{"a", "b"}, false},
		{`"ré1r"`, []string{"r", "é", "1"}, false},
		{`[null,true,["x"],{}]`, nil, false}, // nobody, not everybody
		{`[1,1.5,-0.0,1e21]`, []string{"1", "1.5", "-0.0", "1e21"}, false},
		{`{"1":"r2"}`, []string{"r2"}, false},
	} {
		v, err := Parse([]byte(`{"rooms":` + c.json + `}`))
		if err != nil {
			t.Fatal(err)
		}
		o, err := DecodeOptions(v)
		if err != nil || strings.Join(o.Rooms.Names, "|") != strings.Join(c.want, "|") || o.Rooms.All != c.all {
			t.Errorf("%s: got %+v, %v", c.json, o.Rooms, err)
		}
	}
	for _, bad := range []string{`42`, `true`} {
		v, _ := Parse([]byte(`{"rooms":` + bad + `}`))
		if _, err := DecodeOptions(v); err == nil {
			t.Errorf("rooms %s accepted", bad)
		}
	}
}

// FuzzParse holds that a checked value can be walked, and that its JSON is JSON.
func FuzzParse(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.Payload)
	}
	f.Add([]byte("\xcc{"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		v, err := Parse(payload)
		if err != nil {
			return
		}
		var attachments [][]byte
		text := v.AppendJSON(nil, &attachments)
		if !json.Valid(text) || !utf8.Valid(text) {
			t.Fatalf("%q gives %q", payload, text)
		}
		if n := len(text); n > 40*len(payload)+64 {
			t.Fatalf("%d bytes give %d", len(payload), n)
		}
		if !v.HasBinary() && len(attachments) > 0 {
			t.Fatalf("%q has binary", payload)
		}
		v.Text()
		v.Truthy()
		for range v.Elems() {
		}
		for k := range v.Fields() {
			k.Text()
		}
		if v.Kind() == Number {
			return // that of '{' alone would be taken for JSON, and is no message
		}
		again, err := AppendMsgpack(nil, v.Go(nil))
		if errors.Is(err, errDepth) && v.HasBinary() {
			return // an unknown extension becomes an array, which may be one too many
		}
		if err != nil {
			t.Fatal(err)
		}
		w, err := Parse(again)
		if err != nil && ReasonOf(err) != TooLarge {
			t.Fatalf("%q becomes %q: %v", payload, again, err)
		}
		if err == nil && !v.json {
			checkSame(t, v, w)
		}
	})
}

// checkSame holds that w, which is the Go value of v encoded, is what v is: to a client, and encoded once more.
func checkSame(t *testing.T, v, w Value) {
	t.Helper()
	twice, err := AppendMsgpack(nil, w.Go(nil))
	if err != nil || !bytes.Equal(twice, w.b) {
		t.Fatalf("%q becomes %q and then %q, %v", v.b, w.b, twice, err)
	}
	var first, second any
	one, two := v.AppendJSON(nil, nil), w.AppendJSON(nil, nil)
	if json.Unmarshal(one, &first) != nil || json.Unmarshal(two, &second) != nil || !reflect.DeepEqual(first, second) {
		t.Fatalf("%q is %s and then %s", v.b, one, two)
	}
}

// TestDeepestIsEncoded holds that what may come in may also go out.
func TestDeepestIsEncoded(t *testing.T) {
	for _, payload := range [][]byte{
		append(bytes.Repeat([]byte{0x91}, MaxDepth), 7),
		append(bytes.Repeat([]byte{0x81, 0xa1, 'k'}, MaxDepth), 7),
		[]byte(strings.Repeat("[", MaxDepth) + "7" + strings.Repeat("]", MaxDepth)),
	} {
		v, err := Parse(payload)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range []any{v, v.Go(nil)} {
			b, err := AppendMsgpack(nil, x)
			if err != nil {
				t.Fatalf("%.10q as %T: %v", payload, x, err)
			}
			if _, err := Parse(b); err != nil {
				t.Errorf("%.10q as %T: %v", payload, x, err)
			}
			if _, err := AppendMsgpack(nil, []any{v.Go(nil)}); !errors.Is(err, errDepth) {
				t.Errorf("%.10q in an array: %v", payload, err)
			}
		}
	}
}

// FuzzMessages holds that no message makes a decoder panic, and that what is delivered is what a client can read.
func FuzzMessages(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.Payload)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		if b, err := DecodeBroadcast(payload); err == nil {
			if p, err := b.Packet(); err == nil {
				checkPacket(t, p)
			}
			if _, err := AppendJSON(nil, b.Object()); err != nil {
				t.Fatal(err)
			}
		}
		if r, err := DecodeRequest(payload); err == nil {
			if p, err := r.Packet(); err == nil {
				checkPacket(t, p)
			}
			r.Data.Go(nil)
		}
		if r, err := DecodeResponse(payload); err == nil {
			r.Value.Go(nil)
		}
	})
}

func checkPacket(t *testing.T, p Packet) {
	t.Helper()
	args, attachments, err := p.Args()
	if err != nil {
		return
	}
	var list []any
	if err := json.Unmarshal(args, &list); err != nil {
		if strings.Contains(err.Error(), "cannot unmarshal number") { // JavaScript reads 1e999 as Infinity
			return
		}
		t.Fatalf("args %q: %v", args, err)
	}
	if len(list) == 0 {
		t.Fatal("no event")
	}
	if name, ok := list[0].(string); !ok || ReservedEvent(name) {
		t.Fatalf("event %v of %q", list[0], args)
	}
	if len(attachments) > MaxAttachments {
		t.Fatal(len(attachments))
	}
	if n := len(p.Values(nil)); n != len(list) {
		t.Fatalf("%d values of %q", n, args)
	}
}

func BenchmarkArgs(b *testing.B) {
	payload, err := EncodeBroadcast("abcdef", "/",
		[]any{"event", strings.Repeat("x", 150), map[string]any{"id": 12345, "name": "guild", "list": []any{1, 2, 3}}},
		Options{Rooms: Rooms{Names: []string{"room"}}})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		m, err := DecodeBroadcast(payload)
		if err != nil {
			b.Fatal(err)
		}
		p, err := m.Packet()
		if err != nil {
			b.Fatal(err)
		}
		if _, _, err := p.Args(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeBroadcast(b *testing.B) {
	data := []any{
		"event", strings.Repeat("x", 150), map[string]any{"id": 12345, "name": "guild", "list": []any{1, 2, 3}},
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := EncodeBroadcast("abcdef", "/", data, Options{Rooms: Rooms{Names: []string{"room"}}}); err != nil {
			b.Fatal(err)
		}
	}
}
