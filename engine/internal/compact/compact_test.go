package compact

import (
	"maps"
	"runtime"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestMapModel compares a Map with a plain one.
func TestMapModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m Map[int, int]
		model := map[int]int{}
		key := rapid.IntRange(0, 300)
		for range rapid.IntRange(1, 1000).Draw(t, "steps") {
			k := key.Draw(t, "key")
			if rapid.Bool().Draw(t, "set") {
				m.Set(k, k*2)
				model[k] = k * 2
			} else {
				m.Delete(k)
				delete(model, k)
			}
			v, ok := m.Get(k)
			if want, there := model[k]; v != want || ok != there {
				t.Fatalf("%d: %d, %v; want %d, %v", k, v, ok, want, there)
			}
			if m.Len() != len(model) {
				t.Fatalf("%d keys, want %d", m.Len(), len(model))
			}
		}
		if got := maps.Collect(m.All); !maps.Equal(got, model) {
			t.Fatalf("%v, want %v", got, model)
		}
	})
}

// TestMapGivesBack fills and empties a map: what it holds then is next to nothing.
func TestMapGivesBack(t *testing.T) {
	const n = 100_000
	var m Map[int, [4]int]
	before := heap()
	for i := range n {
		m.Set(i, [4]int{})
	}
	full := heap() - before
	for i := range n {
		m.Delete(i)
	}
	if left := heap() - before; left > full/100 {
		t.Errorf("%d bytes of %d are still held", left, full)
	}
	runtime.KeepAlive(&m)
}

func TestSlice(t *testing.T) {
	for _, c := range []struct{ length, room, want int }{
		{0, 0, 0}, {3, small, small}, {26, 100, 100}, {25, 100, 50}, {0, 1000, 0},
	} {
		s := make([]int, c.length, c.room)
		for i := range s {
			s[i] = i
		}
		got := Slice(s)
		if len(got) != c.length || cap(got) != c.want {
			t.Errorf("length %d of %d, want %d of %d", len(got), cap(got), c.length, c.want)
		}
		for i, v := range got {
			if v != i {
				t.Errorf("element %d is %d", i, v)
			}
		}
	}
}

func heap() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
