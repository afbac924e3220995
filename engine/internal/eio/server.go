package eio

import (
	"context"
	"net/http"
)

// Server is an Engine.IO server: an http.Handler for the requests of its path.
type Server struct{}

// NewServer returns a running Server; Shutdown ends it. accept is called for every new session and returns its owner
// and the zero Conn in it; an error refuses the session (code 3).
func NewServer(cfg Config, accept func(*Handshake) (Handler, *Conn, error)) (*Server, error) {
	return &Server{}, nil
}

// ServeHTTP serves one request. Headers that are already set in w are part of every answer, the 101 of a WebSocket too.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {}

// Observe sets the per-packet hooks that are called for all connections.
func (s *Server) Observe(e Events) {}

// Close closes every session as Conn.Close does, and goes on serving.
func (s *Server) Close(discard bool) {}

// Shutdown refuses new sessions (503), closes the open ones, and waits until all of them have been closed, their
// handlers have returned, and the server's goroutines have ended. When ctx ends first, connections are cut.
func (s *Server) Shutdown(ctx context.Context) error { return nil }

// Stats of a Server.
type Stats struct {
	Polling, WebSocket int    // sessions open now, by transport
	Upgrades           uint64 // sessions that became a WebSocket
	SlowConsumers      uint64 // connections that were cut because they took too little
	QueuedBytes        int64  // of all connections that lag (each counted in steps of 64 KiB)
}

// Stats returns a snapshot.
func (s *Server) Stats() Stats { return Stats{} }
