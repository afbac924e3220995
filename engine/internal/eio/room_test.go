package eio

import (
	"context"
	"errors"
	"testing"
	"time"
)

// Who waits for room is woken when the peer has read so much, and forgotten when it gives up.
func TestAwaitRoom(t *testing.T) {
	overDrivers(t, func(t *testing.T, d driver) {
		f := newFixture(t, d, Config{QueueHard: 100 << 20, StallTimeout: time.Minute})
		p, o := f.openWS()
		if err := o.AwaitRoom(t.Context(), 0); err != nil {
			t.Errorf("nothing is queued: %v", err)
		}
		const messages = 40
		limit := o.clog(messages) / 2
		gone, cancel := context.WithCancel(t.Context())
		errs := make(chan error)
		go func() { errs <- o.AwaitRoom(gone, limit) }()
		cancel()
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Errorf("whoever gave up got %v", err)
		}
		o.mu.Lock()
		if o.rooms != nil {
			t.Error("whoever gave up is still waited for")
		}
		o.mu.Unlock()
		queued := make(chan int)
		for _, l := range []int{limit, 0} {
			go func() {
				if err := o.AwaitRoom(t.Context(), l); err != nil {
					t.Error(err)
				}
				queued <- o.Queued()
			}()
		}
		read := func(n int) {
			for range n {
				if _, _, err := p.read(); err != nil {
					t.Error(err)
				}
			}
		}
		read(messages * 3 / 4)
		if n := <-queued; n > limit {
			t.Errorf("woken when %d bytes were queued, for at most %d", n, limit)
		}
		read(messages - messages*3/4)
		if n := <-queued; n != 0 {
			t.Errorf("woken when %d bytes were queued, for none", n)
		}
	})
}

// A session that closes has room.
func TestAwaitRoomUntilClosed(t *testing.T) {
	overDrivers(t, func(t *testing.T, d driver) {
		f := newFixture(t, d, Config{QueueHard: 100 << 20, StallTimeout: time.Minute})
		_, o := f.openWS()
		o.clog(40)
		done := make(chan error)
		go func() { done <- o.AwaitRoom(t.Context(), -1) }()
		o.Close(true)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
