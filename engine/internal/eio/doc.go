// Package eio is an Engine.IO server, revisions 4 and 3 of the protocol, over WebSocket and HTTP long-polling.
//
// A Server accepts sessions and passes what arrives to each session's Handler. What goes out is a Frame: one message,
// encoded once, shared by all connections on which it is queued. The queue belongs to the session, not to its
// transport, so an upgrade moves nothing. A few flushers serve the connections that have something to send, and
// coalesce queued frames into one write. An idle connection holds no buffer, no timer and (on Linux, without TLS) no
// goroutine.
//
// Protocol: https://github.com/socketio/engine.io-protocol (revision 4 on main, revision 3 on branch v3), RFC 6455 and
// RFC 7692.
package eio
