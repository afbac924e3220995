package eio

import (
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// poller waits for all WebSockets at once, so that an idle one needs no goroutine. Every connection is armed for one
// event, and armed again when that has been handled.
//
// Events carry a key and not a descriptor, so that a late event never reaches the connection that got the descriptor
// of a closed one.
type poller struct {
	srv     *Server
	epoll   int
	stopper int // an eventfd

	mu    sync.Mutex
	slots []pollSlot
	free  []uint32 // indexes of empty slots
}

// pollSlot holds a connection. A key is the generation and the index plus one, so that it is never 0.
type pollSlot struct {
	ws         *wsConn
	generation uint32
}

func newPoller(s *Server) (*poller, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create epoll: %w", err)
	}
	stopper, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(epoll)
		return nil, fmt.Errorf("create eventfd: %w", err)
	}
	p := &poller{srv: s, epoll: epoll, stopper: stopper}
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, stopper, &unix.EpollEvent{Events: unix.EPOLLIN}); err != nil {
		p.close()
		return nil, fmt.Errorf("watch eventfd: %w", err)
	}
	return p, nil
}

func (p *poller) close() {
	_ = unix.Close(p.epoll)
	_ = unix.Close(p.stopper)
}

// add registers w, whose slot it sets, and arms it.
func (p *poller) add(w *wsConn) error {
	p.mu.Lock()
	if len(p.free) == 0 {
		p.slots = append(p.slots, pollSlot{})
		p.free = append(p.free, uint32(len(p.slots)-1))
	}
	i := p.free[len(p.free)-1]
	p.free = p.free[:len(p.free)-1]
	p.slots[i].ws = w
	w.slot = uint64(p.slots[i].generation)<<32 | uint64(i+1)
	p.mu.Unlock()
	if err := p.control(w, unix.EPOLL_CTL_ADD); err != nil {
		p.remove(w)
		return fmt.Errorf("poll connection: %w", err)
	}
	return nil
}

// rearm asks for the next event of w. A closed connection is none of its business.
func (p *poller) rearm(w *wsConn) { _ = p.control(w, unix.EPOLL_CTL_MOD) }

func (p *poller) control(w *wsConn, op int) error {
	var result error
	err := w.raw.Control(func(fd uintptr) {
		event := unix.EpollEvent{
			Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT,
			Fd:     int32(uint32(w.slot)),
			Pad:    int32(uint32(w.slot >> 32)),
		}
		result = unix.EpollCtl(p.epoll, op, int(fd), &event)
	})
	return errors.Join(err, result)
}

// remove forgets w. The kernel does so itself when the descriptor is closed.
func (p *poller) remove(w *wsConn) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	i := uint32(w.slot) - 1
	if w.slot == 0 || p.slots[i].ws != w {
		return
	}
	p.slots[i].ws = nil
	p.slots[i].generation++
	p.free = append(p.free, i)
}

// lookup returns the connection of an event, nil where it is gone, and counts the goroutine that is to read from it.
func (p *poller) lookup(key uint64) *wsConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := uint32(key) - 1
	if i >= uint32(len(p.slots)) || p.slots[i].generation != uint32(key>>32) || p.slots[i].ws == nil {
		return nil
	}
	p.srv.work.Add(1)
	return p.slots[i].ws
}

// run starts a reader for every connection that has something to read, until stop.
func (p *poller) run() {
	defer p.close()
	events := make([]unix.EpollEvent, 256)
	for {
		n, err := unix.EpollWait(p.epoll, events, -1)
		if err != nil && err != unix.EINTR {
			p.srv.cfg.Logger.Error("poller stopped", "err", err)
			return
		}
		for _, e := range events[:max(n, 0)] {
			key := uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32
			if key == 0 {
				return // stop
			}
			if w := p.lookup(key); w != nil {
				go w.readable()
			}
		}
	}
}

// stop makes run return.
func (p *poller) stop() {
	_, _ = unix.Write(p.stopper, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}
