package eio

import (
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// NodeIDSize is the length of Config.NodeID. 14 of the 20 characters of a session's id are random then: 84 bits, four
// less than Node.js has.
const NodeIDSize = 6

// sessionIDSize is the length of a session's id.
const sessionIDSize = 20

var base64url = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

func validNodeID(id string) bool { return len(id) == NodeIDSize && base64url.MatchString(id) }

// newID makes the id of a session.
func (s *Server) newID(r *http.Request) (string, error) {
	id, err := s.cfg.GenerateID(r)
	if err == nil && s.cfg.NodeID != "" {
		id = s.cfg.NodeID + id[min(NodeIDSize, len(id)):]
	}
	return id, err
}

// Issued reports whether only this server can have made the id of a session.
func (s *Server) Issued(sid string) bool {
	return s.cfg.NodeID != "" && strings.HasPrefix(sid, s.cfg.NodeID)
}

// Forward passes a request on to the server that has its session. It returns false if there is none that it knows of,
// or none that answers; then it has answered nothing.
func (s *Server) Forward(w http.ResponseWriter, r *http.Request) bool {
	if !s.enter() {
		return false
	}
	defer s.work.Done()
	return s.forward(w, r, r.URL.Query().Get("sid"))
}

// Release answers the poll of a session that waits, if there is one, with nothing: the client polls again.
func (s *Server) Release(sid string) {
	s.mu.RLock()
	c, _ := s.conns.Get(sid)
	s.mu.RUnlock()
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.poll != nil && c.poll.waiter != nil {
		c.poll.waiter.wake() // with a noop, if there is nothing else
	}
}

// elsewhere returns the NodeID of the server that may have a session which is not here, or "".
func (s *Server) elsewhere(sid string) string {
	if s.cfg.Forward == nil || s.Issued(sid) || len(sid) != sessionIDSize || !base64url.MatchString(sid) {
		return ""
	}
	return sid[:NodeIDSize]
}

// forward is Forward for a request that has been counted. The request is bounded like one of our own: its body in size
// and time, and each piece of its answer in time.
func (s *Server) forward(w http.ResponseWriter, r *http.Request, sid string) bool {
	node := s.elsewhere(sid)
	if node == "" {
		return false
	}
	rc := http.NewResponseController(w)
	_ = rc.SetWriteDeadline(time.Time{}) // it may be a poll that waits
	if r.ContentLength != 0 {
		_ = rc.SetReadDeadline(time.Now().Add(s.beatTime()))
	}
	if r.Body != http.NoBody { // of which the transport knows that there is nothing to send
		r.Body = &forwardedBody{http.MaxBytesReader(w, r.Body, int64(s.cfg.MaxHTTPBufferSize)), rc}
	}
	err := s.cfg.Forward(&pacedWriter{w, rc, s}, r, node)
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return true
	}
	if err != nil {
		_ = rc.SetWriteDeadline(time.Now().Add(s.beatTime())) // for the refusal
	}
	return err == nil
}

// forwardedBody takes the deadline away when the body has been read: the owner of the session may take its time.
type forwardedBody struct {
	io.ReadCloser
	rc *http.ResponseController
}

func (b *forwardedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		_ = b.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}

// pacedWriter is a ResponseWriter of which each piece has to be taken in the time of a heartbeat.
type pacedWriter struct {
	http.ResponseWriter
	rc  *http.ResponseController
	srv *Server
}

func (w *pacedWriter) Write(p []byte) (int, error) {
	_ = w.rc.SetWriteDeadline(time.Now().Add(w.srv.beatTime())) // if it is supported
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *pacedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
