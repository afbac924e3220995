package ws

import "unicode/utf8"

// Limits of what a peer may send. Static; shared by all connections of a server.
type Limits struct {
	Message   int       // bytes per message, also after inflating
	Fragments int       // frames per message
	Inflate   *Inflater // nil: compressed frames are a breach of the protocol
}

// Message is a complete data message, or a control frame.
type Message struct {
	Op Opcode // Text, Binary, Close, Ping or Pong
	// Data is nobody else's; else it is inside of the buffer that was parsed: the message is one plain frame
	Own  bool
	Held bool // a Holder was asked, who should know when the message has been handled
	Data []byte
}

// Assembler makes messages of the frames of one client. It holds memory only inside of a fragmented message. The zero
// value is ready.
type Assembler struct {
	parts      []byte // payloads of the fragments so far
	frames     int    // their number; 0: not inside of a fragmented message
	op         Opcode
	compressed bool
}

// Idle reports whether the Assembler holds nothing, and can be thrown away.
func (a *Assembler) Idle() bool { return a.frames == 0 }

// Held is the memory in bytes that the fragments of an unfinished message take.
func (a *Assembler) Held() int { return cap(a.parts) }

// Next parses the frame at the start of b, unmasking it in place. n is its size in bytes, and ok reports whether it
// completed a message; n is 0 where b ends before the frame does, and need is then the size from which it is worth to
// call again. Errors are *Error, or those of h, who may be nil.
func (a *Assembler) Next(b []byte, l *Limits, h Holder) (m Message, ok bool, n, need int, err error) {
	head, complete, err := parseHeader(b)
	if err != nil {
		return m, false, 0, 0, err
	}
	if !complete {
		return m, false, 0, max(head.size, 2), nil
	}
	if err := a.check(head, l); err != nil {
		return m, false, 0, 0, err
	}
	total := head.size + int(head.length)
	if len(b) < total {
		return m, false, 0, total, nil
	}
	p := b[head.size:total:total]
	unmask(p, head.key)
	if head.op >= Close {
		return Message{Op: head.op, Data: p}, true, total, 0, nil
	}
	m, ok, err = a.data(head, p, l, h)
	return m, ok, total, 0, err
}

// check refuses a frame by its header and the frames before it.
func (a *Assembler) check(h header, l *Limits) error {
	if h.op >= Close {
		return nil
	}
	switch {
	case h.op == Continuation && a.frames == 0:
		return errContinue
	case h.op != Continuation && a.frames > 0:
		return errInterleave
	case h.compressed && (l.Inflate == nil || h.op == Continuation): // RFC 7692, 6.1: RSV1 is on the first frame only
		return errReserved
	case h.length > uint64(l.Message) || uint64(len(a.parts))+h.length > uint64(l.Message):
		return ErrTooBig
	case a.frames >= l.Fragments:
		return ErrFragments
	}
	return nil
}

// data adds a data frame to the message.
func (a *Assembler) data(h header, p []byte, l *Limits, holder Holder) (m Message, ok bool, err error) {
	m = Message{Op: h.op, Data: p}
	compressed := h.compressed
	if a.frames > 0 || !h.fin {
		if a.frames == 0 {
			a.op, a.compressed = h.op, h.compressed
		}
		a.frames++
		a.parts = append(a.parts, p...)
		if !h.fin {
			return Message{}, false, nil
		}
		m = Message{Op: a.op, Data: a.parts, Own: true}
		compressed = a.compressed
		a.parts, a.frames = nil, 0
	}
	if compressed {
		if m.Data, m.Held, err = l.Inflate.inflate(m.Data, l.Message, holder); err != nil {
			return Message{}, false, err
		}
		m.Own = true
	}
	if m.Op == Text && !utf8.Valid(m.Data) {
		return Message{}, false, errUTF8
	}
	return m, true, nil
}
