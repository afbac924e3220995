package eio

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/architus/guildcast/internal/test/wait"
)

// heap returns the bytes in use.
func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// What a peer has not finished is let go of when its session ends, and nothing more of it is kept, however long its
// connection takes to close.
func TestEndedSessionHoldsNothing(t *testing.T) {
	overDrivers(t, func(t *testing.T, d driver) {
		const sessions, size = 30, 900_000
		f := newFixture(t, d, Config{})
		f.eio.closeTimeout = time.Hour
		half := maskedFrame(0x81, make([]byte, size+50_000))[:size]
		before := heap()
		var owners []*owner
		var peers []*peer
		for range sessions {
			p, o := f.openWS()
			p.must(p.raw(half))
			owners, peers = append(owners, o), append(peers, p)
			wait.Until(t, "it is counted", func() bool { return o.received.Load() >= size })
		}
		if held := heap() - before; held < sessions*size {
			t.Fatalf("%d bytes are held", held)
		}
		for i, o := range owners {
			o.Fail(ReasonTransportError, nil)
			o.expectClose(ReasonTransportError)
			p := peers[i]
			p.must(p.raw(make([]byte, 10_000)))
		}
		wait.Until(t, "all is let go of", func() bool { return heap()-before < sessions*size/3 })
		runtime.KeepAlive(owners)
	})
}

// A WebSocket that is not yet the transport has nothing long to say.
func TestLongFrameOfProbe(t *testing.T) {
	f := newFixture(t, plain, Config{})
	query, o := f.openPolling()
	p := f.dial(strings.Replace(query, "polling", "websocket", 1))
	p.must(p.raw(maskedFrame(0x81, make([]byte, 20_000))[:10_000]))
	p.expectClose(1009)
	f.post(query, "4still here")
	o.expectMessage("still here")
}
