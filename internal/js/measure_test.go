package js

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// What Measure says is compared with the memory that decoded values do take.
func TestMeasure(t *testing.T) {
	many := func(names int) string {
		var b strings.Builder
		for n := range names {
			fmt.Fprintf(&b, `,"%x":0`, n)
		}
		return "{" + b.String()[1:] + "}"
	}
	for _, unit := range []string{
		`0`, `-1.5e10`, `true`, `""`, `"a"`, `"abcdefghijklmnopq"`, `[]`, `[0]`, `[0,0,0,0,0]`, `[[[[[0]]]]]`, `{}`,
		`{"":0}`,
		`{"a":{"a":{}}}`, many(8), many(9), many(15), many(113), many(1000),
		`{"id":"214037134477230080","name":"Johannes","roles":["1","2","3"],"color":15158332,"bot":false,"avatar":null}`,
	} {
		units := max(1, 500_000/len(unit))
		text := []byte("[" + strings.Repeat(unit+",", units-1) + unit + "]")
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		var v any
		if err := json.Unmarshal(text, &v); err != nil {
			t.Fatal(err)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		takes := int(after.HeapAlloc) - int(before.HeapAlloc)
		depth, cost := Measure(text)
		if cost < takes || cost > 8*takes {
			t.Errorf("%.40s: %d bytes, %d are taken", unit, cost, takes)
		}
		if depth != Depth(text) {
			t.Errorf("%.40s: depth %d", unit, depth)
		}
		runtime.KeepAlive(v)
		runtime.KeepAlive(text)
	}
}
