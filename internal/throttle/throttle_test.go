package throttle

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestOneLineAMinuteAndKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m Minutely[string]
		allowed := func(kind string, want bool) {
			t.Helper()
			if got := m.Allow(kind); got != want {
				t.Fatalf("%s is allowed: %v", kind, got)
			}
		}
		allowed("a", true)
		allowed("a", false)
		allowed("b", true) // another kind does not wait for the first
		time.Sleep(interval - time.Nanosecond)
		allowed("a", false)
		time.Sleep(time.Nanosecond)
		allowed("a", true)
		allowed("a", false)
	})
}

func TestKindsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m Minutely[int]
		for kind := range 2 * maxKinds {
			if got, want := m.Allow(kind), kind < maxKinds; got != want {
				t.Fatalf("kind %d is allowed: %v", kind, got)
			}
		}
		if len(m.last) != maxKinds {
			t.Fatalf("%d kinds are remembered", len(m.last))
		}
		time.Sleep(interval)
		if !m.Allow(-1) || len(m.last) != 1 {
			t.Fatalf("after a minute: %d kinds are remembered", len(m.last))
		}
	})
}

func TestConcurrentLines(t *testing.T) {
	var m Minutely[struct{}]
	var allowed atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if m.Allow(struct{}{}) {
				allowed.Add(1)
			}
		})
	}
	wg.Wait()
	if n := allowed.Load(); n != 1 {
		t.Fatalf("%d lines at once", n)
	}
}
