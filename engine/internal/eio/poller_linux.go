package eio

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/architus/guildcast/engine/internal/compact"
)

// poller waits for many WebSockets at once, so that an idle one needs no goroutine. Events are edge-triggered, which
// saves one system call per event: a connection is armed again only if something was left unread. One goroutine at a
// time reads from a connection.
//
// The runtime waits for the epoll descriptor as for a socket, so no thread blocks in it. The goroutine that gets the
// events handles them itself, because starting one for each would cost more than most messages. If one takes longer
// than pollPatience, its owner blocks, and another goroutine takes over.
//
// Events carry a key, not a descriptor, so that a late event never reaches a connection that has the descriptor of a
// closed one.
type poller struct {
	srv   *Server
	epoll int
	file  *os.File // owns epoll
	raw   syscall.RawConn
	once  sync.Once // starts it, with the first connection

	mu      sync.Mutex
	conns   compact.Map[uint64, *wsConn] // by key
	keys    uint64                       // that have been given out; they start with 1
	turn    int                          // of the goroutine that waits for events; stopped: there is none
	current *wsConn                      // whom it reads from
	reads   uint64                       // counts the connections that it has read from
	seen    uint64                       // reads, when takeOver last looked
	batch   []unix.EpollEvent            // what it has got and not yet handled
}

const (
	// pollEvents bounds the events of one wait.
	pollEvents = 128
	// slowEvents is how many of a connection's events are handled on goroutines of their own after that. (It may have
	// been the system that was busy, not the owner.)
	slowEvents = 32
	// stopped is the turn after stop.
	stopped = -1
)

// newPoller returns nil if the system does not allow it.
func newPoller(s *Server) (*poller, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create epoll: %w", err)
	}
	if err := unix.SetNonblock(epoll, true); err != nil { // what os.NewFile goes by
		_ = unix.Close(epoll)
		return nil, fmt.Errorf("create epoll: %w", err)
	}
	p := &poller{srv: s, epoll: epoll, file: os.NewFile(uintptr(epoll), "epoll")}
	if p.raw, err = p.file.SyscallConn(); err != nil {
		_ = p.file.Close()
		return nil, fmt.Errorf("create epoll: %w", err)
	}
	if p.file.SetReadDeadline(time.Time{}) != nil { // the runtime cannot wait for it: readers will do
		_ = p.file.Close()
		return nil, nil
	}
	return p, nil
}

// add registers w, whose key it sets, and arms it.
func (p *poller) add(w *wsConn) error {
	p.once.Do(func() { p.srv.loops.Go(func() { p.run(0) }) })
	p.mu.Lock()
	p.keys++
	w.key = p.keys
	p.conns.Set(w.key, w)
	p.mu.Unlock()
	if err := p.control(w, unix.EPOLL_CTL_ADD); err != nil {
		p.remove(w)
		return fmt.Errorf("poll connection: %w", err)
	}
	return nil
}

// done ends the reading from w. If something may be left unread or has come meanwhile, it asks for another event. It
// ignores a closed connection.
func (p *poller) done(w *wsConn, left bool) {
	p.mu.Lock()
	left = left || w.again
	w.reading, w.again = false, false
	p.mu.Unlock()
	if left {
		_ = p.control(w, unix.EPOLL_CTL_MOD)
	}
}

func (p *poller) control(w *wsConn, op int) error {
	var result error
	err := w.raw.Control(func(fd uintptr) {
		event := unix.EpollEvent{
			Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET,
			Fd:     int32(uint32(w.key)),
			Pad:    int32(uint32(w.key >> 32)),
		}
		result = unix.EpollCtl(p.epoll, op, int(fd), &event)
	})
	return errors.Join(err, result)
}

// remove forgets w. The kernel does so itself when the descriptor is closed.
func (p *poller) remove(w *wsConn) {
	p.mu.Lock()
	p.conns.Delete(w.key)
	p.mu.Unlock()
}

// stop makes run return.
func (p *poller) stop() {
	p.mu.Lock()
	p.turn = stopped
	p.mu.Unlock()
	_ = p.file.Close()
}

// run waits for events and handles them, until stop or until another goroutine has the turn.
func (p *poller) run(turn int) {
	var watch *time.Timer
	watch = time.AfterFunc(time.Hour, func() { p.takeOver(turn, watch) })
	defer watch.Stop()
	events := make([]unix.EpollEvent, pollEvents)
	var n int
	var failure error
	wait := func(fd uintptr) bool { // false: the runtime calls it again when there are events
		if n, failure = unix.EpollWait(int(fd), events, 0); failure == unix.EINTR {
			failure = nil
		}
		return n > 0 || failure != nil
	}
	for p.has(turn) {
		err := p.raw.Read(wait)
		if err = errors.Join(err, failure); err != nil {
			if p.has(turn) { // else it is stop
				p.srv.cfg.Logger.Error("poller stopped", "err", err)
			}
			return
		}
		p.got(events[:n])
		watch.Reset(pollPatience)
		for w, more := p.next(turn); more; w, more = p.next(turn) {
			if w != nil {
				w.readable()
			}
		}
		watch.Stop()
	}
}

// has reports whether turn is the current one. The turn does not change while its goroutine reads from no connection.
func (p *poller) has(turn int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.turn == turn
}

// got notes the events of one wait.
func (p *poller) got(events []unix.EpollEvent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.batch = events
}

// next takes an event from the batch and returns the connection to read from, or nil if that is gone or is read by a
// goroutine of its own. more is false after the last event, or if the turn is over.
func (p *poller) next(turn int) (w *wsConn, more bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.turn != turn {
		return nil, false
	}
	p.current = nil
	if len(p.batch) == 0 {
		return nil, false
	}
	w = p.popLocked()
	switch {
	case w == nil:
	case w.slow > 0:
		w.slow--
		go w.readable()
		w = nil
	default:
		p.current = w
		p.reads++
	}
	return w, true
}

// popLocked takes an event from the batch and returns its connection, from which the caller must read. It counts that
// reader in Server.work. It returns nil if the connection is gone or is being read from, in which case another event
// follows.
func (p *poller) popLocked() *wsConn {
	e := p.batch[0]
	p.batch = p.batch[1:]
	w, ok := p.conns.Get(uint64(uint32(e.Pad))<<32 | uint64(uint32(e.Fd)))
	switch {
	case !ok:
		return nil
	case w.reading:
		w.again = true
		return nil
	}
	w.reading = true
	w.ending = e.Events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0
	p.srv.work.Add(1)
	return w
}

// takeOver is called every pollPatience while events are handled. If the goroutine that has the turn is stuck with a
// connection, it gives the turn to another one. The remaining events are handled by goroutines of their own.
func (p *poller) takeOver(turn int, watch *time.Timer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.turn != turn || p.current == nil {
		return
	}
	if p.seen != p.reads {
		p.seen = p.reads
		watch.Reset(pollPatience)
		return
	}
	p.current.slow = slowEvents
	for len(p.batch) > 0 {
		if w := p.popLocked(); w != nil {
			go w.readable()
		}
	}
	p.current, p.batch = nil, nil
	p.turn++
	next := p.turn
	p.srv.loops.Go(func() { p.run(next) })
}
