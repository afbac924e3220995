package ws

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/klauspost/compress/flate"

	"github.com/architus/guildcast/internal/processor"
)

// emptyStored is the empty stored block with which a flush ends, and which the sender of a message removes (RFC 7692,
// 7.2.1).
const emptyStored = "\x00\x00\xff\xff"

// endOfMessage completes the data of a message, and adds a final empty block, so that the reader ends without an error.
const endOfMessage = emptyStored + "\x01" + emptyStored

// Inflater inflates messages. It may be used concurrently. The zero value is ready to use.
type Inflater struct{ pool sync.Pool } // of flate's reader

// Holder is asked with Hold(n) before a message is inflated to n bytes, if that is more than freeInflated, and told the
// actual size afterwards. Hold may block. An error ends the connection.
type Holder interface{ Hold(n int) error }

// Sizes in bytes.
const (
	freeInflated = 4 << 10 // a message up to this size is inflated without asking
	maxRatio     = 1032    // the most bytes to which one byte of deflate data inflates
)

// inflate returns the message in p, and reports whether h was asked. It returns ErrTooBig for more than limit bytes,
// and never holds them in memory. h may be nil.
func (i *Inflater) inflate(p []byte, limit int, h Holder) (message []byte, held bool, err error) {
	src := io.MultiReader(bytes.NewReader(p), strings.NewReader(endOfMessage))
	r, _ := i.pool.Get().(io.Reader)
	if r == nil {
		r = flate.NewReader(src)
	} else if err := r.(flate.Resetter).Reset(src, nil); err != nil {
		return nil, false, errDeflate
	}
	var buf bytes.Buffer
	_, err = io.CopyN(&buf, r, int64(min(freeInflated, limit)+1))
	if err == nil && limit > freeInflated {
		most := min(limit, maxRatio*(len(p)+len(endOfMessage)))
		if held = h != nil; held {
			err = h.Hold(most)
		}
		if err != nil {
			return nil, held, err // with what it was asked for: the connection ends
		}
		processor.Read(most, func() { _, err = io.CopyN(&buf, r, int64(limit-freeInflated)) })
	}
	if r.(flate.Resetter).Reset(strings.NewReader(""), nil) == nil { // lets go of p
		i.pool.Put(r)
	}
	switch {
	case err == nil:
		return nil, held, ErrTooBig
	case !errors.Is(err, io.EOF):
		return nil, held, errDeflate
	case held:
		err = h.Hold(buf.Len())
	default:
		err = nil
	}
	return clip(buf.Bytes()), held, err
}

// clip returns b, or a copy if most of b's capacity is unused.
func clip(b []byte) []byte {
	if cap(b) > len(b)+len(b)/4 {
		return bytes.Clone(b)
	}
	return b
}

// Deflater compresses messages. It may be used concurrently.
type Deflater struct {
	level int
	pool  sync.Pool // of *flate.Writer
}

// NewDeflater returns a Deflater; level is 1 (fastest) to 9.
func NewDeflater(level int) *Deflater { return &Deflater{level: min(max(level, 1), 9)} }

// AppendFrame appends p as a compressed frame. If that is not smaller than p, it returns dst unchanged, and ok is
// false.
func (d *Deflater) AppendFrame(dst []byte, op Opcode, p []byte) (frame []byte, ok bool) {
	return d.AppendFrameAfter(dst, op, p, nil)
}

// AppendFrameAfter is AppendFrame for a peer that has just inflated window, to which the frame may refer.
func (d *Deflater) AppendFrameAfter(dst []byte, op Opcode, p, window []byte) (frame []byte, ok bool) {
	out := d.deflate(p, window)
	if len(out) >= len(p) {
		return dst, false
	}
	return append(AppendHeader(dst, op, true, len(out)), out...), true
}

// AppendInflating is AppendFrame, but appends a compressed frame even if it is not smaller than p: the peer is to
// inflate p.
func (d *Deflater) AppendInflating(dst []byte, op Opcode, p []byte) []byte {
	out := d.deflate(p, nil)
	return append(AppendHeader(dst, op, true, len(out)), out...)
}

// deflate returns the data of a compressed message.
func (d *Deflater) deflate(p, window []byte) []byte {
	var buf bytes.Buffer // which takes everything, so that nothing below fails
	w, _ := d.pool.Get().(*flate.Writer)
	if w == nil {
		var err error
		if w, err = flate.NewWriter(io.Discard, d.level); err != nil {
			panic(err) // the level is always valid
		}
	}
	w.ResetDict(&buf, window)
	_, _ = w.Write(p)
	_ = w.Flush()
	w.ResetDict(io.Discard, nil) // lets go of window
	d.pool.Put(w)
	return bytes.TrimSuffix(buf.Bytes(), []byte(emptyStored))
}
