package eio

import (
	"io"
	"time"

	"github.com/architus/guildcast/engine/internal/ws"
)

// inbound is what a WebSocket has read and not yet handled. An idle connection has none.
type inbound struct {
	borrowed *[]byte // the buffer, if it is from the server's pool
	buf      []byte
	r, w     int // buf[r:w] is to be handled
	messages ws.Assembler

	// Of one read.
	srv  *Server
	wait bool // wait in the runtime until there is something to read
	n    int
	err  error
	fn   func(fd uintptr) bool
}

func (s *Server) newInbound() *inbound {
	if in, _ := s.inbounds.Get().(*inbound); in != nil {
		return in
	}
	in := &inbound{srv: s}
	in.fn = in.try
	return in
}

// release gives the buffer back.
func (in *inbound) release() {
	if in.borrowed != nil {
		in.srv.buffers.put(in.borrowed)
	}
	in.borrowed, in.buf, in.r, in.w = nil, nil, 0, 0
}

// recycle gives in itself back.
func (in *inbound) recycle() {
	in.release()
	in.wait = false
	in.messages = ws.Assembler{}
	in.srv.inbounds.Put(in)
}

// idle reports whether in holds nothing.
func (in *inbound) idle() bool { return in.r == in.w && in.messages.Idle() }

// borrow makes sure that there is a buffer.
func (in *inbound) borrow() {
	if in.buf == nil {
		in.borrowed = in.srv.buffers.get()
		in.buf = *in.borrowed
	}
}

// try is called by the runtime with the descriptor. Without data it gives an empty buffer back before it waits.
func (in *inbound) try(fd uintptr) bool {
	in.borrow()
	in.n, in.err = rawRead(fd, in.buf[in.w:])
	if in.err != errWouldBlock {
		return true
	}
	if in.r == in.w {
		in.release()
	}
	return !in.wait
}

// room makes place behind what is unhandled, of which the first frame is need bytes long. The buffer grows with what
// has really arrived, not with what a header promises.
func (in *inbound) room(need int) {
	if in.r == in.w {
		in.release()
		return
	}
	left := in.buf[in.r:in.w]
	if in.r > 0 {
		in.w = copy(in.buf, left)
		in.r = 0
	}
	if in.w < len(in.buf) {
		return
	}
	buf := make([]byte, min(max(need, in.w+1), 2*len(in.buf)))
	n := copy(buf, in.buf[:in.w])
	in.release()
	in.buf, in.w = buf, n
}

// smallBuffer is the least that is kept for the rest of a frame, in bytes.
const smallBuffer = 256

// shrink moves the beginning of a frame out of a borrowed buffer, so that peers who send bit by bit hold little.
func (in *inbound) shrink() {
	if in.borrowed == nil {
		return
	}
	left := in.buf[in.r:in.w]
	buf := make([]byte, max(2*len(left), smallBuffer))
	n := copy(buf, left)
	in.release()
	in.buf, in.w = buf, n
}

// readOnce reads from the connection once. It returns errWouldBlock if there is nothing and in does not wait.
func (w *wsConn) readOnce(in *inbound) error {
	if w.raw == nil {
		in.borrow()
		n, err := w.nc.Read(in.buf[in.w:])
		in.w += n
		if n > 0 {
			return nil
		}
		return err
	}
	in.n, in.err = 0, nil
	if err := w.raw.Read(in.fn); err != nil {
		return err
	}
	if in.err != nil {
		return in.err
	}
	if in.n == 0 {
		return io.EOF
	}
	in.w += in.n
	return nil
}

// consume handles what has been read. conn.in is held.
func (w *wsConn) consume(in *inbound) error {
	need := 0
	for in.r < in.w && !w.broken {
		m, ok, n, more, err := in.messages.Next(in.buf[in.r:in.w], &w.srv.limits[w.inflates()], w)
		if err != nil {
			w.broken = true
			in.release()
			return err
		}
		if n == 0 {
			need = more
			break
		}
		in.r += n
		if !ok {
			continue
		}
		if err := w.message(m); err != nil {
			w.broken = true
			in.release()
			return err
		}
		if m.Held {
			_ = w.Hold(0) // less is never refused
		}
	}
	if w.broken {
		in.r = in.w
	}
	in.room(need)
	return nil
}

// Hold implements ws.Holder. conn.in is held.
func (w *wsConn) Hold(n int) error { return w.conn.handler.OnInflate(w.conn, n) }

// inflates is the index of the connection's limits.
func (w *wsConn) inflates() int {
	if w.compress != nil {
		return 1
	}
	return 0
}

// message handles one message or control frame. conn.in is held.
func (w *wsConn) message(m ws.Message) error {
	switch m.Op {
	case ws.Ping:
		pong := ws.AppendHeader(make([]byte, 0, 2+len(m.Data)), ws.Pong, false, len(m.Data))
		w.sendControl(rawFrame(append(pong, m.Data...)))
	case ws.Pong:
	case ws.Close:
		code, _, err := ws.ParseClose(m.Data)
		if err != nil {
			return err
		}
		return w.peerClose(code)
	default:
		w.asked.Store(true)
		if w.live {
			w.conn.packetIn(m.Op == ws.Binary, m.Data)
		} else {
			w.conn.probeMessage(w, m.Op == ws.Binary, m.Data)
		}
	}
	return nil
}

// peerClose handles the close frame of the peer.
func (w *wsConn) peerClose(code int) error {
	w.conn.mu.Lock()
	w.peerLeft = true
	answer, done := w.closeSent, w.closeSent && !w.claimed
	w.conn.mu.Unlock()
	switch {
	case done:
		w.kill()
	case !answer:
		w.shut(rawFrame(ws.AppendClose(nil, code, "")), true)
	}
	if answer {
		return errAnswered
	}
	return errLeft
}

// startReader counts the goroutine of readLoop; false if the connection is closed already.
func (w *wsConn) startReader() bool {
	w.conn.mu.Lock()
	defer w.conn.mu.Unlock()
	if !w.dead {
		w.srv.work.Add(1)
	}
	return !w.dead
}

// readLoop reads until the connection ends, on a goroutine of its own. in holds what has been read already.
func (w *wsConn) readLoop(in *inbound) {
	defer w.srv.work.Done()
	in.wait = true
	defer in.recycle()
	for {
		err := w.readOnce(in)
		if err == nil {
			w.conn.in.Lock()
			err = w.consume(in)
			w.conn.in.Unlock()
		}
		if err != nil {
			w.ended(err)
			if !keepReading(err) {
				return
			}
		}
	}
}

// pollPatience is how long the goroutine of a poller may be busy with one connection, at least; it is noticed after
// twice as long at the latest.
const pollPatience = 5 * time.Millisecond

// readTurns bounds the reads for one connection before others have their turn.
const readTurns = 16

// readable reads what there is, after the poller said that there is something.
func (w *wsConn) readable() {
	defer w.srv.work.Done()
	w.conn.in.Lock()
	left, err := w.readSome()
	w.conn.in.Unlock()
	if err != nil {
		w.ended(err)
	}
	if err == nil || keepReading(err) {
		w.poller.done(w, left)
	}
}

// readSome reads until there is nothing more, or it is the turn of others: then something is left.
func (w *wsConn) readSome() (left bool, err error) {
	in := w.read
	if in == nil {
		in = w.srv.newInbound()
	}
	w.read = nil
	left = true
	for range readTurns {
		if err = w.readOnce(in); err != nil {
			break
		}
		// A read that does not fill the buffer has taken all that had come (see epoll(7)), except for the end.
		left = in.w == len(in.buf) || w.ending
		if err = w.consume(in); err != nil || !left {
			break
		}
	}
	switch err {
	case nil:
	case errWouldBlock:
		left, err = false, nil
	default:
		in.recycle()
		return true, err
	}
	w.keep(in)
	return left, nil
}

// keep keeps in for the next event, or gives it back if it holds nothing.
func (w *wsConn) keep(in *inbound) {
	if in.idle() {
		in.recycle()
		return
	}
	in.shrink()
	w.read = in
}
