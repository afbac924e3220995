// Package retry spaces out the attempts at something that fails for a while.
package retry

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff is the pause before the next attempt. It begins with Min and doubles with each failure up to Max; half of it
// is random, so that those who failed together don't come back together.
//
// Min and Max must be positive. It belongs to one goroutine.
type Backoff struct {
	Min, Max time.Duration

	next time.Duration // the upper bound of the next pause; 0 is Min
}

// Next returns the pause after one more failure.
func (b *Backoff) Next() time.Duration {
	d := min(max(b.next, b.Min), b.Max)
	b.next = min(2*d, b.Max)
	return d/2 + rand.N(d/2+1)
}

// Reset begins with Min again: an attempt has succeeded.
func (b *Backoff) Reset() { b.next = 0 }

// Sleep waits for the pause after one more failure. It returns false if ctx ends first.
func (b *Backoff) Sleep(ctx context.Context) bool { return Sleep(ctx, b.Next()) }

// Sleep waits for d. It returns false if ctx ends first.
func Sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return ctx.Err() == nil // both may have come
	}
}
