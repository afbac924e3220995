package eio

import "context"

// room is a call of AwaitRoom.
type room struct {
	limit int
	free  chan struct{} // closed when there is room
	next  *room
}

// AwaitRoom waits until at most limit bytes are queued or the session has closed. It returns ctx's error if ctx ends
// first.
func (c *Conn) AwaitRoom(ctx context.Context, limit int) error {
	limit = max(limit, 0) // a session that has closed has nothing queued
	c.mu.Lock()
	if c.queued <= limit {
		c.mu.Unlock()
		return ctx.Err()
	}
	r := &room{limit: limit, free: make(chan struct{}), next: c.rooms}
	c.rooms = r
	c.mu.Unlock()
	select {
	case <-r.free:
		return nil
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for p := &c.rooms; *p != nil; p = &(*p).next {
		if *p == r {
			*p = r.next
			break
		}
	}
	return ctx.Err()
}

// freeRoomsLocked wakes the calls of AwaitRoom whose limit is met.
func (c *Conn) freeRoomsLocked() {
	for p := &c.rooms; *p != nil; {
		r := *p
		if c.queued > r.limit {
			p = &r.next
			continue
		}
		close(r.free)
		*p = r.next
	}
}
