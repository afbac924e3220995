// Package engine is an Engine.IO server and Socket.IO dispatcher for the Socket.IO library zishang520/socket.io/v2. You
// write handlers, rooms, acknowledgements and middlewares against the library's package socket, as before. Package
// engine replaces what is beneath, which under load loses and reorders messages and costs a multiple of the Node.js
// server.
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
// Every message to a connected client is delivered, in the order in which it was sent, even across an upgrade from
// polling to WebSocket, unless the client stops reading. A socket's events are handled one at a time, in the order in
// which the client sent them. Sockets do not wait for each other. A handler may wait for an acknowledgement of its own
// client. Events that arrive while the "connection" listeners run wait until those return. "disconnect" comes after the
// last event.
//
// A listener that panics ends the program, as with the library, unless [Options].OnPanic is set. The client chooses the
// arguments of a listener: check their number and types.
//
// # Sending
//
// A broadcast is encoded and framed once, whatever the number of receivers. If you have a payload as JSON already, send
// it as a [Message]: to rooms with [Adapter.BroadcastMessage], or with [Deliver] to connections that you keep yourself.
//
// The queue of each client is bounded. A sender that outpaces a client which reads waits for it, at most 50 ms per
// call. A client that has stopped reading is disconnected, and slows nobody down.
//
// # Limits
//
// See [Options], and docs/reference/engine.md for all limits and their defaults.
package engine

// The files, in the order in which a message passes through them. The Engine.IO protocol is in internal/eio, WebSocket
// frames in internal/ws.
//
// A server and its connections:
//
//	options, server                 what the application may set, and the pair of library server and handler
//	handler, clientfiles            HTTP: Engine.IO requests, and the browser client's files
//	hooks                           the events of an Engine.IO server, for who listens to the library's
//	handshake                       the request that began a connection, kept small
//	conn, socket, transport         one connection, in the forms that the library asks for
//
// What a client sends:
//
//	receive, packet                 a text or its attachments become a packet, whose data are not decoded
//	inbound                         bytes that have arrived and are not handled, of a client and of all
//	inbox, lifecycle                the packets of each namespace wait in order, from CONNECT to the end
//	admit                           the application may refuse an event before it is decoded
//	decode, decoding                its values, bounded for an event and for all that are decoded at the same time
//	dispatch, middleware            the listeners get it
//
// What a client gets:
//
//	namespace, adapter              the library's adapter of a namespace
//	index, select                   who is in which room, and who is meant
//	message, encode, json, codec    a packet, encoded and framed once
//	broadcast, deliver, group       the message, queued on many connections, which are paced; shared compression
//	recovery                        connection state recovery: what a client missed, kept for a while
//	emitter                         listeners of an adapter
