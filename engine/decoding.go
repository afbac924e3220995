package engine

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/semaphore"
)

// ErrBusy reports that an event has waited too long because Options.MaxDecodingBudget is spent. It closes the client.
var ErrBusy = errors.New("too many large events are being handled")

// Decoded sizes of events in bytes, and how long an event waits.
const (
	freeCost   = 4 << 10  // a smaller event never waits
	smallCost  = 64 << 10 // a smaller event does not wait for larger ones
	decodeWait = 10 * time.Second
)

// decoding bounds the memory of events that are being decoded and handled. Large events have a pool of their own, so
// that small ones do not wait for them.
type decoding struct {
	small, large *decodePool
}

func newDecoding(budget int) decoding {
	return decoding{small: newDecodePool(budget), large: newDecodePool(budget)}
}

// of returns the pool for an event that takes cost bytes, or nil if it needs none.
func (d *decoding) of(cost int) *decodePool {
	switch {
	case cost <= freeCost:
		return nil
	case cost <= smallCost:
		return d.small
	}
	return d.large
}

// decodePool is a budget in bytes. Events that wait for a part of it get it in the order of arrival.
type decodePool struct {
	free   *semaphore.Weighted
	budget int64
}

func newDecodePool(budget int) *decodePool {
	return &decodePool{free: semaphore.NewWeighted(int64(budget)), budget: int64(budget)}
}

// enter waits until an event that takes cost bytes may be decoded, and reports whether that happened in time. If it
// returns true the caller must call leave.
//
// It gives up if the channel that gone returns is closed.
func (p *decodePool) enter(cost int, gone func() <-chan struct{}) bool {
	weight := p.weight(cost)
	if p.free.TryAcquire(weight) {
		return true
	}
	ctx, cancel := context.WithTimeout(context.Background(), decodeWait)
	defer cancel()
	left := gone()
	go func() {
		select {
		case <-left:
			cancel()
		case <-ctx.Done():
		}
	}()
	return p.free.Acquire(ctx, weight) == nil
}

func (p *decodePool) leave(cost int) { p.free.Release(p.weight(cost)) }

// weight returns the part of the budget that an event takes, which is all of it if the event needs more.
func (p *decodePool) weight(cost int) int64 { return min(int64(cost), p.budget) }
