package eio

import (
	"errors"
	"io"
	"os"
	"time"

	"github.com/architus/guildcast/engine/internal/ws"
	"github.com/architus/guildcast/internal/processor"
)

// inbound is what a WebSocket has read and not yet handled. An idle connection has none.
type inbound struct {
	borrowed *[]byte // the buffer, if it is from the server's pool
	buf      []byte
	r, w     int // buf[r:w] is to be handled
	messages ws.Assembler
	held     int // bytes of an unfinished message that the owner has been told of

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
	in.messages, in.held = ws.Assembler{}, 0
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

// most returns how many bytes of a message that has proved to be large the next read may bring. It is 0 if the read may
// wait for them.
func (in *inbound) most() int {
	if in.wait || in.borrowed != nil {
		return 0
	}
	return len(in.buf) - in.w
}

// freeHeld is what a connection may hold of an unfinished message before its owner is asked, in bytes.
const freeHeld = 4 << 10

// size returns how many bytes in will hold of an unfinished message when room(need) has been called.
func (in *inbound) size(need int) int {
	n := len(in.buf)
	switch left := in.w - in.r; {
	case left == 0:
		n = 0
	case left == n:
		n = in.grown(left, need)
	case in.borrowed != nil: // see shrink
		n = 2 * left
	}
	return n + in.messages.Held()
}

// grown returns the size of the buffer that takes the place of a full one, which holds left bytes of need.
func (in *inbound) grown(left, need int) int { return min(max(need, left+1), 2*len(in.buf)) }

// handOver gives the buffer away if it is not borrowed and holds little but the message data, all of which is handled.
// It reports whether it has.
func (in *inbound) handOver(data []byte) bool {
	if in.borrowed != nil || in.r != in.w || len(in.buf) > len(data)+len(data)/4 {
		return false
	}
	in.release()
	return true
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
	var buf []byte
	n := in.w
	processor.Read(n, func() {
		buf = make([]byte, in.grown(n, need))
		copy(buf, in.buf[:n])
	})
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
	var err error
	processor.Read(in.most(), func() { err = w.raw.Read(in.fn) })
	if err != nil {
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
			w.breakOff(in)
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
		m.Own = m.Own || in.handOver(m.Data)
		if m.Own && in.held > 0 {
			w.receive(in, in.size(0)) // the owner counts the message from now on
		}
		held := m.Held // of m nothing is used below, so that its data is not kept while the owner blocks
		if err := w.message(m); err != nil {
			w.breakOff(in)
			return err
		}
		if held {
			_ = w.Hold(0) // less is never refused
		}
	}
	if w.broken {
		in.r = in.w
	}
	if !w.receive(in, in.size(need)) {
		w.breakOff(in)
		if !w.live || w.conn.State() == Open {
			return ws.ErrTooBig
		}
	}
	in.room(need)
	return nil
}

// breakOff lets go of what has been read. From now on nothing is looked at. conn.in is held.
func (w *wsConn) breakOff(in *inbound) {
	w.broken = true
	in.release()
	in.messages = ws.Assembler{}
}

// receive asks the owner before n bytes are held of an unfinished message, and reports whether they may be. conn.in is
// held.
func (w *wsConn) receive(in *inbound, n int) bool {
	if n <= freeHeld {
		n = 0
	}
	if n == in.held {
		return true
	}
	// A WebSocket that is not yet the transport has nothing long to say, and that of a session that has ended nothing.
	if !w.live || w.conn.State() == Closed || w.conn.handler.OnReceive(w.conn, n-in.held) != nil {
		return false
	}
	in.held = n
	return true
}

// drop lets go of the message that the peer of a session that has ended has not finished. conn.in is held.
func (w *wsConn) drop() {
	in := w.read
	switch {
	case in == nil || in.held == 0:
	case w.poller == nil: // readLoop has it
		_ = w.nc.SetReadDeadline(time.Now())
	default:
		w.breakOff(in)
		in.recycle()
		w.read = nil
	}
}

// dropped lets go of what in holds if err is what drop has caused, and reports whether it is. conn.in is held.
func (w *wsConn) dropped(in *inbound, err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	w.breakOff(in)
	return w.nc.SetReadDeadline(time.Time{}) == nil
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
			w.conn.packetIn(m)
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
	w.lend(in)
	defer func() {
		w.lend(nil)
		in.recycle()
	}()
	for {
		err := w.readOnce(in)
		w.conn.in.Lock()
		if err == nil || w.dropped(in, err) {
			err = w.consume(in)
		}
		w.conn.in.Unlock()
		if err != nil {
			w.ended(err)
			if !keepReading(err) {
				return
			}
		}
	}
}

// lend tells drop what readLoop has.
func (w *wsConn) lend(in *inbound) {
	w.conn.in.Lock()
	defer w.conn.in.Unlock()
	w.read = in
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
