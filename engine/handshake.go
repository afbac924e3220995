package engine

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"weak"

	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/engine/internal/eio"
)

// handshake is what the server keeps of a session's first request. The request itself and the library's view of it
// would pin more than 10 KB per connection, so the view is made on demand, and kept only as long as a caller holds it.
type handshake struct {
	remote    string
	uri       string
	host      string
	proto     string
	tls       *tls.ConnectionState // nil without TLS
	ctx       context.Context      // with values of middlewares; nil if there are none
	webSocket bool                 // the session began as a WebSocket

	mu     sync.Mutex
	header http.Header // Guarded by mu, as all below: replaced when the first socket has a copy.
	query  url.Values
	shared bool // header and query are shared with the socket.Handshake
	view   weak.Pointer[types.HttpContext]
}

// isHopHeader reports whether a header concerns only the WebSocket handshake. Such headers are not kept.
func isHopHeader(name string) bool {
	switch name {
	case "Connection", "Upgrade", "Sec-Websocket-Key", "Sec-Websocket-Version", "Sec-Websocket-Extensions":
		return true
	}
	return false
}

// fill copies what is needed from the request. It does not keep the request.
func (h *handshake) fill(s *eio.Handshake, names *interner) {
	r := s.Request
	h.remote, h.host, h.proto, h.tls = r.RemoteAddr, names.intern(r.Host), names.intern(r.Proto), r.TLS
	h.uri = r.RequestURI
	if !strings.Contains(h.uri, "&t=") { // otherwise the URI is unique: t is a polling client's cache buster
		h.uri = names.intern(h.uri)
	}
	h.webSocket = s.Transport == eio.WebSocket
	if ctx := r.Context(); hasValues(ctx) {
		h.ctx = context.WithoutCancel(ctx)
	}
	n := 0
	for name := range r.Header {
		if !isHopHeader(name) {
			n++
		}
	}
	h.header = make(http.Header, n)
	for name, values := range r.Header {
		if isHopHeader(name) {
			continue
		}
		own := make([]string, len(values))
		for i, v := range values {
			own[i] = names.intern(v)
		}
		h.header[names.intern(name)] = own
	}
	h.query = r.URL.Query()
}

// hasValues reports whether a middleware has derived a context from the one of net/http, which itself holds nothing
// that outlives the request.
func hasValues(ctx context.Context) bool {
	return reflect.TypeOf(ctx).String() != "*context.cancelCtx"
}

// share takes over the copies of headers and query that a socket's Handshake has, and drops its own.
func (h *handshake) share(s *socket.Handshake) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.shared {
		h.header, h.query, h.shared = s.Headers, s.Query, true
	}
}

// context returns the library's view of the request. It returns the same one as long as a caller holds it.
func (h *handshake) context() *types.HttpContext {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.view.Value(); c != nil {
		return c
	}
	r := &http.Request{
		Method: http.MethodGet, Proto: h.proto, ProtoMajor: 1, ProtoMinor: 1, Header: h.header, Host: h.host,
		RemoteAddr: h.remote, RequestURI: h.uri, TLS: h.tls, Body: http.NoBody,
	}
	if major, minor, ok := http.ParseHTTPVersion(h.proto); ok {
		r.ProtoMajor, r.ProtoMinor = major, minor
	}
	var err error
	if r.URL, err = url.ParseRequestURI(h.uri); err != nil {
		r.URL = &url.URL{Path: h.uri}
	}
	if h.ctx != nil {
		r = r.WithContext(h.ctx)
	}
	c := detachedContext(r)
	c.Query().Replace(h.query)
	h.view = weak.Make(c)
	return c
}

// detachedContext makes a view of a request through which nothing can be answered. The goroutine that the library
// starts with it ends at once.
func detachedContext(r *http.Request) *types.HttpContext {
	c := types.NewHttpContext(discardWriter{}, r)
	c.Flush()
	return c
}

// discardWriter is an http.ResponseWriter for a request that was answered already.
type discardWriter struct{}

func (discardWriter) Header() http.Header         { return nil }
func (discardWriter) Write(b []byte) (int, error) { return len(b), nil }
func (discardWriter) WriteHeader(int)             {}

// interner makes equal strings of different connections share memory, as most header names and values are equal. It is
// bounded: a full interner starts anew.
type interner struct {
	mu      sync.Mutex
	strings map[string]string // Guarded by mu.
}

// Bounds of an interner, together about half a megabyte.
const (
	maxInterned    = 2048
	maxInternedLen = 256
)

func (n *interner) intern(s string) string {
	if len(s) > maxInternedLen {
		return strings.Clone(s)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if known, ok := n.strings[s]; ok {
		return known
	}
	if n.strings == nil || len(n.strings) >= maxInterned {
		n.strings = make(map[string]string)
	}
	s = strings.Clone(s)
	n.strings[s] = s
	return s
}
