package eio

// SendStatus is the result of Send, SendVolatile or SendLossy.
type SendStatus uint8

// The values of SendStatus.
const (
	Dropped SendStatus = iota // closed, or volatile and not writable: nothing was queued
	Queued                    // will be sent
	Lagging                   // will be sent; the peer is behind but reading: see Conn.Lagging and Pace
	Shed                      // left out: see SendLossy
)

// Send queues frames, in order and with nothing between them. If the queue would exceed Config.QueueHard it ends the
// session with ErrSlowConsumer.
func (c *Conn) Send(frames ...*Frame) SendStatus { return c.send(false, Keep, frames) }

// SendVolatile is Send for messages that are of no use later. It drops all frames unless the connection is Writable.
func (c *Conn) SendVolatile(frames ...*Frame) SendStatus { return c.send(true, Keep, frames) }

// Hold is SendLossy, but does not have the frames written. The caller must call Flush right after the last of them, and
// all go out together.
func (c *Conn) Hold(loss Loss, frames ...*Frame) SendStatus {
	c.created(frames)
	status, _, _ := c.enqueue(false, true, loss, frames)
	return status
}

// Flush has what is queued written.
func (c *Conn) Flush() {
	c.mu.Lock()
	var ws *wsConn
	var waiter *waiter
	if c.State() == Open && !c.q.empty() {
		ws, waiter = c.kickLocked()
	}
	c.mu.Unlock()
	if ws != nil {
		ws.flush() // by the flusher, which has a larger buffer
	}
	if waiter != nil {
		waiter.wake()
	}
}

// SendWithin is Send, but calls section, which must call queue to queue the frames, and may hold a lock meanwhile.
// Hooks are called, and frames are written, outside of section.
func (c *Conn) SendWithin(section func(queue func()), frames ...*Frame) {
	c.created(frames)
	var ws *wsConn
	var waiter *waiter
	section(func() { _, ws, waiter = c.enqueue(false, false, Keep, frames) })
	notify(ws, waiter)
}

func (c *Conn) send(volatile bool, loss Loss, frames []*Frame) SendStatus {
	c.created(frames)
	status, ws, waiter := c.enqueue(volatile, false, loss, frames)
	notify(ws, waiter)
	return status
}

// notify wakes the writer of ws and waiter because something was queued. Either may be nil.
func notify(ws *wsConn, waiter *waiter) {
	if ws != nil {
		ws.flushAnswer()
	}
	if waiter != nil {
		waiter.wake()
	}
}

// enqueue queues frames, and returns the arguments for notify, or nil if they are held.
func (c *Conn) enqueue(volatile, hold bool, loss Loss, frames []*Frame) (SendStatus, *wsConn, *waiter) {
	size := 0
	for _, f := range frames {
		size += f.counted()
	}
	c.mu.Lock()
	if c.State() != Open || volatile && !c.writableLocked() {
		c.mu.Unlock()
		return Dropped, nil, nil
	}
	if c.shedsLocked(loss, size) {
		c.mu.Unlock()
		return Shed, nil, nil
	}
	if c.overfullLocked(size) {
		c.mu.Unlock()
		c.cut()
		return Dropped, nil, nil
	}
	status := c.enqueueLocked(loss, frames, size)
	if hold {
		c.mu.Unlock()
		return status, nil, nil
	}
	ws, waiter := c.kickLocked()
	c.mu.Unlock()
	return status, ws, waiter
}

// overfullLocked reports whether size more bytes are more than the connection may have queued.
func (c *Conn) overfullLocked(size int) bool {
	cfg := &c.srv.cfg
	return c.queued > 0 && c.queued+size > cfg.QueueHard ||
		c.queued > cfg.QueueSoft && c.srv.budget.Load() > int64(cfg.QueueBudget)
}

func (c *Conn) enqueueLocked(loss Loss, frames []*Frame, size int) SendStatus {
	if c.sharesLocked() {
		size = 0
		for _, f := range frames {
			f = c.formLocked(f)
			size += f.counted()
			c.q.push(&c.srv.chunks, f)
		}
	} else {
		for _, f := range frames {
			c.q.push(&c.srv.chunks, f)
		}
	}
	soft := int(c.srv.lag.Load())
	before := c.queued
	c.countLocked(size)
	if c.queued <= soft {
		return Queued
	}
	now := c.srv.now()
	if before <= soft {
		c.progress = now // for now it counts as reading
	}
	if c.late == 0 {
		c.late = now
	}
	// A sender does not wait for a peer for which it may leave the frames out by now, so that one peer does not hold up
	// the others.
	if c.laggingLocked(now) && (loss == Keep || !c.slowLocked(now)) {
		return Lagging
	}
	return Queued
}

// budgetStep is the unit in bytes in which connections charge Server.budget, so that one that keeps up never touches
// it.
const budgetStep = 64 << 10

// countLocked changes the number of queued bytes by delta.
func (c *Conn) countLocked(delta int) {
	c.queued += delta
	if c.rooms != nil {
		c.freeRoomsLocked()
	}
	if c.late != 0 && c.queued <= c.caughtUp() {
		c.late = 0
	}
	if charge := c.queued &^ (budgetStep - 1); charge != c.charged {
		c.srv.budget.Add(int64(charge - c.charged))
		c.charged = charge
	}
}

// kickLocked returns the arguments for notify, which must be called without the lock.
func (c *Conn) kickLocked() (*wsConn, *waiter) {
	if c.ws == nil {
		return nil, c.poll.waiter
	}
	if c.ws.claimLocked() {
		return c.ws, nil
	}
	return nil, nil
}

// created calls the hook for frames that are about to be queued.
func (c *Conn) created(frames []*Frame) {
	hook := c.srv.cfg.Hooks.PacketCreate
	if hook == nil || !c.observes(ObservePacketCreate) || c.State() != Open {
		return
	}
	for _, f := range frames {
		hook(c, f.packet())
	}
}

// notify calls a hook without arguments if it is observed.
func (c *Conn) notify(e Events, hook func(*Conn)) {
	if hook != nil && c.observes(e) {
		hook(c)
	}
}
