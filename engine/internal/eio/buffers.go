package eio

import "sync"

// bufferSize is the size of a borrowed buffer in bytes.
const bufferSize = 16 << 10

// buffers is a pool of buffers of bufferSize.
type buffers struct{ pool sync.Pool }

func (p *buffers) get() *[]byte {
	if b, _ := p.pool.Get().(*[]byte); b != nil {
		return b
	}
	b := make([]byte, bufferSize)
	return &b
}

func (p *buffers) put(b *[]byte) { p.pool.Put(b) }
