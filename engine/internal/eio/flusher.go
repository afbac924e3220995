package eio

import (
	"sync"
	"time"
)

// flusher writes for the connections that have something queued, in turn, one write each. Frames that are queued
// meanwhile go out with the next write, which makes a burst cheap.
type flusher struct {
	srv *Server

	mu      sync.Mutex
	cond    sync.Cond
	pending []*wsConn // each is there at most once, by its claim
	idle    bool      // run waits for cond
	stopped bool
	quit    chan struct{} // closed by stop
}

const (
	// flushBuffer is the size of one write in bytes.
	flushBuffer = 64 << 10
	// idleBatch is the room for connections that an idle flusher keeps.
	idleBatch = 1024
)

func newFlusher(s *Server) *flusher {
	f := &flusher{srv: s, quit: make(chan struct{})}
	f.cond.L = &f.mu
	return f
}

// push queues w to be written. The caller must hold w's claim, which passes to the flusher.
func (f *flusher) push(w *wsConn) {
	f.mu.Lock()
	f.pending = append(f.pending, w)
	idle := f.idle
	f.idle = false
	f.mu.Unlock()
	if idle {
		f.cond.Signal()
	}
}

func (f *flusher) stop() {
	f.mu.Lock()
	if !f.stopped {
		f.stopped = true
		close(f.quit)
	}
	f.mu.Unlock()
	f.cond.Signal()
}

// run writes until stop.
func (f *flusher) run() {
	wr := newWriter(f.srv, make([]byte, flushBuffer))
	var batch []*wsConn
	for {
		f.mu.Lock()
		for len(f.pending) == 0 && !f.stopped {
			if cap(batch) > idleBatch { // grown by many connections at a time
				batch, f.pending = nil, nil
			}
			f.idle = true
			f.cond.Wait()
		}
		if f.stopped {
			f.mu.Unlock()
			return
		}
		batch, f.pending = f.pending, batch[:0]
		f.mu.Unlock()
		begin := time.Now()
		for i, w := range batch {
			batch[i] = nil
			w.writeOnce(wr)
		}
		if len(batch) >= floodBatch {
			f.rest(min(time.Since(begin), maxRest))
		}
	}
}

// A round over floodBatch connections or more is a flood: frames come faster than they can be written one by one. The
// flusher then rests as long as the round took, at most maxRest. Meanwhile the producers have the processor, and more
// gathers for each connection, which the next round writes together.
const (
	floodBatch = 256
	maxRest    = 20 * time.Millisecond
)

// rest waits for d, or until stop.
func (f *flusher) rest(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-f.quit:
	}
}
