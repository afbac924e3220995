package eio

import (
	"bytes"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"

	"github.com/architus/guildcast/engine/internal/ws"
)

// compressor compresses for all connections of a server: messages for permessage-deflate, polling answers with gzip.
type compressor struct {
	threshold int
	level     int
	deflater  *ws.Deflater
	gzips     sync.Pool // of *gzip.Writer
}

func newCompressor(c *Compression) *compressor {
	if c == nil {
		return nil
	}
	k := &compressor{threshold: c.Threshold, level: c.Level}
	if k.threshold <= 0 {
		k.threshold = 1024
	}
	k.level = min(max(k.level, 1), 9)
	k.deflater = ws.NewDeflater(k.level)
	return k
}

// frame returns the compressed frame, or nil if that is not smaller.
func (k *compressor) frame(op ws.Opcode, p []byte) []byte {
	b, ok := k.deflater.AppendFrame(make([]byte, 0, ws.MaxHeader+len(p)/2), op, p)
	if !ok {
		return nil
	}
	return b
}

// gzip returns body compressed, or nil if that is not possible.
func (k *compressor) gzip(body []byte) []byte {
	var buf bytes.Buffer
	w, _ := k.gzips.Get().(*gzip.Writer)
	if w == nil {
		var err error
		if w, err = gzip.NewWriterLevel(&buf, k.level); err != nil {
			return nil // the level is always valid
		}
	} else {
		w.Reset(&buf)
	}
	_, err := w.Write(body)
	if err == nil {
		err = w.Close()
	}
	w.Reset(io.Discard)
	k.gzips.Put(w)
	if err != nil {
		return nil
	}
	return buf.Bytes()
}
