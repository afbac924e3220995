package eio

import (
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/architus/guildcast/internal/processor"
)

// While the processors for long work are taken, a large message waits, and a small one of another client does not.
func TestLargeMessageWaitsForItsTurn(t *testing.T) {
	overDrivers(t, func(t *testing.T, d driver) {
		const large = 60_000
		sizes := make(chan int, 2)
		f := newFixture(t, d, Config{}, func(f *fixture) {
			f.onMsg = func(_ *owner, _ bool, data []byte) { sizes <- len(data) }
		})
		p, _ := f.openWS()
		q, _ := f.openWS()
		turns := max(1, runtime.GOMAXPROCS(0)/2)
		for range turns {
			processor.Enter()
		}
		leave := sync.OnceFunc(func() {
			for range turns {
				processor.Leave()
			}
		})
		defer leave()
		p.text("4" + strings.Repeat("x", large))
		for range 200 {
			q.text("4small")
			if n := <-sizes; n != len("small") {
				t.Fatalf("%d bytes have not waited", n)
			}
		}
		leave()
		if n := <-sizes; n != large {
			t.Errorf("%d bytes came then", n)
		}
	})
}
