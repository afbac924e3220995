package engine

import (
	"net/url"
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
	if len(args) == 1 {
		switch event {
		case "new_namespace": // on the main namespace
			if nsp, ok := args[0].(socket.Namespace); ok {
				slimSockets(nsp)
			}
		case "connect":
			if s, c := socketAndConn(args[0]); c != nil && !c.connected(s, e.nsp) {
				return
			}
		case "connection":
			if s, c := socketAndConn(args[0]); c != nil {
				if !c.inbox.has(s) {
					return
				}
				grace := time.AfterFunc(openGrace, func() { c.inbox.open(c, s) })
				e.EventEmitter.Emit(event, args...)
				grace.Stop()
				c.inbox.open(c, s)
				return
			}
		}
	}
	e.EventEmitter.Emit(event, args...)
}

func socketAndConn(arg any) (*socket.Socket, *Conn) {
	s, ok := arg.(*socket.Socket)
	if !ok {
		return nil, nil
	}
	return s, ConnOf(s)
}

// connected is called when the library has connected a socket, before any listener knows of it. It returns false if the
// connection has closed while it did: then the socket is closed too, and nobody ever hears of it. (The library would
// keep it for ever.)
func (c *Conn) connected(s *socket.Socket, nsp socket.Namespace) bool {
	answer, ended := c.inbox.connected(s)
	if ended != nil {
		c.hangUp(ended...)
		return false
	}
	a, ours := nsp.Adapter().(interface {
		tell(s *socket.Socket, queue func())
		resume(s *socket.Socket)
	})
	tell := func(queue func()) { queue() }
	if ours {
		tell = func(queue func()) { a.tell(s, queue) }
	}
	if answer != nil {
		c.eio.SendWithin(tell, answer.frames...)
	} else {
		tell(func() {})
	}
	s.Handshake().Time = dateText(s.Handshake().Issued) // one that is recovered has skipped slimSockets
	c.shake.share(s.Handshake())
	if ours {
		a.resume(s)
	}
	return true
}

// slimSockets sets a small emitter on every socket of a namespace, and an auth on those of revision 3, before other
// code sees them: in the first middleware of all. (A socket that is recovered skips the middlewares, and keeps the
// library's emitter.)
func slimSockets(nsp socket.Namespace) {
	nsp.Fns().Unshift(func(s *socket.Socket, next func(*socket.ExtendedError)) {
		s.Handshake().Time = dateText(s.Handshake().Issued)
		if s.Conn().Protocol() == 3 {
			s.Handshake().Auth = authOfQuery(s.Handshake().Auth)
		}
		if s.StrictEventEmitter.EventEmitter.Len() == 1 { // the library listens to "error" itself
			s.StrictEventEmitter.EventEmitter = &emitter{}
		}
		next(nil)
	})
}

// dateText returns a time, in milliseconds since 1970, as JavaScript does in UTC: `new Date() + ""`. It is the time of
// a handshake, as Node.js has it and package adapter sends it.
func dateText(ms int64) string {
	return time.UnixMilli(ms).UTC().Format("Mon Jan 02 2006 15:04:05") + " GMT+0000 (Coordinated Universal Time)"
}

// authOfQuery is the auth of a client of revision 3, which sends a query with the name of the namespace, in the form
// that other clients' has: strings, and arrays where a name is repeated.
func authOfQuery(auth any) map[string]any {
	query, _ := auth.(url.Values)
	m := make(map[string]any, len(query))
	for name, values := range query {
		if len(values) == 1 {
			m[name] = values[0]
			continue
		}
		all := make([]any, len(values))
		for i, v := range values {
			all[i] = v
		}
		m[name] = all
	}
	return m
}
