// Package eio is an Engine.IO server, revisions 4 and 3 of the protocol, over WebSocket and HTTP long-polling.
//
// A Server accepts sessions and tells each one's Handler what arrives. What goes out is a Frame: one message, encoded
// once, shared by all the connections that it is queued on. The queue of a connection belongs to its session, not to
// its transport, so an upgrade moves nothing. Connections with something to send are served by a few flushers, which
// coalesce what is queued into one write; an idle connection holds no buffer, no timer and (on Linux, without TLS) no
// goroutine.
//
// Protocol: https://github.com/socketio/engine.io-protocol (revision 4 on main, revision 3 on branch v3), RFC 6455 and
// RFC 7692.
package eio
