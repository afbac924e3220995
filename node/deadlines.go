package node

import (
	"net/http"
	"time"
)

const (
	// headerTimeout bounds the reading of a request's header.
	headerTimeout = 10 * time.Second

	// pathTimeout bounds the body of a request and its answer, each from the end of the header, on every path but the
	// clients': a WebSocket or a waiting poll takes longer.
	pathTimeout = 30 * time.Second
)

// timed serves next within limit: a request whose body comes slower, or whose answer is taken slower, loses its
// connection.
func timed(next http.Handler, limit time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control, deadline := http.NewResponseController(w), time.Now().Add(limit)
		// An error means a writer without deadlines, as in tests; there is no connection to protect.
		_ = control.SetReadDeadline(deadline)
		_ = control.SetWriteDeadline(deadline)
		next.ServeHTTP(w, r)
	})
}
