package engine

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/semaphore"
)

// ErrBusy closes a client whose event has waited too long for others to be handled: Options.MaxDecodingBudget is spent.
var ErrBusy = errors.New("too many large events are being handled")

// Sizes of events when they are decoded, in bytes, and how long one waits.
const (
	freeCost   = 4 << 10  // up to here an event never waits
	smallCost  = 64 << 10 // up to here it does not wait for larger ones
	decodeWait = 10 * time.Second
)

// decoding bounds what the events take that are being decoded and handled. Large events have a pool apart, so that
// small ones do not wait for them.
type decoding struct {
	small, large *decodePool
}

func newDecoding(budget int) decoding {
	return decoding{small: newDecodePool(budget), large: newDecodePool(budget)}
}

// of returns the pool of an event that takes cost bytes, nil if it needs none.
func (d *decoding) of(cost int) *decodePool {
	switch {
	case cost <= freeCost:
		return nil
	case cost <= smallCost:
		return d.small
	}
	return d.large
}

// decodePool is a budget in bytes. Who waits for a part of it gets it in the order of arrival.
type decodePool struct {
	free   *semaphore.Weighted
	budget int64
}

func newDecodePool(budget int) *decodePool {
	return &decodePool{free: semaphore.NewWeighted(int64(budget)), budget: int64(budget)}
}

// enter waits until an event that takes cost bytes can be decoded, and reports whether that came in time. Then leave
// has to be called.
//
// It gives up when the channel that gone returns is closed.
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

// weight returns the part of the budget that an event takes: all of it if the event needs more.
func (p *decodePool) weight(cost int) int64 { return min(int64(cost), p.budget) }
