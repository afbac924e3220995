package recent

import (
	"testing"

	"pgregory.net/rapid"
)

func TestWhatIsInUseStays(t *testing.T) {
	m := New[int, string](8, nil)
	m.Put(0, "in use")
	m.Put(-1, "not in use")
	for i := range 100 {
		m.Put(i+1, "")
		if v, ok := m.Get(0); !ok || v != "in use" {
			t.Fatalf("forgotten after %d others", i+1)
		}
		if m.Len() > 8 {
			t.Fatalf("%d entries", m.Len())
		}
	}
	if m.Has(-1) {
		t.Error("what nobody uses is not forgotten")
	}
}

func TestWeight(t *testing.T) {
	m := New[string](100, func(v []byte) int { return len(v) })
	m.Put("too large", make([]byte, 51))
	m.Put("half", make([]byte, 50))
	if m.Has("too large") || !m.Has("half") {
		t.Fatal("half of the weight is the most for one entry")
	}
	m.Put("half", make([]byte, 51))
	if m.Len() != 0 {
		t.Fatal("the value before stays")
	}
}

func TestNothingIsStored(t *testing.T) {
	for _, most := range []int{-1, 0, 1} {
		m := New[int, int](most, nil)
		m.Put(1, 1)
		if m.Len() != 0 {
			t.Errorf("a Map of %d entries has one", most)
		}
	}
}

// TestZeroValueTurnsWhenTold is the Map of those who forget by time.
func TestZeroValueTurnsWhenTold(t *testing.T) {
	var m Map[int, struct{}]
	for i := range 10_000 {
		m.Put(i, struct{}{})
	}
	m.Turn()
	m.Put(-1, struct{}{})
	m.Delete(5)
	if m.Len() != 10_000 || !m.Has(7) || m.Has(5) {
		t.Fatalf("%d entries after a turn", m.Len())
	}
	if m.Turn(); m.Len() != 1 {
		t.Fatalf("%d entries after two turns", m.Len())
	}
	if m.Turn(); m.Len() != 0 || m.younger != nil || m.older != nil {
		t.Fatal("memory is held after three turns")
	}
}

// TestMap compares with a plain map: what is found is what was stored last, and the weight is never over the bound.
func TestMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(-1, 40).Draw(t, "max")
		m := New[int](most, func(v int) int { return v })
		all := map[int]int{}
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			key := rapid.IntRange(0, 20).Draw(t, "key")
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0, 1:
				v := rapid.IntRange(1, 10).Draw(t, "value")
				m.Put(key, v)
				if all[key] = v; m.Has(key) != (v <= most/2) {
					t.Fatalf("an entry of %d is stored: %v", v, m.Has(key))
				}
			case 2:
				had := m.Has(key)
				if v, ok := m.Get(key); ok != had || ok && (v != all[key] || !m.Has(key)) {
					t.Fatalf("found %d, %v, not %d", v, ok, all[key])
				}
			case 3:
				if m.Delete(key); m.Has(key) {
					t.Fatal("held after Delete")
				}
			}
			held := 0
			for key, v := range all {
				if m.Has(key) {
					held += v
				}
			}
			if held > max(most, 0) {
				t.Fatalf("%d are held of at most %d", held, most)
			}
			young := 0
			for _, v := range m.younger {
				young += v
			}
			if young != m.size {
				t.Fatalf("the younger weigh %d, counted are %d", young, m.size)
			}
		}
	})
}
