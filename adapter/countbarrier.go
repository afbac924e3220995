package adapter

import (
	"context"
	"sync"
	"time"
)

// holdLimit is how long answers wait for a count that does not come, because BroadcastWithAck was not called by the
// library's operator. settleTime is how long after the count they go on waiting.
const (
	holdLimit  = 50 * time.Millisecond
	settleTime = time.Millisecond
)

// maxHeld bounds the broadcasts that wait for a count.
const maxHeld = 1000

// countBarrier holds answers to a broadcast back until the library can take them. Its operator calls BroadcastWithAck,
// then ServerCount, and then checks, without a lock, whether all answers are there, as it does with every answer: one
// that came at that moment would have the application's callback called twice.
//
// It also corrects the operator, which counts all servers even if only this one is asked.
type countBarrier struct {
	mu      sync.Mutex
	waiting []held // Guarded by mu.
}

// held is a broadcast that waits for a count.
type held struct {
	call    *ackRequest
	local   bool          // only this server is asked
	counted chan struct{} // closed by release
}

// hold keeps back the answers of call.
func (b *countBarrier) hold(ctx context.Context, call *ackRequest, local bool) {
	counted := make(chan struct{})
	b.mu.Lock()
	if len(b.waiting) == maxHeld { // nobody counts: holdLimit lets the older ones pass
		b.waiting = append([]held(nil), b.waiting[maxHeld/2:]...)
	}
	b.waiting = append(b.waiting, held{call, local, counted})
	b.mu.Unlock()
	call.calls.post(func() {
		timer := time.NewTimer(holdLimit)
		defer timer.Stop()
		select {
		case <-counted:
		case <-timer.C:
		case <-ctx.Done():
		}
	})
}

// release lets answers pass, a moment after the count has been returned. Where only this server was asked the others
// count no clients.
func (b *countBarrier) release(servers int64) {
	b.mu.Lock()
	waiting := b.waiting
	b.waiting = nil
	b.mu.Unlock()
	if len(waiting) == 0 {
		return
	}
	for _, h := range waiting {
		for i := int64(1); h.local && i < servers; i++ {
			h.call.calls.post(func() { h.call.count(0) })
		}
	}
	time.AfterFunc(settleTime, func() {
		for _, h := range waiting {
			close(h.counted)
		}
	})
}
