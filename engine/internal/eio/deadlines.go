package eio

import (
	"net/http"
	"time"
)

// Limit bounds the time of a request that is neither a WebSocket nor a waiting poll. The rest of its body must arrive
// within Config.StallTimeout, and the peer must read the answer within the time of a heartbeat; otherwise the
// connection is closed. net/http by itself would wait for ever, even for a body that nobody wants, which it drains
// after the handler. It resets the deadlines for the next request. Code that needs more time extends them: see readBody
// and answerPoll. ServeHTTP calls Limit.
func (s *Server) Limit(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	now := time.Now()
	if r.ContentLength != 0 { // without a body net/http reads only to notice that the client leaves
		_ = rc.SetReadDeadline(now.Add(s.cfg.StallTimeout)) // if it is supported
	}
	_ = rc.SetWriteDeadline(now.Add(s.beatTime()))
}

// beatTime returns how long a client may be silent, which also bounds the time of a body or an answer.
func (s *Server) beatTime() time.Duration { return s.cfg.PingInterval + s.cfg.PingTimeout }
