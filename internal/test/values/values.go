// Package values holds what Go programs emit, with what a client gets for it, for tests of the several ways to a
// client.
package values

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"strings"
	"testing/iotest"
	"time"

	"github.com/zishang520/engine.io/v2/types"
)

// Huge is the name of the case of numbers from 2^64 on. Node.js can receive them, but not send them to another server:
// notepack.io keeps the lower 64 bits of an integer.
const Huge = "huge numbers"

// Case is one value.
type Case struct {
	Name string
	New  func() any // makes it anew, as a reader can be read once
	// Want is the JSON of what a client gets, where binary is {"$bin": base64}. It is empty where nothing is sent, as
	// the value is no JSON.
	Want string
}

type (
	embedded struct {
		ID   int    `json:"id"`
		Kind string `json:"kind"`
	}
	tagged struct {
		embedded
		Kind    string            `json:"kind"` // hides that of embedded
		Empty   []string          `json:"empty,omitempty"`
		Zero    time.Time         `json:"zero,omitzero"`
		Skipped int               `json:"-"`
		Quoted  int64             `json:"quoted,string"`
		Plain   *int              // without a tag
		Bytes   []byte            `json:"bytes"`
		None    []int             `json:"none"`
		Map     map[string]string `json:"map"`
		private int
	}
	ownJSON     struct{ text string }
	ownText     struct{ text string }
	namedBytes  []byte
	namedString string
	// both is a reader that has a JSON form, and uuid has bytes and is no reader.
	both struct {
		*strings.Reader
		ownJSON
	}
	uuid [2]byte
)

func (o ownJSON) MarshalJSON() ([]byte, error) { return []byte(o.text), nil }
func (o ownText) MarshalText() ([]byte, error) { return []byte("<" + o.text + ">"), nil }
func (u uuid) Bytes() []byte                   { return u[:] }
func (u uuid) MarshalText() ([]byte, error)    { return fmt.Appendf(nil, "%x", u[:]), nil }

// Cases returns all values.
func Cases() []Case {
	one := 1
	is := func(name string, v any, want string) Case { return Case{name, func() any { return v }, want} }
	const deep = `{"deep":[{"$bin":"AQI="}]}`
	return []Case{
		is("nil", nil, `null`),
		is("nil []any", []any(nil), `null`),
		is("nil []string", []string(nil), `null`),
		is("nil []int", []int(nil), `null`),
		is("nil map[string]any", map[string]any(nil), `null`),
		is("nil map[string]string", map[string]string(nil), `null`),
		is("nil slices and maps inside", map[string]any{"a": []any(nil), "b": []string(nil), "c": map[string]any(nil)},
			`{"a":null,"b":null,"c":null}`),
		is("empty []any", []any{}, `[]`),
		is("empty []string", []string{}, `[]`),
		is("empty []int", []int{}, `[]`),
		is("empty map[string]any", map[string]any{}, `{}`),
		is("empty map[string]string", map[string]string{}, `{}`),
		is("nil pointer", (*tagged)(nil), `null`),
		is("nil pointer with a JSON form", (*ownJSON)(nil), `null`),
		is("nil error", error(nil), `null`),
		is("pointer", &one, `1`),
		is("pointer to a slice", &[]any{nil}, `[null]`),

		is("struct", tagged{embedded: embedded{7, "inner"}, Kind: "outer", Quoted: 9, Bytes: []byte("x"), private: 1},
			`{"id":7,"kind":"outer","quoted":"9","Plain":null,"bytes":"eA==","none":null,"map":null}`),
		is("pointers to structs", []*embedded{{1, "a"}, nil}, `[{"id":1,"kind":"a"},null]`),
		is("buffer in a struct", struct{ B []byte }{[]byte{1, 2}}, `{"B":"AQI="}`),
		is("[]map[string]any with binary", []map[string]any{{"b": []byte{1, 2}}}, `[{"b":"AQI="}]`),
		is("map[int]string", map[int]string{10: "b", 9: "a"}, `{"10":"b","9":"a"}`),
		is("map with text keys", map[netip.Addr]int{netip.MustParseAddr("::1"): 1}, `{"::1":1}`),
		is("json.Marshaler", ownJSON{`{"own": [1, "<&>"]}`}, `{"own":[1,"<&>"]}`),
		is("encoding.TextMarshaler", ownText{"t"}, `"<t>"`),
		is("encoding.TextMarshaler with Bytes", uuid{0xab, 1}, `"ab01"`),
		is("time.Time", time.Date(2023, 11, 14, 22, 13, 20, 123456789, time.FixedZone("", 3600)),
			`"2023-11-14T22:13:20.123456789+01:00"`),
		is("zero time.Time", time.Time{}, `"0001-01-01T00:00:00Z"`),
		is("time.Duration", 1500*time.Millisecond, `1500000000`),
		is("json.RawMessage", json.RawMessage(" {\"a\" : [1 , \"\\u003c<\"] } "), `{"a":[1,"<<"]}`),
		is("nil json.RawMessage", json.RawMessage(nil), `null`),
		is("bad json.RawMessage", json.RawMessage("{"), ``),
		is("json.RawMessage that is no UTF-8", json.RawMessage("\"a\xe2\x82b\""), `"a`+"\ufffd\ufffd"+`b"`),
		is("json.Number", []any{json.Number("1.50"), json.Number("-7"), json.Number("1e3"), json.Number("")},
			`[1.5,-7,1000,0]`),
		is("bad json.Number", json.Number("seven"), ``),

		is("small integers", []any{
			int8(-128), int16(-129), int32(-70000), uint8(255), uint16(65535), uint32(math.MaxUint32), uint(5),
		},
			`[-128,-129,-70000,255,65535,4294967295,5]`),
		is("limits of integers", []any{int64(math.MinInt64), int64(math.MaxInt64)},
			`[-9223372036854775808,9223372036854775807]`),
		is("integers beyond 2^53", []any{uint64(1<<53 + 1), int64(-(1<<53 + 1)), 1 << 60},
			`[9007199254740992,-9007199254740992,1152921504606846976]`),
		is("floats", []any{1.5, -2.0, 1e-7, 5e-324, math.Copysign(0, -1)}, `[1.5,-2,1e-7,5e-324,0]`),
		is(Huge, []any{uint64(math.MaxUint64), 1e20, 1e21, math.MaxFloat64},
			`[18446744073709551615,1e20,1e21,1.7976931348623157e308]`),
		is("float32", []any{float32(0.1), float32(1e10)}, `[0.1,10000000000]`),
		is("named types", []any{namedString("s"), time.March, namedBytes("x")}, `["s",3,"eA=="]`),
		is("NaN", math.NaN(), ``),
		is("infinity inside", map[string]any{"x": []any{math.Inf(-1)}}, ``),
		is("NaN in a struct", struct{ F float64 }{math.NaN()}, ``),
		is("channel", make(chan int), ``),
		is("complex number", 1i, ``),

		is("text", "é😀\u2028<&>\"\\\x00\x7f", `"é😀`+"\u2028"+`<&>\"\\\u0000`+"\x7f"+`"`),
		is("text that is no UTF-8", "a\xe2\x82b\xff", `"a`+"\ufffd\ufffd"+`b`+"\ufffd"+`"`),
		is("keys that are no UTF-8", map[string]any{"k\xff": 1}, `{"k`+"\ufffd"+`":1}`),
		is("strings that are no UTF-8", []string{"\xff"}, `["`+"\ufffd"+`"]`),

		is("[]byte", []byte{1, 2}, `{"$bin":"AQI="}`),
		is("empty []byte", []byte{}, `{"$bin":""}`),
		is("nil []byte", []byte(nil), `{"$bin":""}`),
		is("[2]byte", [2]byte{1, 2}, `[1,2]`),
		is("binary inside", map[string]any{"deep": []any{[]byte{1, 2}}}, deep),
		is("[][]byte", [][]byte{{1, 2}}, `["AQI="]`),
		{"bytes.Buffer", func() any { return bytes.NewBuffer([]byte{1, 2}) }, `{"$bin":"AQI="}`},
		{"bytes.Reader inside", func() any {
			return map[string]any{"deep": []any{bytes.NewReader([]byte{1, 2})}}
		}, deep},
		{"types.BytesBuffer", func() any { return types.NewBytesBuffer([]byte{1, 2}) }, `{"$bin":"AQI="}`},
		{"types.StringBuffer", func() any { return types.NewStringBufferString("text") }, `"text"`},
		{"strings.Reader", func() any { return strings.NewReader("text") }, `"text"`},
		{"reader with a JSON form", func() any {
			return both{strings.NewReader("\x01\x02"), ownJSON{"1"}}
		}, `{"$bin":"AQI="}`},
		{"reader that fails", func() any { return iotest.ErrReader(errors.New("fails")) }, ``},
		is("nil readers", []any{(*bytes.Buffer)(nil), (*bytes.Reader)(nil), (*strings.Reader)(nil), (*os.File)(nil)},
			`[null,null,null,null]`),
		is("nil buffers of the library", []any{
			(*types.BytesBuffer)(nil), (*types.StringBuffer)(nil), &types.BytesBuffer{}, &types.StringBuffer{},
		},
			`[null,null,null,""]`),
	}
}
