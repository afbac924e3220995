package eio

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/architus/guildcast/engine/internal/payload"
	"github.com/architus/guildcast/engine/internal/ws"
)

// serveHandshake opens a session, and serves the request that asked for it.
func (s *Server) serveHandshake(w http.ResponseWriter, r *http.Request, q url.Values, upgrade bool) {
	h := &Handshake{Protocol: protocolOf(q), Transport: q.Get("transport"), Request: r}
	if allow := s.cfg.AllowRequest; allow != nil {
		if err := allow(r); err != nil {
			s.refuseWith(w, r, &ConnectionError{Request: r, Code: CodeForbidden, Message: err.Error(),
				Context: map[string]any{"message": err.Error()}})
			return
		}
	}
	if h.Protocol == 3 && !s.cfg.AllowEIO3 {
		s.refuse(w, r, CodeUnsupportedProtocol, map[string]any{"protocol": h.Protocol})
		return
	}
	if !s.admit(w, h) {
		return
	}
	var err error
	if h.ID, err = s.newID(r); err != nil {
		h.release()
		s.refuse(w, r, CodeBadRequest, map[string]any{"name": "ID_GENERATION_ERROR", "error": err})
		return
	}
	if upgrade {
		s.openWithWebSocket(w, r, h)
	} else {
		s.openWithPolling(w, r, q, h)
	}
}

// admit asks Config.Admit about a session, and refuses it if that says so.
func (s *Server) admit(w http.ResponseWriter, h *Handshake) bool {
	if s.cfg.Admit == nil {
		h.release = func() {}
		return true
	}
	release, retryAfter := s.cfg.Admit(h.Request)
	if release == nil {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(retryAfter.Seconds()))))
		w.Header().Set("Connection", "close") // a descriptor for others
		http.Error(w, "too many connections", http.StatusServiceUnavailable)
		return false
	}
	h.release = release
	return true
}

// openWithPolling opens a session whose handshake is a poll.
func (s *Server) openWithPolling(w http.ResponseWriter, r *http.Request, q url.Values, h *Handshake) {
	c, err := s.newConn(h)
	if err != nil {
		s.refuse(w, r, CodeBadRequest, map[string]any{"name": "TRANSPORT_HANDSHAKE_ERROR", "error": err})
		return
	}
	wt := newWaiter()
	c.poll = &polling{base64: q.Get("b64") != "", waiter: wt}
	if q.Has("j") {
		c.poll.jsonp = payload.JSONPHead(q.Get("j"))
	}
	s.open(c, []*Frame{s.openPacket(h)})
	if s.cfg.Cookie != nil {
		cookie := *s.cfg.Cookie
		cookie.Value = h.ID
		w.Header().Add("Set-Cookie", cookie.String())
	}
	if hook := s.cfg.Hooks.InitialHeaders; hook != nil {
		hook(w.Header(), r)
	}
	c.answerPoll(wt, w, r)
}

// openWithWebSocket opens a session that begins as a WebSocket. The open packet follows the 101 answer after answerGap.
func (s *Server) openWithWebSocket(w http.ResponseWriter, r *http.Request, h *Handshake) {
	o, ok := s.openWebSocket(w, r)
	if !ok {
		h.release()
		return
	}
	c, err := s.newConn(h)
	if err != nil {
		s.report(&ConnectionError{Request: r, Code: CodeBadRequest, Message: CodeBadRequest.String(),
			Context: map[string]any{"name": "TRANSPORT_HANDSHAKE_ERROR", "error": err}})
		_ = o.nc.SetWriteDeadline(time.Now().Add(s.cfg.StallTimeout))
		_, _ = o.nc.Write(upgradeRefusal(CodeBadRequest.String()))
		_ = o.nc.Close()
		return
	}
	wc := newWSConn(c, o)
	wc.live = true
	c.ws = wc
	wc.preface(o.answer)
	first := []*Frame{s.openPacket(h)}
	if s.cfg.BareMessages {
		first = nil
	}
	s.open(c, first)
	s.startReading(wc, o.rest)
}

// newConn asks accept for the owner of a new session, and prepares its Conn. The session counts in s.work until it has
// closed. Without one, the handshake is released.
func (s *Server) newConn(h *Handshake) (*Conn, error) {
	if err := s.reserve(h.ID); err != nil {
		h.release()
		return nil, err
	}
	handler, c, err := s.accept(h)
	if err != nil {
		s.forget(h.ID)
		h.release()
		s.work.Done()
		return nil, err
	}
	c.srv, c.handler, c.id, c.protocol, c.release = s, handler, h.ID, uint8(h.Protocol), h.release
	return c, nil
}

// open opens the session: it queues the first frames, starts the heartbeat, and calls the owner's OnOpen.
func (s *Server) open(c *Conn, first []*Frame) {
	if f := s.cfg.InitialPacket; f != nil {
		first = append(first, f)
	}
	c.in.Lock()
	defer c.in.Unlock() // OnClose waits for OnOpen
	c.state.Store(uint32(Open))
	s.publish(c)
	s.beats.start(c)
	c.Send(first...)
	c.handler.OnOpen(c)
	if s.isClosed() {
		c.finish(ReasonForcedClose, ErrShutdown) // Shutdown may have run before the session was open
	}
}

// openPacket returns the open packet of a session.
func (s *Server) openPacket(h *Handshake) *Frame {
	upgrades := []string{}
	if h.Transport == Polling && s.serves(WebSocket) && !s.cfg.DisableUpgrades {
		upgrades = append(upgrades, WebSocket)
	}
	data, _ := json.Marshal(struct { // strings and numbers always encode
		SID          string   `json:"sid"`
		Upgrades     []string `json:"upgrades"`
		PingInterval int64    `json:"pingInterval"`
		PingTimeout  int64    `json:"pingTimeout"`
		MaxPayload   int      `json:"maxPayload"`
	}{h.ID, upgrades, s.cfg.PingInterval.Milliseconds(), s.cfg.PingTimeout.Milliseconds(), s.cfg.MaxHTTPBufferSize})
	f := textPacket(PacketOpen, data)
	f.plain = true
	return f
}

// opening is what the opening handshake of a WebSocket has made.
type opening struct {
	nc       net.Conn
	rest     []byte // what the peer has sent after its request
	answer   []byte // the 101 answer, to be sent
	compress *compressor
	shares   bool // see wsConn
}

// openWebSocket does the opening handshake of RFC 6455, 4.2, but does not send the answer. It returns false if it has
// refused the request.
func (s *Server) openWebSocket(w http.ResponseWriter, r *http.Request) (o opening, ok bool) {
	accept, status := ws.Accept(r)
	if status != 0 {
		if status == http.StatusUpgradeRequired {
			w.Header().Set("Sec-Websocket-Version", "13")
		}
		http.Error(w, http.StatusText(status), status)
		return o, false
	}
	h := w.Header()
	if protocol := ws.Subprotocol(r); protocol != "" {
		h.Set("Sec-Websocket-Protocol", protocol)
	}
	if s.compress != nil {
		if answer, kept := ws.NegotiateDeflate(r, s.cfg.ContextTakeover); answer != "" {
			h.Set("Sec-Websocket-Extensions", answer)
			o.compress, o.shares = s.compress, kept
		}
	}
	if hook := s.cfg.Hooks.InitialHeaders; hook != nil && r.URL.Query().Get("sid") == "" {
		hook(h, r)
	}
	if hook := s.cfg.Hooks.Headers; hook != nil {
		hook(h, r)
	}
	var answer bytes.Buffer
	fmt.Fprintf(&answer, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Accept: %s\r\n", accept)
	_ = h.Write(&answer) // it checks names and values; a buffer takes everything
	answer.WriteString("\r\n")
	o.answer = answer.Bytes()

	nc, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		s.cfg.Logger.Error("websocket is not possible on this HTTP server", "err", err)
		http.Error(w, "websocket is not possible on this connection", http.StatusNotImplemented)
		return o, false
	}
	_ = nc.SetDeadline(time.Time{})
	o.nc = nc
	if n := rw.Reader.Buffered(); n > 0 {
		o.rest = make([]byte, n)
		_, _ = io.ReadFull(rw.Reader, o.rest) // it is all there
	}
	return o, true
}

// startReading starts to read from w, until w ends. rest has been read already.
func (s *Server) startReading(w *wsConn, rest []byte) {
	w.conn.in.Lock()
	in := s.newInbound()
	in.buf, in.w = rest, len(rest)
	err := w.consume(in)
	goOn := err == nil || keepReading(err)
	if goOn && w.poller != nil {
		w.keep(in)
		if pollErr := w.poller.add(w); pollErr != nil {
			err = pollErr
		}
	}
	w.conn.in.Unlock()
	if goOn && w.poller == nil && w.startReader() {
		go w.readLoop(in)
	}
	if err != nil {
		w.ended(err)
	}
}

// protocolOf returns the revision that a request asks for, which is 3 if it names none, as in Node.js.
func protocolOf(q url.Values) int {
	if q.Get("EIO") == "4" {
		return 4
	}
	return 3
}

// upgradeRefusal returns the answer of Node.js to a refused WebSocket handshake.
func upgradeRefusal(message string) []byte {
	return fmt.Appendf(nil, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-type: text/html\r\n"+
		"Content-Length: %d\r\n\r\n%s", len(message), message)
}

// isOldIE reports whether a browser shows warnings about cross-site scripting without reason.
func isOldIE(r *http.Request) bool {
	ua := r.UserAgent()
	return strings.Contains(ua, ";MSIE") || strings.Contains(ua, "Trident/")
}
