package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/zishang520/engine.io/v2/types"

	"github.com/architus/guildcast/internal/js"
)

func encodeJSON(v any) (string, error) {
	var e jsonEncoder
	err := e.value(v, 0)
	return string(e.b), err
}

func TestJSON(t *testing.T) {
	type own struct {
		A int    `json:"a"`
		B string `json:"b"`
	}
	self := map[string]any{}
	self["self"] = self
	for _, c := range []struct {
		in   any
		want string
	}{
		{nil, "null"}, {true, "true"}, {-5, "-5"}, {int64(math.MinInt64), "-9223372036854775808"},
		{uint64(math.MaxUint64), "18446744073709551615"}, {int8(3), "3"}, {float32(0.1), "0.1"},
		{0.0, "0"}, {math.Copysign(0, -1), "0"}, {1.5, "1.5"}, {1e20, "100000000000000000000"}, {1e21, "1e+21"},
		{1e-6, "0.000001"}, {1e-7, "1e-7"},
		{1.25e-10, "1.25e-10"}, {math.MaxFloat64, "1.7976931348623157e+308"}, {9007199254740993.0, "9007199254740992"},
		{"<a&b>\u2028\"\\\n\x00\x1f\x7f\xffé😀", "\"<a&b>\u2028\\\"\\\\\\n\\u0000\\u001f\x7f\ufffdé😀\""},
		{[]any{}, "[]"}, {[]any(nil), "null"}, {map[string]any{}, "{}"}, {map[string]any(nil), "null"},
		{map[string]any{"b": 1, "a": []any{nil, "x"}}, `{"a":[null,"x"],"b":1}`},
		{own{1, "<"}, `{"a":1,"b":"<"}`}, {[]string{"a"}, `["a"]`}, {json.RawMessage(`{"x": 1}`), `{"x":1}`},
		{json.RawMessage("\"\xe2\x82\""), "\"\ufffd\ufffd\""}, {(*bytes.Buffer)(nil), "null"},
		{(*types.StringBuffer)(nil), "null"},
	} {
		if got, err := encodeJSON(c.in); err != nil || got != c.want {
			t.Errorf("%#v: %s %v, want %s", c.in, got, err, c.want)
		}
	}
	for _, bad := range []any{math.NaN(), math.Inf(1), make(chan int), self, json.RawMessage("{")} {
		if got, err := encodeJSON(bad); err == nil {
			t.Errorf("%T is %s", bad, got)
		}
	}
}

// FuzzJSON compares the encoder with encoding/json.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{
		`{"a":[1,2.5,-3e-9,"x\u0000y\\",null,true,{"b":{}}]}`, `"\u2028<>&é😀"`, `1e300`, `[[],[[]]]`,
	} {
		f.Add([]byte(s), "\xff\"")
	}
	f.Fuzz(func(t *testing.T, text []byte, s string) {
		var v any
		if json.Unmarshal(text, &v) != nil {
			return
		}
		v = []any{unsigned(v), s, map[string]any{s: 1.0}}
		got, err := encodeJSON(v)
		if errors.Is(err, errTooDeep) && js.Depth(text) >= maxOwnDepth {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		var want bytes.Buffer
		enc := json.NewEncoder(&want)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(v); err != nil {
			t.Fatal(err)
		}
		// The pair of backslashes is listed so that what follows an escaped one is not taken for an escape.
		w := strings.NewReplacer(`\\`, `\\`, `\u2028`, "\u2028", `\u2029`, "\u2029", `\ufffd`, "\ufffd").
			Replace(strings.TrimSuffix(want.String(), "\n"))
		if got != w {
			t.Fatalf("got %s, want %s", got, w)
		}
		var again, first any
		if json.Unmarshal([]byte(got), &again) != nil || json.Unmarshal([]byte(w), &first) != nil ||
			!reflect.DeepEqual(again, first) {
			t.Fatalf("%s is not %s", got, w)
		}
	})
}

// unsigned returns v with 0 in the place of -0, which JavaScript writes so.
func unsigned(v any) any {
	switch x := v.(type) {
	case []any:
		for i := range x {
			x[i] = unsigned(x[i])
		}
	case map[string]any:
		for k := range x {
			x[k] = unsigned(x[k])
		}
	case float64:
		return x + 0
	}
	return v
}

func BenchmarkEncodeJSON(b *testing.B) {
	v := []any{"log_pool", map[string]any{
		"id": "214037134477230080", "name": "général", "n": 12.5, "tags": []any{"a", "b"}, "ok": true,
	}}
	var e jsonEncoder
	b.ReportAllocs()
	for b.Loop() {
		e.b = e.b[:0]
		if err := e.value(v, 0); err != nil {
			b.Fatal(err)
		}
	}
}
