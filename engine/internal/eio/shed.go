package eio

import "time"

// Loss says whether frames may be left out for a connection that is behind. The sender must make up for it later.
type Loss uint8

// Losses, from the strictest.
const (
	// Keep never leaves frames out. If the queue would exceed Config.QueueHard it ends the session.
	Keep Loss = iota
	// ShedWhenFull leaves frames out where Keep would end the session.
	ShedWhenFull
	// ShedWhenBehind leaves frames out if a quarter of Config.QueueHard is queued, or if a peer whose window is full
	// has been behind for behindTime. So senders wait for a peer that has a bad moment, but not for one that always
	// reads too slowly.
	ShedWhenBehind
)

// behindTime is how long senders wait for a peer that reads but never catches up, before they leave frames out for it.
const behindTime = 3 * time.Second

// SendLossy is Send for frames that may be left out. If they are, it returns Shed. From then on it leaves out all such
// frames, so that the gap is in one piece, until Resume returns true.
func (c *Conn) SendLossy(loss Loss, frames ...*Frame) SendStatus { return c.send(false, loss, frames) }

// Resume stops leaving frames out if the peer has caught up with most of what was queued, and reports whether it has.
// It also returns true if the session has ended or nothing was left out.
func (c *Conn) Resume() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.State() == Open && c.shedding != Keep && c.queued > c.caughtUp() {
		return false
	}
	c.shedding = Keep
	return true
}

// caughtUp returns the number of queued bytes below which a peer that was behind has caught up.
func (c *Conn) caughtUp() int { return int(c.srv.lag.Load()) / 4 }

// shedsLocked reports whether to leave out size more bytes.
func (c *Conn) shedsLocked(loss Loss, size int) bool {
	switch {
	case loss == Keep:
		return false
	case c.overfullLocked(size):
		c.shedding = ShedWhenFull
	case c.shedding == Keep && loss == ShedWhenBehind && c.queued > budgetStep && c.behindLocked(size):
		c.shedding = ShedWhenBehind
	}
	return c.shedding != Keep && loss >= c.shedding
}

func (c *Conn) behindLocked(size int) bool {
	return c.queued+size > c.srv.cfg.QueueHard/4 || c.slowLocked(c.srv.now())
}

// slowLocked reports whether the peer itself keeps the queue long: its window is full, and for behindTime the queue has
// exceeded what counts as Lagging, and was never nearly empty.
func (c *Conn) slowLocked(now time.Duration) bool {
	return c.late != 0 && now-c.late > behindTime && c.ws != nil && (c.ws.blocked || c.ws.raw == nil)
}
