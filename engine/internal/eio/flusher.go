package eio

import "sync"

// flusher writes for the connections that have something queued, one write each, in turn. What is queued meanwhile
// goes out with the next write: that is what makes a burst cheap.
type flusher struct {
	srv *Server

	mu      sync.Mutex
	cond    sync.Cond
	pending []*wsConn // each is there at most once, by its claim
	idle    bool      // run waits for cond
	stopped bool
}

// flushBuffer is the size of one write in bytes.
const flushBuffer = 64 << 10

func newFlusher(s *Server) *flusher {
	f := &flusher{srv: s}
	f.cond.L = &f.mu
	return f
}

// push has w written. The caller holds w's claim and passes it on.
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
	f.stopped = true
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
			f.idle = true
			f.cond.Wait()
		}
		if f.stopped {
			f.mu.Unlock()
			return
		}
		batch, f.pending = f.pending, batch[:0]
		f.mu.Unlock()
		for i, w := range batch {
			batch[i] = nil
			w.writeOnce(wr)
		}
	}
}
