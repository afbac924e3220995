package eio

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/architus/guildcast/engine/internal/payload"
	"github.com/architus/guildcast/internal/wake"
)

// polling is the transport of a session that has not been upgraded.
type polling struct {
	// Static.
	base64 bool   // revision 3: the client cannot take binary payloads
	jsonp  string // what stands before the payload; "" without JSONP

	// Guarded by Conn.mu.
	waiter  *waiter                  // the poll that waits
	posting bool                     // a POST is being handled
	body    *http.ResponseController // of the POST whose body is being read
	left    bool                     // the client has POSTed a close packet, and its poll is expected
	timer   *time.Timer
	share   int  // bytes of the next answer; 0: minShare
	answer  int  // bytes of the last answer
	partial bool // more was queued than the last answer has
}

// An answer to a poll has at least one packet and at most a share of what is queued. So a client that reads slowly
// comes back soon enough to be told from one that does not read. The share grows while the client is quick.
const (
	minShare = 16 << 10
	share    = 64 << 10 // of the first answer
	maxShare = 256 << 10

	quickPoll = time.Second     // a client that comes back sooner gets twice as much
	slowPoll  = 8 * time.Second // one that comes back later gets half
)

// shareLocked sets the share of the next answer, for which the client has just come back.
func (p *polling) shareLocked(c *Conn) {
	if p.share == 0 {
		p.share = share
	}
	switch took := c.srv.now() - c.progress; {
	case !p.partial:
	case took < quickPoll:
		p.share = min(2*p.share, maxShare)
	case took > slowPoll:
		p.share = max(p.share/2, minShare)
	}
}

// readsLocked reports whether the client may still be reading the last answer.
func (p *polling) readsLocked(c *Conn) bool {
	return c.srv.now()-c.progress < c.srv.cfg.PingTimeout/2+c.srv.answerTime(p.answer)
}

// returnTime is how long a client may take, after it has read an answer, to ask for the next one.
const returnTime = 3 * time.Second

// Returns reports whether the client of a polling session has a poll waiting or is expected back: it may still be
// reading the last answer, or read it a moment ago.
func (c *Conn) Returns() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.poll != nil &&
		(c.poll.waiter != nil || c.srv.now()-c.progress < returnTime+c.srv.answerTime(c.poll.answer))
}

// waiter is a poll that waits for something to be sent.
type waiter struct {
	ready wake.Signal // read by the poll's goroutine
	last  *Frame      // guarded by Conn.mu: if set, the whole answer, whatever is queued
}

func newWaiter() *waiter { return &waiter{ready: wake.New()} }

func (w *waiter) wake() { w.ready.Send() }

// endLocked ends polling. The poll that waits is answered with last; the caller must wake what is returned.
func (p *polling) endLocked(last *Frame) *waiter {
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
	w := p.waiter
	p.waiter = nil
	if w != nil && w.last == nil {
		w.last = last
	}
	return w
}

// after ends the session with reason after d. Conn.mu is held.
func (p *polling) after(c *Conn, d time.Duration, reason string) {
	if p.timer != nil {
		p.timer.Stop()
	}
	p.timer = time.AfterFunc(d, func() { c.finish(reason, nil) })
}

// servePoll answers a poll (GET).
func (c *Conn) servePoll(w http.ResponseWriter, r *http.Request) {
	c.awaitProbe(r)
	wt, reason, ok := c.beginPoll(w, r)
	if ok {
		c.answerPoll(wt, w, r)
	}
	if reason != "" {
		c.finish(reason, nil)
	}
}

// awaitProbe waits until the probe, if there is one, has ended, at most holdTime.
func (c *Conn) awaitProbe(r *http.Request) {
	c.mu.Lock()
	p := c.probe
	c.mu.Unlock()
	if p == nil {
		return
	}
	timer := time.NewTimer(holdTime)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
	case <-r.Context().Done():
	}
}

// beginPoll makes r the poll that waits. It returns false if it has refused r. If reason is not empty, the session must
// end after the answer.
func (c *Conn) beginPoll(w http.ResponseWriter, r *http.Request) (wt *waiter, reason string, ok bool) {
	c.mu.Lock()
	state := c.State()
	switch {
	case state == Closed:
		c.mu.Unlock()
		c.srv.refuse(w, r, CodeUnknownSID, map[string]any{"sid": c.id})
		return nil, "", false
	case c.ws != nil:
		c.mu.Unlock()
		c.srv.refuseTransport(w, r, Polling, WebSocket)
		return nil, "", false
	case c.poll.waiter != nil:
		c.mu.Unlock()
		c.finish(ReasonTransportError, errOverlapPoll)
		c.srv.refuse(w, r, CodeBadRequest, map[string]any{"name": "OVERLAP"})
		return nil, "", false
	}
	wt = newWaiter()
	switch {
	case c.poll.left:
		wt.last, reason = c.srv.frames.noop, ReasonTransportClose
	case state == Closing && c.q.empty():
		wt.last, reason = c.srv.frames.close, ReasonForcedClose
	default:
		c.poll.waiter = wt
	}
	now := wt.last != nil || !c.q.empty() || c.probe != nil && c.probe.ponged
	c.mu.Unlock()
	if now {
		wt.wake()
	}
	return wt, reason, true
}

// answerPoll waits until there is something to send, and sends it.
func (c *Conn) answerPoll(wt *waiter, w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // it waits; writeBody sets it
	select {
	case <-wt.ready:
	case <-r.Context().Done():
		c.mu.Lock()
		waits := c.poll.waiter == wt
		if waits {
			c.poll.waiter = nil
		}
		c.mu.Unlock()
		if waits {
			c.finish(ReasonTransportError, errPollBroken)
			return
		}
	}
	c.notify(ObserveFlush, c.srv.cfg.Hooks.Flush)
	if err := c.writePoll(c.takePoll(wt), w, r); err != nil {
		c.finish(ReasonTransportError, err)
		return
	}
	c.notify(ObserveDrain, c.srv.cfg.Hooks.Drain)
}

// takePoll ends the wait of wt and returns its answer.
func (c *Conn) takePoll(wt *waiter) queue {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.poll.waiter == wt {
		c.poll.waiter = nil
	}
	var q queue
	if wt.last == nil {
		q = c.takeShareLocked()
		c.progress = c.srv.now()
		if c.State() == Closing { // it is coming back for the rest, and for the close packet
			c.poll.after(c, pollCloseTimeout, ReasonForcedClose)
		}
	}
	if wt.last == nil && q.empty() {
		wt.last = c.srv.frames.noop
	}
	if wt.last != nil {
		q.push(&c.srv.chunks, wt.last)
	}
	return q
}

// takeShareLocked takes the client's share of what is queued.
func (c *Conn) takeShareLocked() (q queue) {
	c.poll.shareLocked(c)
	size := 0
	for !c.q.empty() && (size == 0 || size+c.q.front().counted() <= c.poll.share) {
		f := c.q.pop(&c.srv.chunks)
		q.push(&c.srv.chunks, f)
		size += f.counted()
	}
	c.countLocked(-min(size, c.queued))
	c.poll.answer, c.poll.partial = size, !c.q.empty()
	return q
}

// writePoll answers a poll with what is in q.
func (c *Conn) writePoll(q queue, w http.ResponseWriter, r *http.Request) error {
	body, contentType, compress := c.encode(q)
	h := w.Header()
	h.Set("Content-Type", contentType)
	if k := c.srv.gzip; k != nil && compress && len(body) >= k.threshold && acceptsGzip(r) {
		if z := k.gzip(body); z != nil {
			body = z
			h.Set("Content-Encoding", "gzip")
			h.Add("Vary", "Accept-Encoding")
		}
	}
	c.srv.answerHeaders(h, r)
	return c.srv.writeBody(w, body)
}

// encode makes a payload of what is in q, and empties it. compress is false if no frame may be compressed.
func (c *Conn) encode(q queue) (body []byte, contentType string, compress bool) {
	appendPacket := payload.Append4
	contentType = "text/plain; charset=UTF-8"
	size, binary := q.measure()
	if c.protocol == 3 {
		appendPacket = payload.Append3
		if binary && !c.poll.base64 && c.poll.jsonp == "" {
			appendPacket = payload.AppendBinary3
			contentType = "application/octet-stream"
		}
	}
	body = make([]byte, 0, size)
	for !q.empty() {
		f := q.pop(&c.srv.chunks)
		compress = compress || !f.plain
		body = appendPacket(body, f.polled())
	}
	if c.poll.jsonp != "" {
		body = payload.AppendJSONP(nil, c.poll.jsonp, body)
		contentType = "text/javascript; charset=UTF-8"
	}
	return body, contentType, compress
}

// writeChunk is the number of bytes of an answer that the peer must read within the time of a heartbeat.
const writeChunk = 64 << 10

// answerTime returns how long a client may take to read an answer of size bytes.
func (s *Server) answerTime(size int) time.Duration {
	return s.beatTime() * time.Duration(size) / writeChunk
}

// writeBody writes an answer whose headers are complete but for its length, to a client that has to read.
func (s *Server) writeBody(w http.ResponseWriter, body []byte) error {
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	rc := http.NewResponseController(w)
	for len(body) > 0 {
		_ = rc.SetWriteDeadline(time.Now().Add(s.beatTime())) // if it is supported
		n, err := w.Write(body[:min(len(body), writeChunk)])
		if err != nil {
			return err
		}
		body = body[n:]
	}
	return rc.Flush()
}

// acceptsGzip reports whether the client takes gzip. The first coding in its list that decides it counts.
func acceptsGzip(r *http.Request) bool {
	for _, line := range r.Header["Accept-Encoding"] {
		for coding := range strings.SplitSeq(line, ",") {
			name, params, _ := strings.Cut(coding, ";")
			if name = strings.TrimSpace(name); name == "gzip" || name == "*" {
				q := strings.TrimPrefix(strings.TrimSpace(params), "q=")
				return q == "" || strings.Trim(q, "0.") != ""
			}
		}
	}
	return false
}
