package eio

import "time"

// Loss says if frames may be left out for a connection that is behind, whose owner can make up for it later.
type Loss uint8

// Losses, from the strictest.
const (
	// Keep leaves nothing out: a queue that would grow over Config.QueueHard ends the session.
	Keep Loss = iota
	// ShedWhenFull leaves frames out instead of ending the session.
	ShedWhenFull
	// ShedWhenBehind leaves frames out once the connection is behind by a quarter of Config.QueueHard, or once a peer
	// whose window is full has been behind for behindTime: senders should wait for those that have a bad moment, and
	// not for those that read too slowly for what is sent.
	ShedWhenBehind
)

// behindTime is how long senders wait for a peer that reads, and never catches up, before they leave things out for it.
const behindTime = 3 * time.Second

// SendLossy is Send for frames that may be left out. Once some have been, the status is Shed, and so is that of all
// that may be left out as well, so that what is missing is in one piece: until Resume is true.
func (c *Conn) SendLossy(loss Loss, frames ...*Frame) SendStatus { return c.send(false, loss, frames) }

// Resume ends the leaving out if the peer has caught up with most of what was queued. It is false while it has not, and
// true for a session that has ended, or of which nothing was left out.
func (c *Conn) Resume() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.State() == Open && c.shedding != Keep && c.queued > c.caughtUp() {
		return false
	}
	c.shedding = Keep
	return true
}

// caughtUp is the number of queued bytes up to which a peer that was behind is no longer.
func (c *Conn) caughtUp() int { return int(c.srv.lag.Load()) / 4 }

// shedsLocked reports whether size more bytes are to be left out.
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

// slowLocked reports whether it is the peer that keeps the queue long: its window is full, and the queue has been over
// what counts as Lagging for behindTime, and never near empty.
func (c *Conn) slowLocked(now time.Duration) bool {
	return c.late != 0 && now-c.late > behindTime && c.ws != nil && (c.ws.blocked || c.ws.raw == nil)
}
