package processor

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

func TestHalfOfTheProcessors(t *testing.T) {
	most := int32(max(1, runtime.GOMAXPROCS(0)/2))
	var running, peak atomic.Int32
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			Enter()
			defer Leave()
			n := running.Add(1)
			defer running.Add(-1)
			for p := peak.Load(); n > p && !peak.CompareAndSwap(p, n); p = peak.Load() {
			}
			runtime.Gosched()
		})
	}
	wg.Wait()
	if n := peak.Load(); n < 1 || n > most {
		t.Errorf("%d ran at the same time, at most %d may", n, most)
	}
}
