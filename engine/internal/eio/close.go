package eio

import (
	"time"

	"github.com/architus/guildcast/engine/internal/ws"
)

const (
	// pollCloseTimeout is how long a closing session waits for a poll to take the close packet, as in Node.js.
	pollCloseTimeout = 30 * time.Second
	// leaveTimeout is how long a session waits, after its peer has POSTed a close packet, for a poll that the peer may
	// have sent before, to answer it properly.
	leaveTimeout = 30 * time.Millisecond
)

// Close ends the session with ReasonForcedClose. Unless discard is true, queued frames are sent first. Close does not
// wait; Handler.OnClose is called when the session has ended.
func (c *Conn) Close(discard bool) {
	if discard {
		c.finish(ReasonForcedClose, nil)
		return
	}
	c.mu.Lock()
	if c.State() != Open {
		c.mu.Unlock()
		return
	}
	c.state.Store(uint32(Closing))
	c.srv.beats.remove(c) // no pong is awaited any more; it may come after much that is queued
	if c.ws != nil {
		start := c.ws.shutLocked(c.srv.frames.wsClose, false)
		w := c.ws
		c.mu.Unlock()
		if start {
			w.flush()
		}
		return
	}
	done := c.q.empty() && c.poll.waiter != nil
	if !done { // the next polls take the queued frames, then the close packet
		c.poll.after(c, pollCloseTimeout, ReasonForcedClose)
	}
	c.mu.Unlock()
	if done {
		c.finish(ReasonForcedClose, nil)
	}
}

// Fail ends the session at once with the owner's reason, such as ReasonParseError, and error.
func (c *Conn) Fail(reason string, err error) { c.finish(reason, err) }

// cut ends the session because its peer reads too little of what is sent to it.
func (c *Conn) cut() {
	bye := rawFrame(ws.AppendClose(nil, ws.CodeTryLater, ErrSlowConsumer.Error()))
	if c.finishWith(ReasonTransportError, ErrSlowConsumer, bye) {
		c.srv.slow.Add(1)
		c.srv.cfg.Logger.Warn("slow consumer cut", "session_id", c.id)
	}
}

func (c *Conn) finish(reason string, err error) { c.finishWith(reason, err, c.srv.frames.wsClose) }

// finishWith ends the session at once, with close frame bye for a WebSocket. It reports whether the session had not
// ended before.
func (c *Conn) finishWith(reason string, err error, bye *Frame) bool {
	over := c.end(bye)
	if over {
		go c.closed(reason, err)
	}
	return over
}

// end is finishWith, but does not call the owner. If it returns true the caller must call closed, without holding c.in.
func (c *Conn) end(bye *Frame) bool {
	c.mu.Lock()
	if s := c.State(); s == Closed || s == Opening {
		c.mu.Unlock()
		return false
	}
	c.state.Store(uint32(Closed))
	dropped := c.q.take()
	c.countLocked(-c.queued)
	var waiter *waiter
	if c.poll != nil {
		waiter = c.poll.endLocked(c.srv.frames.close)
		if c.poll.body != nil {
			_ = c.poll.body.SetReadDeadline(time.Now()) // the rest of the body is not wanted
		}
	}
	probe := c.probe
	if probe != nil && probe.ponged {
		probe.timer.Reset(c.srv.closeTimeout)
		probe = nil
	} else {
		c.probe = nil
	}
	w := c.ws
	start := w != nil && w.shutLocked(bye, true)
	c.mu.Unlock()

	c.srv.forget(c.id)
	c.srv.beats.remove(c)
	if start {
		w.flush()
	}
	if waiter != nil {
		waiter.wake()
	}
	if probe != nil {
		probe.abandon()
	}
	dropped.clear(&c.srv.chunks)
	c.srv.work.Add(1) // for closed
	return true
}

// closed waits until no packet is being handled, and calls the owner's OnClose.
func (c *Conn) closed(reason string, err error) {
	defer c.srv.work.Done()
	c.in.Lock()
	defer c.in.Unlock()
	c.mu.Lock()
	w := c.ws
	c.mu.Unlock()
	if w != nil {
		w.drop()
	}
	c.handler.OnClose(c, reason, err)
	c.release()
	c.srv.work.Done() // the session's own
}
