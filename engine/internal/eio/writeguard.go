package eio

import (
	"sync"
	"time"
)

// writeGuard ends a write whose peer reads nothing for too long. It is for connections whose writes must complete: an
// incomplete TLS record makes the connection unusable.
type writeGuard struct {
	ws    *wsConn
	timer *time.Timer

	mu      sync.Mutex // guards what follows
	writing bool
	waited  bool // look has been called, and has set wsConn.blocked
	stall   stallWatch
}

func newWriteGuard(w *wsConn) *writeGuard {
	g := &writeGuard{ws: w, stall: stallWatch{srv: w.srv}}
	g.timer = time.AfterFunc(time.Hour, g.look)
	g.timer.Stop()
	return g
}

// write writes all of b, or fails with os.ErrDeadlineExceeded.
func (g *writeGuard) write(b []byte) (int, error) {
	g.begin()
	defer g.end()
	return g.ws.nc.Write(b)
}

func (g *writeGuard) begin() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.writing = true
	g.stall.renew()
	_ = g.ws.nc.SetWriteDeadline(time.Time{})
	g.timer.Reset(g.stall.step())
}

func (g *writeGuard) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.writing = false
	g.timer.Stop()
	if g.waited {
		g.waited = false
		g.ws.setBlocked(false)
	}
}

// look is called every step of a write that has to wait.
func (g *writeGuard) look() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.writing {
		return
	}
	g.waited = true
	g.ws.setBlocked(true)
	if g.stall.over(g.ws.nc) {
		_ = g.ws.nc.SetWriteDeadline(time.Now())
		return
	}
	g.timer.Reset(g.stall.step())
}
