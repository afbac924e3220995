package permissions

import (
	"math/rand/v2"
	"testing"
)

// A table of spans is a map, however its keys fall.
func TestSpanTable(t *testing.T) {
	for name, draw := range map[string]func(*rand.Rand) digest{
		"spread":     func(r *rand.Rand) digest { return digest{r.Uint64N(5000), r.Uint64N(3) * (1 << 62)} },
		"one part":   func(r *rand.Rand) digest { return digest{1, r.Uint64N(500) << 55} },
		"one place":  func(r *rand.Rand) digest { return digest{r.Uint64N(100) * spanParts, 0} },
		"at the end": func(r *rand.Rand) digest { return digest{r.Uint64N(100) * spanParts, ^r.Uint64N(3)} },
	} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			var table spanTable
			want := map[digest]span{}
			for i := range int64(60_000) {
				key := draw(r)
				// Fills, and empties again.
				if growing := i/5000%2 == 0; r.IntN(10) < 3 == growing {
					table.remove(key)
					delete(want, key)
				} else {
					sp := span{before: i, expires: 1 + i}
					table.set(key, sp)
					want[key] = sp
				}
				key = draw(r)
				expected, known := want[key]
				if got, found := table.get(key); found != known || got != expected {
					t.Fatalf("after %d steps: %v, %v; want %v, %v", i, got, found, expected, known)
				}
			}
			used, slots := 0, 0
			for i := range table.parts {
				used += table.parts[i].used
				slots += len(table.parts[i].slots)
			}
			if used != len(want) {
				t.Errorf("%d are used, want %d", used, len(want))
			}
			for key, sp := range want {
				if got, _ := table.get(key); got != sp {
					t.Errorf("%v is lost", key)
				}
			}
			for key := range want {
				table.remove(key)
			}
			if got, found := table.get(draw(r)); found {
				t.Errorf("%v is left", got)
			}
		})
	}
}

// Memory is given back once most has expired.
func TestSpanTableShrinks(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var table spanTable
	var keys []digest
	for range 100_000 {
		key := digest{r.Uint64(), r.Uint64()}
		keys = append(keys, key)
		table.set(key, span{1, 1})
	}
	slots := func() (n int) {
		for i := range table.parts {
			n += len(table.parts[i].slots)
		}
		return n
	}
	if n := slots(); n > 100_000*16/10 {
		t.Errorf("%d slots for 100000", n)
	}
	for _, key := range keys[1000:] {
		table.remove(key)
	}
	if n := slots(); n > 12_000 {
		t.Errorf("%d slots for 1000", n)
	}
	for _, key := range keys[:1000] {
		if _, known := table.get(key); !known {
			t.Fatal("one was lost")
		}
	}
}
