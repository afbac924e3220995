package eio

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/architus/guildcast/engine/internal/compact"
	"github.com/architus/guildcast/engine/internal/ws"
)

// Server is an Engine.IO server. It is an http.Handler for the requests of its path.
type Server struct {
	// Static.
	cfg      Config
	accept   func(*Handshake) (Handler, *Conn, error)
	epoch    time.Time
	limits   [2]ws.Limits // without and with permessage-deflate
	compress *compressor  // nil: permessage-deflate is off
	gzip     *compressor  // nil: polling answers are not compressed
	frames   frames
	beats    *heartbeats
	flushers []*flusher
	pollers  []*poller // none: every WebSocket has a reader

	closeTimeout time.Duration // wsCloseTimeout, less in tests

	// Memory that is used again.
	chunks   chunks
	buffers  buffers
	inbounds sync.Pool // of *inbound
	writers  sync.Pool // of *writer
	bodies   sync.Pool // of *bytes.Buffer

	next     atomic.Uint32 // deals out flushers and pollers
	observed atomic.Uint32 // Events
	budget   atomic.Int64  // queued bytes of connections that have more than budgetStep
	lag      atomic.Int64  // queued bytes from which a connection is Lagging; see share
	upgrades atomic.Uint64
	slow     atomic.Uint64

	loops sync.WaitGroup // flushers, poller and heartbeats
	work  sync.WaitGroup // requests, sessions, WebSockets, and the goroutines that serve them

	mu     sync.RWMutex               // guards what follows
	conns  compact.Map[string, *Conn] // nil: the id is reserved
	closed bool
}

// frames that every session uses.
type frames struct {
	ping, pong, noop, close, probe *Frame
	wsClose                        *Frame // a close frame without a code, as Node.js sends it
}

// NewServer returns a running Server. Call Shutdown to end it. accept is called for every new session, and returns its
// owner and the zero Conn in that. An error refuses the session with code 3.
func NewServer(cfg Config, accept func(*Handshake) (Handler, *Conn, error)) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("engine.io server: %w", err)
	}
	s := &Server{
		cfg:      cfg,
		accept:   accept,
		epoch:    time.Now(),
		compress: newCompressor(cfg.Deflate),
		gzip:     newCompressor(cfg.HTTPCompression),

		closeTimeout: wsCloseTimeout,

		frames: frames{
			ping:    plainPacket(PacketPing, ""),
			pong:    plainPacket(PacketPong, ""),
			noop:    plainPacket(PacketNoop, ""),
			close:   plainPacket(PacketClose, ""),
			probe:   plainPacket(PacketPong, probeData),
			wsClose: rawFrame(ws.AppendClose(nil, ws.CodeNone, "")),
		},
	}
	s.limits[0] = ws.Limits{Message: cfg.MaxHTTPBufferSize, Fragments: cfg.MaxFragments}
	s.limits[1] = s.limits[0]
	s.limits[1].Inflate = new(ws.Inflater)
	if err := s.openPollers(); err != nil {
		return nil, fmt.Errorf("engine.io server: %w", err)
	}
	s.start()
	return s, nil
}

// openPollers makes a poller per processor, so that all of them read.
func (s *Server) openPollers() error {
	for !s.cfg.DisablePoller && len(s.pollers) < runtime.GOMAXPROCS(0) {
		p, err := newPoller(s)
		if err != nil {
			for _, p := range s.pollers {
				p.stop()
			}
			return err
		}
		if p == nil { // not on this system
			return nil
		}
		s.pollers = append(s.pollers, p)
	}
	return nil
}

func (s *Server) start() {
	s.beats = newHeartbeats(s)
	s.loops.Go(s.beats.run)
	for range s.cfg.Flushers {
		f := newFlusher(s)
		s.flushers = append(s.flushers, f)
		s.loops.Go(f.run)
	}
}

// now returns the time since the server's epoch.
func (s *Server) now() time.Duration { return time.Since(s.epoch) }

// Observe sets the per-packet hooks for all connections.
func (s *Server) Observe(e Events) { s.observed.Store(uint32(e)) }

func (s *Server) serves(transport string) bool { return slices.Contains(s.cfg.Transports, transport) }

// ServeHTTP serves one request. Headers that are already set in w become part of the answer, even of the 101 of a
// WebSocket.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.Limit(w, r)
	if !s.enter() {
		http.Error(w, ErrShutdown.Error(), http.StatusServiceUnavailable)
		return
	}
	defer s.work.Done()
	q := r.URL.Query() // malformed parameters are left out
	transport := q.Get("transport")
	upgrade := ws.IsUpgrade(r)
	if !s.serves(transport) {
		s.refuse(w, r, CodeUnknownTransport, map[string]any{"transport": transport})
		return
	}
	if upgrade && transport != WebSocket {
		s.refuse(w, r, CodeBadRequest, map[string]any{"name": "TRANSPORT_MISMATCH", "transport": transport})
		return
	}
	if sid := q.Get("sid"); sid != "" {
		s.serveSession(w, r, q, sid, upgrade)
		return
	}
	switch {
	case r.Method != http.MethodGet:
		s.refuse(w, r, CodeBadHandshakeMethod, map[string]any{"method": r.Method})
	case transport == WebSocket && !upgrade:
		s.refuse(w, r, CodeBadRequest, map[string]any{"name": "TRANSPORT_HANDSHAKE_ERROR"})
	default:
		s.serveHandshake(w, r, q, upgrade)
	}
}

// Has reports whether the server has a session with this id.
func (s *Server) Has(sid string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, ok := s.conns.Get(sid)
	return ok
}

// serveSession serves a request that names a session, which may not exist.
func (s *Server) serveSession(w http.ResponseWriter, r *http.Request, q url.Values, sid string, upgrade bool) {
	s.mu.RLock()
	c, _ := s.conns.Get(sid)
	s.mu.RUnlock()
	if c == nil {
		if !s.forward(w, r, sid) {
			s.refuse(w, r, CodeUnknownSID, map[string]any{"sid": sid})
		}
		return
	}
	if current := c.Transport(); !upgrade && current != q.Get("transport") {
		s.refuseTransport(w, r, q.Get("transport"), current)
		return
	}
	if p := protocolOf(q); p != c.Protocol() {
		s.refuse(w, r, CodeBadRequest, map[string]any{
			"name": "PROTOCOL_MISMATCH", "protocol": p, "previousProtocol": c.Protocol()})
		return
	}
	switch {
	case upgrade:
		s.serveUpgrade(c, w, r)
	case c.Transport() == WebSocket:
		s.refuseTransport(w, r, WebSocket, WebSocket)
	case r.Method == http.MethodGet:
		c.servePoll(w, r)
	case r.Method == http.MethodPost:
		c.servePost(w, r)
	default:
		w.Header().Set("Allow", "GET, POST")
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

// answerHeaders completes the headers of an answer to a polling client.
func (s *Server) answerHeaders(h http.Header, r *http.Request) {
	if isOldIE(r) {
		h.Set("X-Xss-Protection", "0")
	}
	h.Set("Cache-Control", "no-store")
	if hook := s.cfg.Hooks.Headers; hook != nil {
		hook(h, r)
	}
}

// refuse refuses a request with the code's message.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, code Code, context map[string]any) {
	s.refuseWith(w, r, &ConnectionError{Request: r, Code: code, Message: code.String(), Context: context})
}

func (s *Server) refuseTransport(w http.ResponseWriter, r *http.Request, transport, current string) {
	s.refuse(w, r, CodeBadRequest, map[string]any{
		"name": "TRANSPORT_MISMATCH", "transport": transport, "previousTransport": current})
}

func (s *Server) refuseWith(w http.ResponseWriter, r *http.Request, e *ConnectionError) {
	s.report(e)
	if ws.IsUpgrade(r) { // as Node answers what asked for a WebSocket
		w.Header().Set("Connection", "close")
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Content-Length", strconv.Itoa(len(e.Message)))
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(e.Message))
		return
	}
	status := http.StatusBadRequest
	if e.Code == CodeForbidden {
		status = http.StatusForbidden
	}
	body, _ := json.Marshal(struct { // always encodes
		Code    Code   `json:"code"`
		Message string `json:"message"`
	}{e.Code, e.Message})
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// report calls the hook for a refused request.
func (s *Server) report(e *ConnectionError) {
	if hook := s.cfg.Hooks.ConnectionError; hook != nil {
		hook(e)
	}
}

// enter counts a request in s.work. It returns false during a shutdown.
func (s *Server) enter() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !s.closed {
		s.work.Add(1)
	}
	return !s.closed
}

// reserve reserves the id for a session that is about to be made. The session counts in s.work from now on.
func (s *Server) reserve(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrShutdown
	}
	if _, taken := s.conns.Get(id); taken {
		return ErrDuplicateID
	}
	s.conns.Set(id, nil)
	s.shareLocked()
	s.work.Add(1)
	return nil
}

// publish makes a session known under the id that it has reserved.
func (s *Server) publish(c *Conn) {
	s.mu.Lock()
	s.conns.Set(c.id, c)
	s.mu.Unlock()
}

// forget frees the id of a session.
func (s *Server) forget(id string) {
	s.mu.Lock()
	s.conns.Delete(id)
	s.shareLocked()
	s.mu.Unlock()
}

// shareLocked sets the number of queued bytes from which senders wait for a connection: QueueSoft, or less if there are
// many connections, so that all healthy ones together use at most half of the budget. The other half is for those that
// have stopped reading. They exceed QueueSoft, and are cut when the budget is spent.
func (s *Server) shareLocked() {
	share := s.cfg.QueueBudget / 2 / max(1, s.conns.Len())
	s.lag.Store(int64(min(s.cfg.QueueSoft, max(share, budgetStep))))
}

func (s *Server) isClosed() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.closed
}

// sessions returns the sessions that exist now.
func (s *Server) sessions() []*Conn {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]*Conn, 0, s.conns.Len())
	for _, c := range s.conns.All {
		if c != nil {
			all = append(all, c)
		}
	}
	return all
}

// Close closes every session as Conn.Close does, and goes on serving.
func (s *Server) Close(discard bool) {
	for _, c := range s.sessions() {
		c.Close(discard)
	}
}

// Shutdown refuses all requests with 503, closes the open sessions, and waits until they are closed, their handlers
// have returned and the server's goroutines have ended. If ctx ends first it returns ctx's error, and goes on in the
// background.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	s.mu.Unlock()
	s.Close(true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.work.Wait()
		if first {
			s.stop()
		}
		s.loops.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return errors.Join(errors.New("engine.io server: shutdown"), ctx.Err())
	}
}

// stop ends the goroutines that serve all connections.
func (s *Server) stop() {
	close(s.beats.stop)
	for _, f := range s.flushers {
		f.stop()
	}
	for _, p := range s.pollers {
		p.stop()
	}
}

// Stats are counters of a Server.
type Stats struct {
	Polling, WebSocket int    // sessions open now, by transport
	Upgrades           uint64 // sessions that became a WebSocket
	SlowConsumers      uint64 // connections that were cut because their peers read too little
	QueuedBytes        int64  // of all connections that lag (each counted in steps of 64 KiB)
}

// Stats returns a snapshot. It visits every session.
func (s *Server) Stats() Stats {
	st := Stats{Upgrades: s.upgrades.Load(), SlowConsumers: s.slow.Load(), QueuedBytes: s.budget.Load()}
	for _, c := range s.sessions() {
		if c.Transport() == WebSocket {
			st.WebSocket++
		} else {
			st.Polling++
		}
	}
	return st
}
