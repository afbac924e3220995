package engine

import (
	"context"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	eng "github.com/zishang520/engine.io/v2/engine"
	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/engine/internal/eio"
)

// Handler is the http.Handler of one server. It serves Engine.IO requests and, if the server offers them, the browser
// client's files. It answers 404 outside the server's path (the library's option Path, default "/socket.io").
type Handler struct {
	srv   *server
	path  string // prefix of the paths that it serves
	files *clientFiles
}

func newHandler(s *server, own *socket.ServerOptions) *Handler {
	h := &Handler{srv: s, path: s.io.Path()}
	if own.GetRawAddTrailingSlash() == nil || own.AddTrailingSlash() {
		h.path += "/"
	}
	if own.ServeClient() {
		h.files = newClientFiles(s.io.Path(), s.options.ClientFiles)
	}
	return h
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.srv.eio.Limit(w, r)
	file := h.files != nil && h.files.match(r.URL.Path)
	if !file && !strings.HasPrefix(r.URL.Path, h.path) {
		http.NotFound(w, r)
		return
	}
	if len(h.srv.Middlewares()) > 0 && !h.srv.runMiddlewares(w, r) {
		return
	}
	if file {
		h.files.ServeHTTP(w, r)
		return
	}
	// A draining server serves only its own sessions. A proxy that gets 503 tries the next node, which may have the
	// session. A WebSocket to another node would soon be cut, perhaps in the middle of its upgrade, which leaves
	// engine.io-client without a transport until its ping timeout. If it is refused, the client goes on polling.
	if h.srv.draining.Load() && !h.srv.serves(r.URL.Query().Get("sid")) {
		if r.Header.Get("Upgrade") != "" || !h.srv.eio.Forward(w, r) {
			w.Header().Set("Connection", "close")
			http.Error(w, "server is shutting down", http.StatusServiceUnavailable)
		}
		return
	}
	h.srv.eio.ServeHTTP(w, r)
}

// Release answers the poll of a session that waits here, if there is one, so that the client polls again: the server
// that has passed it on is about to end.
func (h *Handler) Release(sid string) { h.srv.eio.Release(sid) }

// serves reports whether a request of a session is nobody else's to answer, if only that there is no such session.
func (s *server) serves(sid string) bool { return s.eio.Has(sid) || s.eio.Issued(sid) }

// runMiddlewares runs the middlewares of io.Engine().Use, such as CORS. It returns false if one has answered the
// request.
func (s *server) runMiddlewares(w http.ResponseWriter, r *http.Request) bool {
	ctx := types.NewHttpContext(w, r)
	defer ctx.Flush() // ends the goroutine that the library started
	result := make(chan error, 1)
	s.ApplyMiddlewares(ctx, func(err error) {
		select {
		case result <- err:
		default: // next was called a second time
		}
	})
	var err error
	select {
	case err = <-result:
	case <-ctx.Done(): // answered, or the client is gone
		select {
		case err = <-result:
		default:
			return false
		}
	}
	if ctx.IsDone() {
		return false
	}
	for name, values := range ctx.ResponseHeaders.All() {
		w.Header()[name] = values
	}
	if w.Header().Get("Access-Control-Allow-Origin") == "false" { // how the library says that the origin is not allowed
		w.Header().Del("Access-Control-Allow-Origin")
	}
	if err == nil {
		return true
	}
	if s.ListenerCount("connection_error") > 0 {
		s.BaseServer.Emit("connection_error", &types.ErrorMessage{
			CodeMessage: eng.BAD_REQUEST, Req: ctx, Context: map[string]any{"name": "MIDDLEWARE_FAILURE"},
		})
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	_, _ = w.Write([]byte(`{"code":3,"message":"Bad request"}`)) // the client has left, if that fails
	return false
}

// Timing of Shutdown.
const (
	drainStep  = 50 * time.Millisecond  // least pause between two batches of closed connections
	drainPause = 200 * time.Millisecond // longest pause: a few connections are no load for other nodes
	drainShare = 0.7                    // share of the time until the deadline in which connections are closed
	holdShare  = 0.85                   // share of it after which those with requests in progress are closed too
	flushShare = 0.95                   // share of it after which queued messages are dropped
	holdLimit  = 4 * time.Second        // the same as holdShare if there is no deadline
	flushLimit = 5 * time.Second        // the same as flushShare if there is no deadline
)

// Shutdown refuses new connections, closes the open ones, waits until they are closed and their handlers have returned,
// and closes the namespaces' adapters. Call it once. If ctx ends first, Shutdown returns ctx's error, and goes on in
// the background.
//
// Clients see the transport close and connect again, to another node. The server's sockets disconnect for the reason
// "server shutting down". If ctx has a deadline, closing is spread over the time left, so that clients do not reach the
// other nodes all at once. A client whose requests are in progress (see Options.Busy) is closed once they have ended.
// Those that still wait after 70 % of the time are closed one after the other until 85 % of it. Queued messages are
// sent before a client is closed, unless it polls and has not come back for 3 s.
func (h *Handler) Shutdown(ctx context.Context) error {
	s := h.srv
	s.draining.Store(true)
	s.drain(ctx)
	err := s.eio.Shutdown(ctx)
	s.io.Close(nil) // the sockets are gone; this closes the adapters
	return err
}

// drain closes the connections bit by bit, and waits for their queues.
func (s *server) drain(ctx context.Context) {
	start := time.Now()
	spread, hold, flush := time.Duration(0), holdLimit, flushLimit
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		spread, hold, flush = share(left, drainShare), share(left, holdShare), share(left, flushShare)
	}
	all := s.conns()
	conns := slices.Clone(all) // that are not closed yet
	steps := max(1, int(spread/drainStep))
	lot := (len(conns) + steps - 1) / steps
	tick := time.NewTicker(min(max(spread/time.Duration(max(1, len(conns))), drainStep), drainPause))
	defer tick.Stop()
	waiting := 0 // for their requests, when the spread was over
	for len(conns) > 0 || time.Since(start) < flush && slices.ContainsFunc(all, (*Conn).unsent) {
		took := time.Since(start)
		conns = closeIdle(conns, lot)
		if took >= spread {
			waiting = max(waiting, len(conns))
			// What is left of them shrinks with the time that is left, to nobody at hold.
			may := float64(waiting) * max(0, float64(hold-took)/float64(hold-spread))
			conns = closeFirst(conns, len(conns)-int(math.Ceil(may)))
		}
		if len(conns) == 0 {
			tick.Reset(drainStep) // what is left is to wait for the last
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func share(d time.Duration, of float64) time.Duration { return time.Duration(float64(d) * of) }

// closeIdle closes up to n connections whose clients wait for no answer, and returns the others.
func closeIdle(conns []*Conn, n int) []*Conn {
	return slices.DeleteFunc(conns, func(c *Conn) bool {
		if n == 0 || c.busy() {
			return false
		}
		n--
		c.eio.Close(false)
		return true
	})
}

// closeFirst closes the first n connections, none if n is negative, and returns the others.
func closeFirst(conns []*Conn, n int) []*Conn {
	n = max(n, 0)
	for _, c := range conns[:n] {
		c.eio.Close(false)
	}
	return conns[n:]
}

// busy reports whether something that the client has sent is not handled or not answered yet.
func (c *Conn) busy() bool {
	if c.eio.State() == eio.Closed {
		return false
	}
	c.inbox.mu.Lock()
	queued := c.inbox.queued > 0
	c.inbox.mu.Unlock()
	return queued || c.srv.options.Busy != nil && c.srv.options.Busy(c)
}

// unsent reports whether a connection that is being closed needs more time: its WebSocket peer has not confirmed the
// end, or its polling client has still to fetch something, and is expected to. (A client that only has to fetch the
// news that the session is closed finds that out without us.)
func (c *Conn) unsent() bool {
	return c.eio.State() != eio.Closed && (c.eio.Transport() == eio.WebSocket || c.eio.Queued() > 0 && c.eio.Returns())
}

// Stats of a server's connections.
type Stats struct {
	Polling, WebSocket int    // sessions open now, by transport
	Upgrades           uint64 // sessions that went from polling to WebSocket
	SlowConsumers      uint64 // clients that were disconnected because they did not read
	Floods             uint64 // clients that were disconnected because too much that they had sent was waiting
	QueuedBytes        int64  // waiting to be sent; a connection counts in steps of 64 KiB
}

// Stats returns a snapshot. It visits every connection.
func (h *Handler) Stats() Stats {
	e := h.srv.eio.Stats()
	return Stats{
		Polling: e.Polling, WebSocket: e.WebSocket, Upgrades: e.Upgrades, SlowConsumers: e.SlowConsumers,
		Floods: h.srv.floods.Load(), QueuedBytes: e.QueuedBytes,
	}
}
