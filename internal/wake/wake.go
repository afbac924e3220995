// Package wake tells a goroutine that there is something to do.
package wake

// Signal holds at most one wake-up: however often it is sent before the goroutine looks, it looks once. Who sends first
// leaves the work where the goroutine finds it. The receiver reads from the channel; nobody closes it.
type Signal chan struct{}

// New returns a Signal that holds none.
func New() Signal { return make(Signal, 1) }

// Send makes sure that s holds a wake-up. It never blocks.
func (s Signal) Send() {
	select {
	case s <- struct{}{}:
	default: // it holds one already
	}
}
