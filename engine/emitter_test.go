package engine

import (
	"slices"
	"sync"
	"testing"

	"github.com/zishang520/engine.io/v2/events"
)

func TestEmitter(t *testing.T) {
	var e emitter
	var got []string
	note := func(s string) events.Listener { return func(args ...any) { got = append(got, s) } }
	_ = e.On("a", note("1"), nil)
	_ = e.Once("a", note("2"))
	_ = e.AddListener("b", note("3"))
	e.Emit("a")
	e.Emit("a")
	e.Emit("b")
	e.Emit("c")
	if want := []string{"1", "2", "1", "3"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if e.ListenerCount("a") != 1 || len(e.Listeners("b")) != 1 || e.Len() != 2 ||
		!slices.Equal(e.EventNames(), []events.EventName{"a", "b"}) {
		t.Error(e.EventNames())
	}
	if !e.RemoveAllListeners("a") || e.RemoveAllListeners("a") || e.ListenerCount("a") != 0 {
		t.Error("RemoveAllListeners")
	}
	e.Clear()
	if e.Len() != 0 {
		t.Error("Clear")
	}
}

func TestEmitterRemoveListener(t *testing.T) {
	var e emitter
	n := 0
	fn := func(...any) { n++ }
	_ = e.On("a", fn, fn)
	if e.RemoveListener("b", fn) || e.RemoveListener("a", nil) || !e.RemoveListener("a", fn) {
		t.Error("RemoveListener")
	}
	e.Emit("a")
	if n != 1 {
		t.Errorf("called %d times", n)
	}
}

func TestEmitterOnceRunsOnce(t *testing.T) {
	var e emitter
	var mu sync.Mutex
	n := 0
	_ = e.Once("a", func(...any) { mu.Lock(); n++; mu.Unlock(); e.Emit("a") })
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { e.Emit("a") })
	}
	wg.Wait()
	if n != 1 {
		t.Errorf("called %d times", n)
	}
}

func BenchmarkEmitterEmit(b *testing.B) {
	var e emitter
	_ = e.On("error", func(...any) {})
	_ = e.On("a", func(...any) {})
	args := []any{1}
	b.ReportAllocs()
	for b.Loop() {
		e.Emit("a", args...)
	}
}
