// Package engine is an Engine.IO server and Socket.IO dispatcher for the Socket.IO library zishang520/socket.io/v2. The
// library's API stays as it is: handlers, rooms, acknowledgements and middlewares are written against its package
// socket. What is under it is replaced, because under load it loses and reorders messages and costs a multiple of
// Node's server.
//
//	opts := socket.DefaultServerOptions()
//	io, handler := engine.NewServer(opts, engine.Options{})
//	io.On("connection", func(args ...any) {
//		s := args[0].(*socket.Socket)
//		s.On("hello", func(args ...any) { s.Emit("world") })
//	})
//	http.Handle("/socket.io/", handler)
//	...
//	handler.Shutdown(ctx)
//
// # What it promises
//
// Every message to a connected client is delivered, in the order in which it was sent, through an upgrade from polling
// to WebSocket too, unless the client stops reading. Events of a socket are handled one after the other in the order
// in which the client sent them, each on the goroutine that runs the previous one; sockets do not wait for each other.
// A handler may wait for an acknowledgement of its own client. Events that arrive while the "connection" listeners run
// wait for them. "disconnect" comes after the last event.
//
// Listeners that panic end the program, as with the library, unless [Options].OnPanic is set. A client decides what
// arguments a listener is called with: check their number and types.
//
// # Sending
//
// A broadcast is encoded and framed once, whatever the number of receivers. Packages that have a payload at hand as
// JSON send it as a [Message], to rooms with [Adapter.BroadcastMessage] or to connections that they keep themselves
// with [Deliver].
//
// A client that does not read has a bounded queue. A sender that is faster than a client which does read waits for it,
// at most 50 ms a call; a client that has stopped reading is disconnected, and does not slow down anybody.
//
// # Limits
//
// See [Options], and docs/reference/engine.md for all limits and their defaults.
package engine
