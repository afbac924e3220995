package eio

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"runtime"
	"time"

	"github.com/architus/guildcast/engine/internal/payload"
)

// servePost handles the packets that a client POSTs.
func (c *Conn) servePost(w http.ResponseWriter, r *http.Request) {
	if !c.beginPost(w, r) {
		return
	}
	status, body := c.takePost(w, r)
	c.endPost() // before the answer, behind which the client may POST again
	switch status {
	case http.StatusOK:
		// text/html and not text/plain: some browsers would offer the answer as a download
		w.Header().Set("Content-Type", "text/html")
		c.srv.answerHeaders(w.Header(), r)
		_ = c.srv.writeBody(w, []byte(body)) // a client that is gone will be noticed
	case http.StatusRequestEntityTooLarge:
		w.WriteHeader(status)
	default:
		c.srv.refuse(w, r, CodeBadRequest, map[string]any{"name": body})
	}
}

// takePost handles the body of a POST, and returns the status and text of the answer.
func (c *Conn) takePost(w http.ResponseWriter, r *http.Request) (status int, answer string) {
	binary := r.Header.Get("Content-Type") == "application/octet-stream"
	if binary && c.protocol == 4 {
		c.finish(ReasonTransportError, errContent)
		return http.StatusBadRequest, "INVALID_CONTENT"
	}
	body := c.srv.newBody()
	defer c.srv.putBody(body)
	held := holding{c: c}
	defer held.end()
	err := c.readBody(w, r, body, &held)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge), errors.Is(err, errUnwanted):
		return http.StatusRequestEntityTooLarge, ""
	case err != nil:
		c.finish(ReasonTransportError, errPostBroken)
		return http.StatusBadRequest, "INCOMPLETE"
	}
	if err := c.payloadIn(body.Bytes(), binary, &held); err != nil {
		c.finish(ReasonParseError, err)
		return http.StatusBadRequest, "PARSE_ERROR"
	}
	return http.StatusOK, "ok"
}

// beginPost makes r the POST that is being handled. It returns false if it has refused r.
func (c *Conn) beginPost(w http.ResponseWriter, r *http.Request) bool {
	c.mu.Lock()
	switch {
	case c.State() == Closed:
		c.mu.Unlock()
		c.srv.refuse(w, r, CodeUnknownSID, map[string]any{"sid": c.id})
	case c.ws != nil:
		c.mu.Unlock()
		c.srv.refuseTransport(w, r, Polling, WebSocket)
	case c.poll.posting:
		c.mu.Unlock()
		c.finish(ReasonTransportError, errOverlapPost)
		c.srv.refuse(w, r, CodeBadRequest, map[string]any{"name": "OVERLAP"})
	default:
		c.poll.posting = true
		c.mu.Unlock()
		return true
	}
	return false
}

func (c *Conn) endPost() {
	c.mu.Lock()
	c.poll.posting = false
	c.mu.Unlock()
}

// readBody reads a body of limited size into buf, in limited time, while the session is open.
func (c *Conn) readBody(w http.ResponseWriter, r *http.Request, buf *bytes.Buffer, held *holding) error {
	s := c.srv
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(s.beatTime())) // if it is supported
	if !c.setBody(rc) {
		return errPostBroken
	}
	body := http.MaxBytesReader(w, r.Body, int64(s.cfg.MaxHTTPBufferSize))
	_, err := buf.ReadFrom(&countedReader{body, buf, held})
	c.setBody(nil)
	if err == nil { // else net/http drains what is left of the body, by the same deadline
		_ = rc.SetReadDeadline(time.Time{})
		_ = rc.SetWriteDeadline(time.Time{}) // the handlers may take their time, and writeBody sets it
	}
	return err
}

// bodyPiece is how many bytes of a body are read before others have their turn.
const bodyPiece = 64 << 10

// countedReader asks the owner for the memory of the buffer before it reads into it. It reads large bodies in pieces.
type countedReader struct {
	io.Reader
	buf  *bytes.Buffer
	held *holding
}

func (r *countedReader) Read(p []byte) (int, error) {
	if err := r.held.set(r.buf.Cap()); err != nil {
		return 0, err
	}
	if r.buf.Len() >= bodyPiece {
		runtime.Gosched()
	}
	return r.Reader.Read(p[:min(len(p), bodyPiece)])
}

// holding is memory for received data, for which the session's owner was asked.
type holding struct {
	c *Conn
	n int // bytes
}

// errUnwanted ends the reading of a body for which the session's owner has no room.
var errUnwanted = errors.New("there is no room for the body")

// set asks for memory until n bytes can be held.
func (h *holding) set(n int) error {
	if n <= freeHeld || n <= h.n {
		return nil
	}
	if h.c.State() == Closed || h.c.handler.OnReceive(h.c, n-h.n) != nil {
		return errUnwanted
	}
	h.n = n
	return nil
}

// end gives back what is held.
func (h *holding) end() {
	if h.n > 0 {
		_ = h.c.handler.OnReceive(h.c, -h.n) // less is never refused
	}
}

// setBody sets the controller through which to end the reading of a body, or nil when it is over. It returns false if
// the session has ended.
func (c *Conn) setBody(rc *http.ResponseController) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.poll.body = rc
	return c.State() != Closed
}

// maxPooledBody is the size in bytes of the largest buffer that is kept for the next body.
const maxPooledBody = 64 << 10

func (s *Server) newBody() *bytes.Buffer {
	if b, _ := s.bodies.Get().(*bytes.Buffer); b != nil {
		return b
	}
	return new(bytes.Buffer)
}

func (s *Server) putBody(b *bytes.Buffer) {
	if b.Cap() <= maxPooledBody {
		b.Reset()
		s.bodies.Put(b)
	}
}

// payloadIn handles a payload, whose memory held accounts for.
func (c *Conn) payloadIn(body []byte, binary bool, held *holding) error {
	c.in.Lock()
	defer c.in.Unlock()
	decode := payload.Decode4
	if c.protocol == 3 {
		decode = payload.Decode3
		if binary {
			decode = payload.DecodeBinary3
		}
	}
	if c.poll.jsonp != "" {
		err := held.set(held.n + len(body)) // it is decoded beside body
		if err != nil {
			return err
		}
		if body, err = payload.DecodeJSONP(body); err != nil {
			return err
		}
	}
	var bad error
	err := decode(body, c.srv.cfg.MaxPayloadPackets, func(p payload.Packet) bool {
		var more bool
		more, bad = c.polledIn(p, !binary)
		return more && c.State() == Open
	})
	return errors.Join(err, bad)
}

// polledIn handles one packet of a payload. It returns more false if no packet may follow. decoded says that binary
// packets have memory of their own.
func (c *Conn) polledIn(p payload.Packet, decoded bool) (more bool, err error) {
	if p.Binary {
		c.handle(Packet{Type: PacketMessage, Binary: true, Own: decoded, Data: p.Data})
		return true, nil
	}
	packet, ok := parseText(p.Data)
	switch {
	case !ok:
		return false, payload.ErrMalformed
	case packet.Type == PacketClose:
		c.leave()
		return false, nil
	}
	c.handle(packet)
	return true, nil
}

// leave handles a close packet in a POST: the poll that waits, or comes within leaveTimeout, is answered with a noop.
func (c *Conn) leave() {
	c.mu.Lock()
	if c.State() != Open || c.poll.left {
		c.mu.Unlock()
		return
	}
	c.poll.left = true
	waiter := c.poll.waiter
	if waiter == nil {
		c.poll.after(c, leaveTimeout, ReasonTransportClose)
		c.mu.Unlock()
		return
	}
	waiter.last = c.srv.frames.noop
	c.mu.Unlock()
	c.finish(ReasonTransportClose, nil)
}
