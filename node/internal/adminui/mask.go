package adminui

import (
	"crypto/sha256"
	"encoding/base64"
	"regexp"
	"strings"

	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io/v2/socket"
)

// mask stands in place of a secret.
const mask = "********"

// maxShown bounds the texts of an event that are shown, in bytes. The rest is left out.
const maxShown = 8 << 10

// jwt matches a JSON Web Token. Its first part is the base64 of a JSON object.
var jwt = regexp.MustCompile(`ey[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*`)

// secretQuery matches the secrets of a URL's query.
var secretQuery = regexp.MustCompile(`(?i)([?&](?:[a-z0-9_-]*token|jwt|auth|password|secret|nonce|sid)=)[^&#]*`)

// secretName reports whether a member, a header or a parameter with a name is a secret.
func secretName(name string) bool {
	name = strings.ToLower(name)
	switch name {
	case "token", "jwt", "auth", "authorization", "proxy-authorization", "cookie", "set-cookie", "password", "secret",
		"nonce", "sid", "sessionid":
		return true
	}
	return strings.HasSuffix(name, "token") // access_token, accessToken
}

// maskText returns a text without the tokens in it.
func maskText(s string) string { return jwt.ReplaceAllString(s, mask) }

// maskEvent returns the name and arguments of an event as they are shown: copies, without tokens, up to maxShown.
func maskEvent(args []any) []any {
	m := masking{left: maxShown}
	shown, _ := m.value(args).([]any)
	if len(shown) > 1 && shown[0] == "request_elevation" {
		if text, ok := shown[1].(string); ok && !strings.HasPrefix(strings.TrimSpace(text), "{") {
			shown[1] = mask // also what is no token, and almost one
		}
	}
	return shown
}

// masking copies values until it has copied enough.
type masking struct{ left int }

func (m *masking) value(v any) any {
	m.left -= 8
	if m.left <= 0 {
		return "…"
	}
	switch v := v.(type) {
	case string:
		return m.text(v)
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, member := range v {
			if m.left <= 0 {
				break
			}
			if _, isText := member.(string); isText && secretName(name) {
				member = mask
			}
			out[m.text(name)] = m.value(member)
		}
		return out
	case []any:
		out := make([]any, 0, len(v))
		for _, item := range v {
			if out = append(out, m.value(item)); m.left <= 0 {
				break
			}
		}
		return out
	case nil, bool, float64, int, int64:
		return v
	case []byte, types.BufferInterface:
		return "(binary)"
	}
	return "(other)" // raw JSON and what else a server may emit
}

func (m *masking) text(s string) string {
	s = maskText(s)
	if len(s) > m.left {
		s = strings.ToValidUTF8(s[:max(0, m.left)], "") + "…"
	}
	m.left -= len(s)
	return s
}

// clientID names a connection. It does not give away the session's id, which is a secret: who knows it can take the
// session over.
func clientID(session string) string {
	sum := sha256.Sum256([]byte(session))
	return base64.RawURLEncoding.EncodeToString(sum[:])[:12]
}

// internal returns what a server of the cluster keeps in a socket's data for the page, or nil.
func internal(data any) map[string]any {
	members, _ := data.(map[string]any)
	own, _ := members["_admin"].(map[string]any)
	return own
}

// serialize describes a socket for the page: without its auth object, and without what could be a token.
func serialize(s socket.SocketDetails, nsp string) map[string]any {
	rooms := []any{}
	if set := s.Rooms(); set != nil {
		for _, room := range set.Keys() {
			rooms = append(rooms, maskText(string(room)))
		}
	}
	out := map[string]any{
		"id": string(s.Id()), "nsp": nsp, "rooms": rooms, "handshake": handshake(s.Handshake()),
		"data": map[string]any{},
	}
	if own := internal(s.Data()); own != nil {
		out["clientId"], out["transport"] = own["clientId"], own["transport"]
	}
	if members, ok := s.Data().(map[string]any); ok {
		shown := masking{left: maxShown}
		for name, v := range members {
			if name != "_admin" {
				out["data"].(map[string]any)[name] = shown.value(v)
			}
		}
	}
	return out
}

func handshake(h *socket.Handshake) map[string]any {
	if h == nil {
		h = &socket.Handshake{}
	}
	address := h.Address
	headers, query := map[string]any{}, map[string]any{}
	for name, values := range h.Headers {
		name = strings.ToLower(name)
		if secretName(name) {
			continue
		}
		headers[name] = maskText(strings.Join(values, ", "))
	}
	for _, name := range []string{"x-forwarded-for", "cf-connecting-ip"} { // as the page's own servers take it
		if forwarded, ok := headers[name].(string); ok && forwarded != "" {
			address = forwarded
		}
	}
	for name, values := range h.Query {
		text := maskText(strings.Join(values, ", "))
		if secretName(name) {
			text = mask
		}
		query[name] = text
	}
	return map[string]any{
		"address": address, "headers": headers, "query": query, "issued": h.Issued, "secure": h.Secure, "time": h.Time,
		"url": maskText(secretQuery.ReplaceAllString(h.Url, "${1}"+mask)), "xdomain": h.Xdomain,
	}
}
