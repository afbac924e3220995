package engine

import (
	"reflect"
	"sync"

	"github.com/zishang520/engine.io/v2/events"
)

// emitter is an events.EventEmitter that keeps its listeners in one small slice. It takes 40 bytes for the first
// listener of an event, the library's about 400, and a connection has several emitters. The zero value is ready to use.
//
// As in the library, listeners run on the emitting goroutine, in the order of registration. A listener that is removed
// during an emission may still run in it. RemoveListener compares code pointers, so two closures made by one line are
// the same listener. Unlike in the library, but as in Node.js, a Once listener is removed before it runs.
type emitter struct {
	mu        sync.Mutex
	listeners []listener // Guarded by mu, in order of registration.
}

type listener struct {
	event events.EventName
	fn    events.Listener
	once  bool
}

var _ events.EventEmitter = (*emitter)(nil)

func (e *emitter) add(event events.EventName, once bool, fns []events.Listener) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, fn := range fns {
		if fn != nil {
			e.listeners = append(e.listeners, listener{event, fn, once})
		}
	}
	return nil
}

// AddListener registers listeners of an event. The error is always nil.
func (e *emitter) AddListener(event events.EventName, fns ...events.Listener) error {
	return e.add(event, false, fns)
}

// On is AddListener.
func (e *emitter) On(event events.EventName, fns ...events.Listener) error {
	return e.add(event, false, fns)
}

// Once registers listeners that run once.
func (e *emitter) Once(event events.EventName, fns ...events.Listener) error {
	return e.add(event, true, fns)
}

// Emit calls the listeners of an event.
func (e *emitter) Emit(event events.EventName, args ...any) {
	var few [4]events.Listener // so that most emissions do not allocate
	run := e.take(event, few[:0])
	for _, fn := range run {
		fn(args...)
	}
}

// take appends the listeners of event to run, and removes those that run once.
func (e *emitter) take(event events.EventName, run []events.Listener) []events.Listener {
	e.mu.Lock()
	defer e.mu.Unlock()
	once := false
	for i := range e.listeners {
		if l := &e.listeners[i]; l.event == event {
			run = append(run, l.fn)
			once = once || l.once
		}
	}
	if once {
		e.removeLocked(func(l *listener) bool { return l.once && l.event == event })
	}
	return run
}

func (e *emitter) removeLocked(match func(*listener) bool) (removed int) {
	kept := e.listeners[:0]
	for i := range e.listeners {
		if match(&e.listeners[i]) {
			removed++
		} else {
			kept = append(kept, e.listeners[i])
		}
	}
	clear(e.listeners[len(kept):])
	e.listeners = kept
	if len(kept) == 0 {
		e.listeners = nil
	}
	return removed
}

// RemoveListener removes one listener of an event, and reports whether there was one.
func (e *emitter) RemoveListener(event events.EventName, fn events.Listener) bool {
	if fn == nil {
		return false
	}
	code := reflect.ValueOf(fn).Pointer()
	e.mu.Lock()
	defer e.mu.Unlock()
	done := false
	return e.removeLocked(func(l *listener) bool {
		if done || l.event != event || reflect.ValueOf(l.fn).Pointer() != code {
			return false
		}
		done = true
		return true
	}) > 0
}

// RemoveAllListeners removes the listeners of an event, and reports whether there were any.
func (e *emitter) RemoveAllListeners(event events.EventName) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.removeLocked(func(l *listener) bool { return l.event == event }) > 0
}

// Clear removes all listeners.
func (e *emitter) Clear() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.listeners = nil
}

// ListenerCount returns the number of listeners of an event.
func (e *emitter) ListenerCount(event events.EventName) (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range e.listeners {
		if e.listeners[i].event == event {
			n++
		}
	}
	return n
}

// Listeners returns a copy of the listeners of an event.
func (e *emitter) Listeners(event events.EventName) []events.Listener {
	e.mu.Lock()
	defer e.mu.Unlock()
	var fns []events.Listener
	for i := range e.listeners {
		if e.listeners[i].event == event {
			fns = append(fns, e.listeners[i].fn)
		}
	}
	return fns
}

// EventNames returns the events that have listeners.
func (e *emitter) EventNames() []events.EventName {
	e.mu.Lock()
	defer e.mu.Unlock()
	var names []events.EventName
	seen := make(map[events.EventName]struct{}, len(e.listeners))
	for i := range e.listeners {
		name := e.listeners[i].event
		if _, ok := seen[name]; !ok {
			seen[name] = struct{}{}
			names = append(names, name)
		}
	}
	return names
}

// Len returns the number of events that have listeners.
func (e *emitter) Len() int { return len(e.EventNames()) }

// GetMaxListeners returns 0: there is no limit.
func (e *emitter) GetMaxListeners() uint { return 0 }

// SetMaxListeners does nothing, as in the library.
func (e *emitter) SetMaxListeners(uint) {}
