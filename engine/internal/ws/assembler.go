package ws

import (
	"unicode/utf8"

	"github.com/architus/guildcast/internal/processor"
)

// Limits bound what a peer may send. They are constant, and all connections of a server share them.
type Limits struct {
	Message   int       // bytes per message, before and after inflating
	Fragments int       // frames per message
	Inflate   *Inflater // if nil, compressed frames break the protocol
}

// Message is a complete data message, or a control frame.
type Message struct {
	Op Opcode // Text, Binary, Close, Ping or Pong
	// Own reports that Data has memory of its own. Otherwise it aliases the parsed buffer: the message was one plain
	// frame.
	Own  bool
	Held bool // a Holder was asked, and must be told when the message has been handled
	Data []byte
}

// Assembler joins the frames of one client to messages. It holds memory only within a fragmented message. The zero
// value is ready to use.
type Assembler struct {
	parts      []byte // payloads of the fragments so far
	frames     int    // their number; 0 outside of a fragmented message
	op         Opcode
	compressed bool
}

// Idle reports whether the Assembler holds nothing, so that it can be discarded.
func (a *Assembler) Idle() bool { return a.frames == 0 }

// Held returns the memory in bytes that the fragments of an unfinished message take.
func (a *Assembler) Held() int { return cap(a.parts) }

// Next parses the frame at the start of b, and unmasks it in place. n is the frame's size in bytes, and ok reports
// whether it completed message m. If b ends before the frame does, n is 0 and need is the size of b at which to call
// again. The error is an *Error, or one of h, which may be nil.
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
	processor.Read(len(p), func() { unmask(p, head.key) })
	if head.op >= Close {
		return Message{Op: head.op, Data: p}, true, total, 0, nil
	}
	m, ok, err = a.data(head, p, l, h)
	return m, ok, total, 0, err
}

// check returns an error if the header, or the frames before it, forbid the frame.
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
	valid := true
	if m.Op == Text {
		processor.Read(len(m.Data), func() { valid = utf8.Valid(m.Data) })
	}
	if !valid {
		return Message{}, false, errUTF8
	}
	return m, true, nil
}
