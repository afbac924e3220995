package engine

import (
	"net/url"
	"time"

	"github.com/zishang520/engine.io/v2/events"
	"github.com/zishang520/socket.io/v2/socket"
)

// openGrace bounds how long a "connection" listener holds up the events of its socket. After that they are handled
// while it runs.
const openGrace = 5 * time.Second

// hookedAdapter makes the adapters of all namespaces. It is the only place that sees every namespace, dynamic ones
// included, before a client can connect to it.
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

// namespaceEmitter wraps the emitter of a namespace. It notices when a socket is connected and when its "connection"
// listeners have returned.
type namespaceEmitter struct {
	events.EventEmitter
	nsp socket.Namespace
}

// Emit implements events.EventEmitter. For each socket the library emits "connect", then "connection".
func (e *namespaceEmitter) Emit(event events.EventName, args ...any) {
	if len(args) == 1 {
		switch event {
		case "new_namespace": // emitted on the main namespace
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

// connected is called when the library has connected a socket, before any listener learns of it. If the connection has
// closed meanwhile, it closes the socket, of which no listener ever learns, and returns false. (The library would keep
// the socket for ever.)
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
	s.Handshake().Time = dateText(s.Handshake().Issued) // a recovered socket has skipped slimSockets
	c.shake.share(s.Handshake())
	if ours {
		a.resume(s)
	}
	return true
}

// slimSockets registers the first middleware of a namespace. It gives every socket a small emitter, and sockets of
// revision 3 an auth, before other code sees them. (A recovered socket skips the middlewares, and keeps the library's
// emitter.)
func slimSockets(nsp socket.Namespace) {
	nsp.Fns().Unshift(func(s *socket.Socket, next func(*socket.ExtendedError)) {
		s.Handshake().Time = dateText(s.Handshake().Issued)
		if s.Conn().Protocol() == 3 {
			s.Handshake().Auth = authOfQuery(s.Handshake().Auth)
		}
		if s.StrictEventEmitter.EventEmitter.Len() == 1 { // only the library's own listener, for "error"
			s.StrictEventEmitter.EventEmitter = &emitter{}
		}
		next(nil)
	})
}

// dateText formats a time in milliseconds since 1970 as JavaScript's `new Date() + ""` does in UTC. The time of a
// handshake has this form in Node.js and on the wire of package adapter.
func dateText(ms int64) string {
	return time.UnixMilli(ms).UTC().Format("Mon Jan 02 2006 15:04:05") + " GMT+0000 (Coordinated Universal Time)"
}

// authOfQuery returns the auth of a client of revision 3, which sends it as a query behind the namespace's name. Values
// are strings, or arrays if a name is repeated.
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
