package eio

import (
	"net/http"
	"time"
)

// Limit bounds the time of a request that is neither a WebSocket nor a waiting poll: what is left of its body has to
// come within Config.StallTimeout, and its answer has to be taken within that of a heartbeat. When the time is up, the
// connection is closed. net/http itself waits without an end, for a body that nobody wants too: it drains that behind
// the handler. It sets its own deadlines for the next request, so that nothing is to be undone. Whoever needs more time
// takes it: see readBody and answerPoll. ServeHTTP calls Limit.
func (s *Server) Limit(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	now := time.Now()
	if r.ContentLength != 0 { // without a body, net/http only looks whether the client is still there
		_ = rc.SetReadDeadline(now.Add(s.cfg.StallTimeout)) // if it is supported
	}
	_ = rc.SetWriteDeadline(now.Add(s.beatTime()))
}

// beatTime is how long a client may be silent, and so how long a body or an answer may take.
func (s *Server) beatTime() time.Duration { return s.cfg.PingInterval + s.cfg.PingTimeout }
