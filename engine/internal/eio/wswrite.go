package eio

import (
	"errors"
	"os"
	"time"
)

// flushAnswer is flush, but if this is the first frame since a message has arrived, and so likely an answer, the
// caller's goroutine writes it at once. That saves a switch to another goroutine. Later frames go out together.
func (w *wsConn) flushAnswer() {
	if w.flusher == nil || !w.asked.Load() || !w.asked.Swap(false) {
		w.flush()
		return
	}
	wr, _ := w.srv.writers.Get().(*writer)
	if wr == nil {
		wr = newWriter(w.srv, make([]byte, bufferSize))
	}
	w.writeOnce(wr)
	w.srv.writers.Put(wr)
}

// writeOnce does one write with wr, without waiting. It leaves the rest to the flusher, or to a goroutine that waits.
func (w *wsConn) writeOnce(wr *writer) {
	if !w.gather() {
		return
	}
	w.conn.notify(ObserveFlush, w.srv.cfg.Hooks.Flush)
	wr.ws = w
	answering := w.answering()
	n, err := wr.write(time.Time{})
	wr.ws = nil
	switch {
	case err != nil && err != errWouldBlock:
		w.failed(err)
	case n > 0 && !w.wrote(n): // all is written
	case err == errWouldBlock:
		if w.block() {
			go w.writeBlocked()
		}
	case answering && !w.answering():
		time.AfterFunc(answerGap, func() { w.flusher.push(w) })
	default:
		w.flusher.push(w)
	}
}

// answerGap is the least time between the answer to the opening handshake and the open packet. Without it a client may
// read both together, and lose the open packet if it begins to listen only after the answer.
const answerGap = time.Millisecond

// answering reports whether the answer to the opening handshake is being written or comes next.
func (w *wsConn) answering() bool {
	return !w.out.empty() && w.out.front().isAnswer()
}

// gather moves what is queued to w.out. It returns false, and gives up the claim, if there is nothing to write.
func (w *wsConn) gather() bool {
	if !w.out.empty() {
		return true
	}
	c := w.conn
	c.mu.Lock()
	more := w.gatherLocked()
	closed := !more && w.closeSent
	c.mu.Unlock()
	if closed {
		w.closeWritten()
	}
	return more
}

func (w *wsConn) gatherLocked() bool {
	w.out.add(w.control.take())
	w.controls = 0
	if w.conn.ws == w {
		w.out.add(w.conn.q.take())
	}
	if w.closing && !w.closeSent {
		w.closeSent = true
		w.out.push(&w.srv.chunks, w.bye)
	}
	if w.out.empty() || w.dead {
		w.claimed, w.blocked = false, false
		return false
	}
	return true
}

// fill copies what comes next into buf and returns the filled part. What it copied stays queued. The answer to the
// opening handshake goes out alone; see answerGap.
func (w *wsConn) fill(buf []byte) []byte {
	if w.discard.Load() && !w.cleared && !w.out.empty() {
		w.clear()
	}
	n, skip := 0, w.written
	for ch := w.out.head; ch != nil; ch = ch.next {
		for _, f := range ch.frames[ch.first:ch.last] {
			b := w.bytes(f)[skip:]
			skip = 0
			k := copy(buf[n:], b)
			n += k
			if k < len(b) || f.isAnswer() {
				return buf[:n]
			}
		}
	}
	return buf[:n]
}

func (w *wsConn) bytes(f *Frame) []byte {
	if w.compress == nil && !(f.binary && w.conn.protocol == 3) {
		return f.wire
	}
	return f.bytes(w.conn.protocol, w.compress)
}

// clear drops all of w.out except for a frame that has been begun or is the answer to the opening handshake. gather
// appends the close frame again.
func (w *wsConn) clear() {
	w.cleared = true
	var begun *Frame
	if front := w.out.front(); w.written > 0 || front.raw {
		begun = front
	}
	w.out.clear(&w.srv.chunks)
	if begun != nil {
		w.out.push(&w.srv.chunks, begun)
	}
	w.conn.mu.Lock()
	w.closeSent = begun == w.bye
	w.conn.mu.Unlock()
}

// advance removes n bytes that were written, and returns the size of the frames that are complete.
func (w *wsConn) advance(n int) (done int) {
	for n > 0 {
		f := w.out.front()
		rest := len(w.bytes(f)) - w.written
		if n < rest {
			w.written += n
			return done
		}
		n -= rest
		w.written = 0
		done += f.counted()
		w.out.pop(&w.srv.chunks)
	}
	return done
}

// wrote records that n bytes were written, and reports whether there is more to write. If not, it gives up the claim.
func (w *wsConn) wrote(n int) bool {
	done := w.advance(n)
	c := w.conn
	c.mu.Lock()
	if c.State() != Closed && c.ws == w { // else nothing is counted any more
		c.countLocked(-min(done, c.queued))
		if c.queued >= volatileQueue {
			c.progress = w.srv.now()
		}
	}
	more := !w.out.empty() || w.gatherLocked()
	closed := !more && w.closeSent
	c.mu.Unlock()
	if !more {
		c.notify(ObserveDrain, w.srv.cfg.Hooks.Drain)
	}
	if closed {
		w.closeWritten()
	}
	return more
}

// closeWritten is called when the close frame has been written.
func (w *wsConn) closeWritten() {
	c := w.conn
	c.mu.Lock()
	w.dieLaterLocked()
	left := w.peerLeft
	c.mu.Unlock()
	if !w.discard.Load() { // Conn.Close, and all that was queued has been sent
		w.tell(ReasonForcedClose, nil)
	}
	if left {
		w.kill()
		return
	}
	if half, ok := w.nc.(interface{ CloseWrite() error }); ok && w.bye != w.srv.frames.wsClose {
		_ = half.CloseWrite() // the peer broke the rules: it may not answer, but it will see the end
	}
}

// failed ends a connection that cannot be written to.
func (w *wsConn) failed(err error) {
	w.out.clear(&w.srv.chunks)
	if isDisconnect(err) {
		w.tell(ReasonTransportClose, nil)
	} else {
		w.tell(ReasonTransportError, err)
	}
	w.kill()
}

func (w *wsConn) setBlocked(blocked bool) {
	w.conn.mu.Lock()
	defer w.conn.mu.Unlock()
	w.blocked = blocked
}

// block records that the peer's window is full, and counts the goroutine that will wait for it.
func (w *wsConn) block() bool {
	w.conn.mu.Lock()
	defer w.conn.mu.Unlock()
	if w.dead {
		return false
	}
	w.blocked = true
	w.srv.work.Add(1)
	return true
}

// writeBlocked writes to a peer whose window is full, on a goroutine of its own, until nothing is left. It holds no
// buffer while it waits.
func (w *wsConn) writeBlocked() {
	defer w.srv.work.Done()
	wr := newWriter(w.srv, nil)
	stall := stallWatch{srv: w.srv, since: w.srv.now()}
	for more := true; more; {
		wr.ws = w
		n, err := wr.write(time.Now().Add(stall.step()))
		if n > 0 {
			stall.renew()
			more = w.wrote(n)
		}
		switch {
		case err == nil && n == 0:
			more = w.gather()
		case errors.Is(err, os.ErrDeadlineExceeded) && n == 0:
			if stall.over(w.nc) {
				w.stalled()
				stall.renew() // for the close frame
			}
		case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
			w.failed(err)
			return
		}
	}
}

// stalled ends a connection whose peer has read nothing for too long; see stallWatch.
func (w *wsConn) stalled() {
	if w.discard.Load() {
		w.kill()
		return
	}
	if w.isTransport() {
		w.conn.cut()
		return
	}
	w.tell(ReasonTransportError, ErrSlowConsumer)
	w.shut(w.srv.frames.wsClose, true)
}

// writeStream writes what is queued on a connection that has no raw access, on a goroutine of its own.
func (w *wsConn) writeStream() {
	defer w.srv.work.Done()
	bp := w.srv.buffers.get()
	defer w.srv.buffers.put(bp)
	guard := newWriteGuard(w)
	for more := w.gather(); more; {
		w.conn.notify(ObserveFlush, w.srv.cfg.Hooks.Flush)
		b := w.fill(*bp)
		if len(b) == 0 {
			more = w.gather()
			continue
		}
		answering := w.answering()
		n, err := guard.write(b)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			// A TLS connection is of no use after that, so nothing more can be said.
			if w.isTransport() {
				w.conn.cut()
			}
			w.failed(err)
			return
		case err != nil:
			w.failed(err)
			return
		}
		if more = w.wrote(n); more && answering && !w.answering() {
			time.Sleep(answerGap)
		}
	}
}
