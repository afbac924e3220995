package engine

import (
	"time"

	"github.com/zishang520/engine.io/v2/events"
	"github.com/zishang520/socket.io/v2/socket"
)

// openGrace is how long a "connection" listener may hold up the events of its socket. One that runs for longer gets
// them while it runs.
const openGrace = 5 * time.Second

// hookedAdapter makes the adapters of all namespaces. It is the one place that sees every namespace before anybody can
// connect to it, dynamic ones too.
type hookedAdapter struct {
	srv   *server
	inner socket.AdapterConstructor
}

// New implements socket.AdapterConstructor.
func (h hookedAdapter) New(nsp socket.Namespace) socket.Adapter {
	e := nsp.EventEmitter()
	if _, ok := e.EventEmitter.(*namespaceEmitter); !ok {
		e.EventEmitter = &namespaceEmitter{e.EventEmitter, nsp}
	}
	return h.inner.New(nsp)
}

// namespaceEmitter stands before the emitter of a namespace, to see when a socket has been connected and when its
// "connection" listeners have returned.
type namespaceEmitter struct {
	events.EventEmitter
	nsp socket.Namespace
}

// Emit implements events.EventEmitter. The library emits "connect", then "connection".
func (e *namespaceEmitter) Emit(event events.EventName, args ...any) {
	if event != "connect" && event != "connection" || len(args) != 1 {
		e.EventEmitter.Emit(event, args...)
		return
	}
	s, ok := args[0].(*socket.Socket)
	if !ok {
		e.EventEmitter.Emit(event, args...)
		return
	}
	c := ConnOf(s)
	if c == nil {
		e.EventEmitter.Emit(event, args...)
		return
	}
	if event == "connect" {
		c.connected(s, e.nsp)
		e.EventEmitter.Emit(event, args...)
		return
	}
	grace := time.AfterFunc(openGrace, func() { c.inbox.open(c, s) })
	e.EventEmitter.Emit(event, args...)
	grace.Stop()
	c.inbox.open(c, s)
}

// connected is called when the library has connected a socket, before any listener knows of it.
func (c *Conn) connected(s *socket.Socket, nsp socket.Namespace) {
	slim(s)
	c.shake.share(s.Handshake())
	c.inbox.connected(s)
	if r, ok := nsp.Adapter().(interface{ resume(*socket.Socket) }); ok {
		r.resume(s)
	}
}

// slim gives a socket a small emitter. A middleware that has registered listeners on it keeps the library's, and so do
// goroutines which it may have started.
func slim(s *socket.Socket) {
	e := s.StrictEventEmitter
	if e.Len() > 1 { // the library itself listens to "error", with a function that does nothing
		return
	}
	e.EventEmitter = &emitter{}
}
