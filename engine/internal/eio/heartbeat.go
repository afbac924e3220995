package eio

import (
	"sync"
	"time"

	"github.com/architus/guildcast/internal/wake"
)

// beat is a connection's place in the heartbeat. Guarded by heartbeats.mu.
type beat struct {
	prev, next *Conn
	list       *beatList
	due        time.Duration // since the server's epoch
	refreshed  bool          // the timeout has been extended by a packet other than the pong
}

// beatList holds connections that all wait for the same time, so they are in the order in which they are due.
type beatList struct {
	first, last *Conn
	wait        time.Duration
}

// heartbeats runs the heartbeat of all connections with one goroutine and one timer.
//
// A connection of revision 4 is in pings until its next ping is due, then in pongs until the pong is due. One of
// revision 3 is in silent, and each ping of its peer moves it to the end.
type heartbeats struct {
	srv     *Server
	quantum time.Duration // how early a ping may be, to go out together with others
	wake    wake.Signal   // sent by rouse, read by run
	stop    chan struct{} // closed by the server

	behind map[*Conn]*stallWatch // connections whose pong is late because of data before it. Owned by run

	mu                   sync.Mutex
	pings, pongs, silent beatList
	next                 time.Duration // when run wakes, since the server's epoch
}

// timeoutQuantum is how late a timeout may fire, so that timeouts close together fire together.
const timeoutQuantum = time.Millisecond

func newHeartbeats(s *Server) *heartbeats {
	interval, timeout := s.cfg.PingInterval, s.cfg.PingTimeout
	return &heartbeats{
		srv:     s,
		quantum: min(interval/10, 250*time.Millisecond),
		wake:    wake.New(),
		stop:    make(chan struct{}),
		behind:  map[*Conn]*stallWatch{},
		pings:   beatList{wait: interval},
		pongs:   beatList{wait: timeout},
		silent:  beatList{wait: interval + timeout},
	}
}

// start begins the heartbeat of c.
func (h *heartbeats) start(c *Conn) {
	h.mu.Lock()
	wake := h.insert(c, h.resting(c))
	h.mu.Unlock()
	h.rouse(wake)
}

// rouse makes run look at the lists again.
func (h *heartbeats) rouse(early bool) {
	if early {
		h.wake.Send()
	}
}

// resting returns the list in which c waits while no pong is awaited.
func (h *heartbeats) resting(c *Conn) *beatList {
	if c.protocol == 3 {
		return &h.silent
	}
	return &h.pings
}

// beat records a heartbeat of the peer: a pong (revision 4) or a ping (revision 3).
func (h *heartbeats) beat(c *Conn) {
	h.mu.Lock()
	wake := false
	if c.beat.list != nil {
		c.awaiting.Store(false)
		wake = h.insert(c, h.resting(c))
	}
	h.mu.Unlock()
	h.rouse(wake)
}

// packet records any other packet. The first one while a pong is awaited extends the wait, as in Node.js.
func (h *heartbeats) packet(c *Conn) {
	if !c.awaiting.Load() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.beat.list == &h.pongs && !c.beat.refreshed {
		h.insert(c, &h.pongs)
		c.beat.refreshed = true
	}
}

// upgraded restarts the wait for a pong, because it may have been under way on the old transport.
func (h *heartbeats) upgraded(c *Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.beat.list == &h.pongs {
		h.insert(c, &h.pongs)
	}
}

// remove ends the heartbeat of c.
func (h *heartbeats) remove(c *Conn) {
	h.mu.Lock()
	h.unlink(c)
	h.mu.Unlock()
}

// insert puts c at the end of list, and reports whether run must wake earlier than it planned.
func (h *heartbeats) insert(c *Conn, list *beatList) (wake bool) {
	h.unlink(c)
	b := &c.beat
	b.list, b.due, b.refreshed = list, h.srv.now()+list.wait, false
	b.prev = list.last
	if list.last == nil {
		list.first = c
	} else {
		list.last.beat.next = c
	}
	list.last = c
	if b.due >= h.next {
		return false
	}
	h.next = b.due
	return true
}

func (h *heartbeats) unlink(c *Conn) {
	b := &c.beat
	if b.list == nil {
		return
	}
	if b.prev == nil {
		b.list.first = b.next
	} else {
		b.prev.beat.next = b.next
	}
	if b.next == nil {
		b.list.last = b.prev
	} else {
		b.next.beat.prev = b.prev
	}
	b.prev, b.next, b.list = nil, nil, nil
}

// run serves the lists until stop is closed.
func (h *heartbeats) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var ping, lost []*Conn
	for {
		var wait time.Duration
		ping, lost, wait = h.expire(ping[:0], lost[:0])
		for _, c := range ping {
			c.Send(h.srv.frames.ping)
		}
		for _, c := range lost {
			h.lost(c)
		}
		if len(lost) > 0 {
			h.forget()
		}
		clear(ping)
		clear(lost)
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-h.wake:
		case <-h.stop:
			return
		}
	}
}

// lost ends the session of c, unless the owner is busy: then the pong may have arrived without being read. It also
// spares a peer that is still reading what was sent before the ping.
func (h *heartbeats) lost(c *Conn) {
	if h.isBehind(c) {
		return
	}
	if c.in.TryLock() {
		c.in.Unlock()
		c.finish(ReasonPingTimeout, nil)
	}
}

// isBehind reports whether the peer of c is still reading what was sent before the ping.
func (h *heartbeats) isBehind(c *Conn) bool {
	c.mu.Lock()
	w, blocked, took := c.ws, c.ws != nil && c.ws.blocked, c.progress
	reads := w == nil && c.poll.readsLocked(c)
	c.mu.Unlock()
	switch {
	case w == nil:
		return reads
	case blocked: // the goroutine that waits to write cuts it
		return true
	}
	// The kernel has all of it. It may be megabytes.
	peer, now := peerOf(w.nc), h.srv.now()
	if peer.gone {
		return false
	}
	p := h.behind[c]
	if p == nil {
		recently := took > 0 && now-took < h.srv.cfg.UnreadTimeout
		if peer.unsent < volatileQueue && !recently {
			return false
		}
		p = &stallWatch{srv: h.srv}
		h.behind[c] = p
	}
	return !p.over(w.nc)
}

// forget drops the records of connections whose pong is no longer late.
func (h *heartbeats) forget() {
	for c, p := range h.behind {
		if c.State() == Closed || h.srv.now()-p.since > 2*h.srv.cfg.UnreadTimeout {
			delete(h.behind, c)
		}
	}
}

// expire appends the connections that are due for a ping to ping, and the lost ones to lost. It returns the time until
// something is due.
func (h *heartbeats) expire(ping, lost []*Conn) (p, l []*Conn, wait time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.srv.now()
	if c := h.pings.first; c != nil && c.beat.due <= now {
		for ; c != nil && c.beat.due <= now+h.quantum; c = h.pings.first {
			h.insert(c, &h.pongs)
			c.awaiting.Store(true)
			ping = append(ping, c)
		}
	}
	for _, list := range [...]*beatList{&h.pongs, &h.silent} {
		for c := list.first; c != nil && c.beat.due <= now; c = list.first {
			h.insert(c, list) // until finish removes it
			lost = append(lost, c)
		}
	}
	wait = time.Hour
	if c := h.pings.first; c != nil {
		wait = min(wait, c.beat.due-now)
	}
	for _, list := range [...]*beatList{&h.pongs, &h.silent} {
		if c := list.first; c != nil {
			wait = min(wait, max(c.beat.due-now, timeoutQuantum))
		}
	}
	h.next = now + wait
	return ping, lost, wait
}
