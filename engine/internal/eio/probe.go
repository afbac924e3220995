package eio

import (
	"net/http"
	"time"
)

// probe is a WebSocket that is about to replace polling: its peer sends a ping "probe", gets a pong "probe", and then
// sends the upgrade packet.
type probe struct {
	ws    *wsConn
	timer *time.Timer
	done  chan struct{} // closed when it has ended, either way

	// Guarded by Conn.mu.

	// ponged says that the client has its answer: it ends polling, for which its polls are answered at once, and sends
	// the upgrade packet next. Until then it has no way to hear of a session's end. A WebSocket that closes in between
	// leaves engine.io-client with a transport that never polls again, until its ping timeout. So the probe outlives
	// its session, until the packet comes, for closeTimeout at most.
	ponged bool
}

// holdTime is how long a poll is held back while a probe runs. If the upgrade completes within that time, the poll came
// too late, and must be answered accordingly.
const holdTime = 20 * time.Millisecond

// serveUpgrade opens a WebSocket for a polling session.
func (s *Server) serveUpgrade(c *Conn, w http.ResponseWriter, r *http.Request) {
	if s.cfg.DisableUpgrades {
		s.refuse(w, r, CodeBadRequest, map[string]any{"name": "TRANSPORT_MISMATCH"})
		return
	}
	o, ok := s.openWebSocket(w, r)
	if !ok {
		return
	}
	wc := newWSConn(c, o)
	p := &probe{ws: wc, done: make(chan struct{})}
	c.mu.Lock()
	welcome := c.ws == nil && c.probe == nil && c.State() == Open
	if welcome {
		c.probe = p
		p.timer = time.AfterFunc(s.cfg.UpgradeTimeout, p.cancel)
	}
	c.mu.Unlock()
	if welcome {
		wc.sendControl(rawFrame(o.answer))
	} else { // there is another WebSocket, or the session is closing
		wc.preface(o.answer)
		wc.shut(s.frames.wsClose, true)
	}
	s.startReading(wc, o.rest)
}

// probeMessage handles a message from a WebSocket that is not the transport. c.in is held.
func (c *Conn) probeMessage(w *wsConn, binary bool, data []byte) {
	c.mu.Lock()
	p := c.probe
	if p == nil || p.ws != w {
		c.mu.Unlock()
		return // it has been closed
	}
	switch {
	case !binary && string(data) == "2"+probeData:
		p.ponged = true
		waiter := c.poll.waiter
		c.mu.Unlock()
		w.sendControl(rawFrame(c.srv.frames.probe.wire))
		c.notify(ObserveUpgrading, c.srv.cfg.Hooks.Upgrading)
		if waiter != nil {
			waiter.wake() // with a noop, if there is nothing else
		}
	case !binary && string(data) == "5" && c.State() != Closed:
		c.upgradeLocked(p)
	default:
		c.mu.Unlock()
		p.cancel()
	}
}

// upgradeLocked makes the probe the transport, and unlocks c. The queue stays in the session, so nothing is lost or
// reordered.
func (c *Conn) upgradeLocked(p *probe) {
	w := p.ws
	c.probe = nil
	c.ws = w
	w.live = true
	waiter := c.poll.endLocked(c.srv.frames.noop)
	start := false
	if c.State() == Closing {
		start = w.shutLocked(c.srv.frames.wsClose, false)
	} else if !c.q.empty() {
		start = w.claimLocked()
	}
	c.mu.Unlock()
	p.timer.Stop()
	close(p.done)
	if waiter != nil {
		waiter.wake()
	}
	if start {
		w.flush()
	}
	c.srv.upgrades.Add(1)
	c.srv.beats.upgraded(c)
	c.notify(ObserveUpgrade, c.srv.cfg.Hooks.Upgrade)
}

// cancel ends the probe. The session, if it has not ended, goes on polling.
func (p *probe) cancel() {
	c := p.ws.conn
	c.mu.Lock()
	mine := c.probe == p
	if mine {
		c.probe = nil
	}
	c.mu.Unlock()
	if mine {
		p.abandon()
	}
}

// abandon closes the WebSocket of a probe that the session no longer has.
func (p *probe) abandon() {
	p.timer.Stop()
	close(p.done)
	p.ws.shut(p.ws.srv.frames.wsClose, true)
}
