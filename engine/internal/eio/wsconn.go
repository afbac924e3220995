package eio

import (
	"errors"
	"io"
	"math"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/architus/guildcast/engine/internal/ws"
)

// wsCloseTimeout is how long the peer may take to read the close frame and to answer it. While it still reads what it
// was sent, it has more time, at most wsLinger: closing the connection while the peer sends would reset it and lose the
// rest.
const (
	wsCloseTimeout = 3 * time.Second
	wsLinger       = 30 * time.Second
)

// maxControl bounds the control frames that wait to be sent. At the bound a new pong replaces the newest one that
// waits: RFC 6455, 5.5.3 requires an answer only to the most recent ping.
const maxControl = 32

// wsConn is one WebSocket: the transport of a session, or the probe of an upgrade.
type wsConn struct {
	// Static after newWSConn.
	srv      *Server
	conn     *Conn
	nc       net.Conn
	raw      syscall.RawConn // for reads and writes that do not block; nil: TLS, or a system without
	flusher  *flusher        // nil if raw is
	poller   *poller         // nil: a goroutine of its own reads
	compress *compressor     // nil: not negotiated
	shares   bool            // the peer keeps what it has inflated: it can take part in a Group

	// Guarded by poller.mu.
	key     uint64 // what the poller knows it by; 0: nothing
	slow    uint8  // its owner has blocked: so many of its events are handled by goroutines of their own
	reading bool   // somebody reads
	again   bool   // an event has come since

	ending bool // the peer has sent its last. Owned by who reads.

	// Read state. Guarded by conn.in.
	read   *inbound // nil while nothing is incomplete; with a goroutine of its own, what that reads into
	live   bool     // is the session's transport
	broken bool     // the peer broke the protocol: what it sends is not looked at any more

	// Write state. Owned by whom claimLocked gave the right to write.
	out     queue // taken from the session's queue, being written
	written int   // bytes of out's first frame that have been written
	cleared bool  // out has been cut down to what discard leaves

	asked   atomic.Bool // a message has arrived, and nothing has been sent since
	discard atomic.Bool // write only the rest of the frame that has been begun, then the close frame

	// Guarded by conn.mu.
	control   queue // pongs, and the answer to a probe
	controls  uint8 // length of control
	claimed   bool  // somebody writes, or will
	blocked   bool  // the peer's window was full; until nothing is left to write
	closing   bool  // shut has been called
	closeSent bool  // the close frame is in out, or written
	peerLeft  bool  // the peer's close frame has arrived
	dead      bool  // nc is closed
	bye       *Frame
	timer     *time.Timer // kills it, once closing
}

// newWSConn wraps a connection that has been hijacked. It counts in Server.work until kill.
func newWSConn(c *Conn, o opening) *wsConn {
	s := c.srv
	w := &wsConn{srv: s, conn: c, nc: o.nc, compress: o.compress, shares: o.shares}
	if w.raw = rawConn(o.nc); w.raw != nil {
		n := int(s.next.Add(1) & math.MaxInt32)
		w.flusher = s.flushers[n%len(s.flushers)]
		if len(s.pollers) > 0 {
			w.poller = s.pollers[n%len(s.pollers)]
		}
	}
	s.work.Add(1)
	return w
}

// claimLocked reports whether the caller now has the claim: the right to write, and the duty to call flush.
func (w *wsConn) claimLocked() bool {
	if w.claimed || w.dead {
		return false
	}
	w.claimed = true
	if w.flusher == nil {
		w.srv.work.Add(1) // for writeStream
	}
	return true
}

// flush writes what is queued, or has a flusher do so. The caller must hold the claim.
func (w *wsConn) flush() {
	if w.flusher != nil {
		w.flusher.push(w)
		return
	}
	go w.writeStream()
}

// shutLocked begins to close the connection. bye is sent after everything that is queued or, with discard, after the
// frame that has been begun. It returns what claimLocked does.
func (w *wsConn) shutLocked(bye *Frame, discard bool) bool {
	if w.closing && (!discard || w.discard.Load()) {
		return false
	}
	if !w.closing {
		w.closing, w.bye = true, bye
	}
	if discard {
		w.discard.Store(true)
		w.dieLaterLocked()
	}
	return w.claimLocked()
}

func (w *wsConn) shut(bye *Frame, discard bool) {
	w.conn.mu.Lock()
	start := w.shutLocked(bye, discard)
	w.conn.mu.Unlock()
	if start {
		w.flush()
	}
}

// dieLaterLocked kills the connection once its time to close is over.
func (w *wsConn) dieLaterLocked() {
	if w.timer != nil || w.dead {
		return
	}
	end := time.Now().Add(wsLinger)
	before := 0
	w.timer = time.AfterFunc(w.srv.closeTimeout, func() {
		left := unsent(w.nc)
		takes := left < before || before == 0 && left > 0
		if !takes || time.Now().After(end) || w.srv.isClosed() {
			w.kill()
			return
		}
		before = left
		w.conn.mu.Lock()
		defer w.conn.mu.Unlock()
		if !w.dead {
			w.timer.Reset(w.srv.closeTimeout)
		}
	})
}

// kill closes the connection. It does not end the session.
func (w *wsConn) kill() {
	c := w.conn
	c.mu.Lock()
	if w.dead {
		c.mu.Unlock()
		return
	}
	w.dead = true
	timer := w.timer
	w.control = queue{}
	c.mu.Unlock()
	if timer != nil {
		timer.Stop()
	}
	if w.poller != nil {
		w.poller.remove(w)
	}
	_ = w.nc.Close()
	w.srv.work.Done()
}

// preface queues the answer to the opening handshake, which goes out before what comes next.
func (w *wsConn) preface(answer []byte) {
	w.conn.mu.Lock()
	defer w.conn.mu.Unlock()
	w.control.push(&w.srv.chunks, rawFrame(answer))
	w.controls++
}

// sendControl queues a frame that is not part of the session's traffic. The answer to a probe is written at once, so
// before the upgrade packet that follows the probe ends polling.
func (w *wsConn) sendControl(f *Frame) {
	c := w.conn
	c.mu.Lock()
	start := false
	switch {
	case w.closing:
	case w.controls < maxControl:
		w.control.push(&w.srv.chunks, f)
		w.controls++
		start = w.claimLocked()
	case f.isPong():
		w.control.replaceLast((*Frame).isPong, f)
	}
	c.mu.Unlock()
	if start {
		w.flushAnswer()
	}
}

// What ends the reading after the peer's close frame: it wants to close, or answers ours.
var (
	errLeft     = errors.New("close frame received")
	errAnswered = errors.New("close frame answered")
)

// keepReading reports whether to go on reading after err. It returns true if the peer has been sent the reason of the
// close: closing the connection with data unread would discard that reason.
func keepReading(err error) bool {
	var breach *ws.Error
	return errors.As(err, &breach)
}

// ended handles the end of reading: an error of the connection or the peer, or the peer's close frame. It runs on the
// goroutine that read. If the peer is just gone, that goroutine also calls the owner: when thousands leave at once, a
// goroutine for each would take memory that the runtime keeps.
func (w *wsConn) ended(err error) {
	var breach *ws.Error
	switch {
	case errors.As(err, &breach):
		w.breach(breach)
		return
	case errors.Is(err, errLeft):
		w.tell(ReasonTransportClose, nil)
		return // the answer is on its way, then the connection is closed
	case errors.Is(err, errAnswered):
		w.tell(ReasonForcedClose, nil)
		return
	}
	reason := ReasonTransportError
	if errors.Is(err, io.EOF) || isDisconnect(err) {
		reason, err = ReasonTransportClose, nil
	}
	over := w.end()
	w.kill()
	if over {
		w.conn.closed(reason, err)
	}
}

// breach ends a connection whose peer broke the protocol. The close frame has a code and no reason, as in Node.js.
func (w *wsConn) breach(e *ws.Error) {
	var err error = e
	if e.Code == ws.CodeTooBig {
		err = ErrTooLarge
	}
	w.shut(rawFrame(ws.AppendClose(nil, e.Code, "")), true)
	w.tell(ReasonTransportError, err)
}

// isTransport reports whether the session sends through w.
func (w *wsConn) isTransport() bool {
	w.conn.mu.Lock()
	defer w.conn.mu.Unlock()
	return w.conn.ws == w
}

// tell ends the session or the probe that uses the connection.
func (w *wsConn) tell(reason string, err error) {
	if w.end() {
		go w.conn.closed(reason, err)
	}
}

// end is tell, but does not call the session's owner. If it returns true the caller must do that.
func (w *wsConn) end() bool {
	c := w.conn
	c.mu.Lock()
	live, probe := c.ws == w, c.probe
	if probe != nil && probe.ws != w {
		probe = nil
	}
	c.mu.Unlock()
	if live {
		return c.end(w.srv.frames.wsClose)
	}
	if probe != nil {
		probe.cancel()
	}
	return false
}

// isDisconnect reports whether err means that the peer went away without closing the WebSocket.
func isDisconnect(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed)
}
