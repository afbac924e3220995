package adapter

import (
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

// lane runs functions one at a time, in the order in which they were posted, on a goroutine that exists only while
// there are any.
type lane struct {
	// Static after construction.
	limit  int // of waiting functions; post refuses more. Zero: no limit
	logger *slog.Logger
	wg     *sync.WaitGroup // of the owner, who waits for the goroutine

	// Guarded by mu.
	mu      sync.Mutex
	queue   []call
	running bool // a function, or any are queued
	closed  bool
}

// call is a function in a lane.
type call struct {
	f    func()
	done chan struct{} // closed when f has returned and the lane knows it; nil: nobody waits
}

// post queues f. It returns false, and never calls f, if the lane is full or closed. It never blocks.
func (l *lane) post(f func()) bool {
	_, ok := l.add(call{f: f})
	return ok
}

// add is post. It also reports whether other functions come before c.
func (l *lane) add(c call) (behind, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.limit > 0 && len(l.queue) >= l.limit {
		return false, false
	}
	behind = l.running
	l.queue = append(l.queue, c)
	if !l.running {
		l.running = true
		l.wg.Go(l.run)
	}
	return behind, true
}

// postAndWait is post, but if f is next in the lane, it waits until f has returned, at most grace. So what a quick f
// does comes before what the caller does next, and a slow f delays nobody.
func (l *lane) postAndWait(f func(), grace time.Duration) bool {
	done := make(chan struct{})
	behind, ok := l.add(call{f, done})
	if !ok || behind {
		return ok
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
	return true
}

func (l *lane) run() {
	for last := (call{}); ; {
		next, ok := l.next()
		if last.done != nil {
			close(last.done)
		}
		if !ok {
			return
		}
		guard(l.logger, next.f)
		last = next
	}
}

// next takes the first function. Without any the lane comes to rest.
func (l *lane) next() (c call, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		l.queue, l.running = nil, false
		return call{}, false
	}
	c = l.queue[0]
	l.queue[0] = call{}
	l.queue = l.queue[1:]
	return c, true
}

// close drops what waits. A function may still be running.
func (l *lane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.queue = nil
}

// guard calls f, which runs code of the application. It recovers and logs a panic, because a message of another server
// must not end this one.
func guard(logger *slog.Logger, f func()) {
	defer func() {
		if p := recover(); p != nil {
			logger.Error("listener panicked", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	f()
}
