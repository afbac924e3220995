package retry

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestBackoffDoubles(t *testing.T) {
	b := Backoff{Min: 100 * time.Millisecond, Max: time.Second}
	bounds := []time.Duration{100, 200, 400, 800, 1000, 1000} // milliseconds
	for round := range 3 {
		for i, bound := range bounds {
			bound *= time.Millisecond
			if d := b.Next(); d < bound/2 || d > bound {
				t.Fatalf("round %d, failure %d: a pause of %v, outside of %v to %v", round, i, d, bound/2, bound)
			}
		}
		b.Reset()
	}
}

func TestBackoffIsJittered(t *testing.T) {
	seen := map[time.Duration]bool{}
	for range 100 {
		b := Backoff{Min: time.Second, Max: time.Second}
		seen[b.Next()] = true
	}
	if len(seen) < 50 {
		t.Fatalf("100 pauses have %d lengths", len(seen))
	}
}

func TestBackoffSurvivesManyFailures(t *testing.T) {
	b := Backoff{Min: time.Second, Max: 1<<62 - 1}
	for i := range 1000 {
		if d := b.Next(); d < time.Second/2 {
			t.Fatalf("failure %d: a pause of %v", i, d)
		}
	}
}

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		begun := time.Now()
		if !Sleep(ctx, time.Hour) || time.Since(begun) != time.Hour {
			t.Fatalf("slept for %v", time.Since(begun))
		}
		time.AfterFunc(time.Minute, cancel)
		begun = time.Now()
		b := Backoff{Min: time.Hour, Max: time.Hour}
		if b.Sleep(ctx) || time.Since(begun) != time.Minute {
			t.Fatalf("a context that ended was noticed after %v", time.Since(begun))
		}
		if Sleep(ctx, 0) {
			t.Fatal("slept although the context had ended")
		}
	})
}
