package adapter

import (
	"context"
	"sync"
	"time"

	"github.com/zishang520/socket.io-go-parser/v2/parser"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter/internal/wire"
)

// BroadcastWithAck is Broadcast of an event that clients acknowledge. counted gets the number of clients of each server,
// acked one value of each client. How long they are waited for is in the options; the library ends the wait.
func (a *sharded) BroadcastWithAck(
	p *parser.Packet, opts *socket.BroadcastOptions, counted func(uint64), acked socket.Ack,
) {
	call := newAckRequest(opts, counted, acked, a.opts.Logger, &a.wg)
	a.counting.hold(a.run, call)
	if !isLocal(opts) {
		var err error
		if p, err = replayable(p); err == nil {
			err = a.publishAckRequest(p, wireOptions(opts), call)
		}
		if err != nil {
			a.unsent("broadcast with acknowledgement", err)
		}
	}
	a.Adapter.BroadcastWithAck(p, opts, counted, call.local)
}

func (a *sharded) publishAckRequest(p *parser.Packet, o wire.Options, call *ackRequest) error {
	id := randomHex()
	timeout := a.opts.RequestsTimeout
	if o.Flags.Timeout > 0 {
		timeout = o.Flags.Timeout
	}
	a.acks.open(id, call, timeout)
	err := a.publish(typeBroadcast, a.base, wire.Object{
		{Key: "packet", Value: eventPacket(p.Data)}, {Key: "requestId", Value: id}, shardedOptions(o),
	})
	if err != nil {
		a.acks.drop(id)
	}
	return err
}

// holdLimit is how long answers wait for a count that does not come, because BroadcastWithAck was not called by the
// library's operator. settleTime is how long after the count they go on waiting.
const (
	holdLimit  = 50 * time.Millisecond
	settleTime = time.Millisecond
)

// maxHeld bounds the broadcasts that wait for a count.
const maxHeld = 1000

// countBarrier keeps answers to a broadcast back until the library can take them. Its operator calls BroadcastWithAck,
// then ServerCount, and then checks, without a lock, whether all answers are there, as it does with every answer: one
// that came at that moment would have the application's callback called twice.
type countBarrier struct {
	mu      sync.Mutex
	waiting []chan struct{} // Guarded by mu; closed by release.
}

// hold keeps back the answers of call.
func (b *countBarrier) hold(ctx context.Context, call *ackRequest) {
	counted := make(chan struct{})
	b.mu.Lock()
	if len(b.waiting) == maxHeld { // nobody counts: holdLimit lets the older ones pass
		b.waiting = append([]chan struct{}(nil), b.waiting[maxHeld/2:]...)
	}
	b.waiting = append(b.waiting, counted)
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

// release lets answers pass, a moment after the count has been returned.
func (b *countBarrier) release() {
	b.mu.Lock()
	waiting := b.waiting
	b.waiting = nil
	b.mu.Unlock()
	if len(waiting) == 0 {
		return
	}
	time.AfterFunc(settleTime, func() {
		for _, c := range waiting {
			close(c)
		}
	})
}
