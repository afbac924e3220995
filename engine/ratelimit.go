package engine

import "time"

// bucket is a token bucket. It belongs to the event lane of one box.
type bucket struct {
	tokens float64
	at     time.Time
}

// allow takes a token for an event of b; false means that the client sends more than Options.EventsPerSecond.
func (c *Conn) allow(b *box) bool {
	rate := c.srv.options.EventsPerSecond
	if rate <= 0 {
		return true
	}
	burst, now := float64(c.srv.options.EventBurst), time.Now()
	if b.rate == nil {
		b.rate = &bucket{burst, now}
	}
	t := b.rate
	t.tokens = min(burst, t.tokens+now.Sub(t.at).Seconds()*rate)
	t.at = now
	if t.tokens < 1 {
		return false
	}
	t.tokens--
	return true
}
