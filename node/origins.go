package node

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// origins decides which web pages may speak to the node. Browsers enforce the answer for polling (CORS), but not for
// WebSocket, so that requests of other pages are refused here alike, before anything else sees them.
type origins struct {
	all      bool
	opaque   bool     // "null": sandboxed pages, some embedded browsers
	file     bool     // "file://": pages of an application
	exact    []string // scheme://host[:port]
	suffixes []suffix
}

// suffix is an origin whose host begins with "*.".
type suffix struct{ scheme, host string }

// parseOrigins reads the origins beside the node's own: "https://board.example.com", "https://*.example.com", "null",
// "file://", or "*" for any.
func parseOrigins(list []string) (*origins, error) {
	o := &origins{}
	for _, text := range list {
		text = strings.ToLower(strings.TrimSpace(text))
		if text == "*" {
			o.all = true
			continue
		}
		switch text {
		case "null":
			o.opaque = true
			continue
		case "file://":
			o.file = true
			continue
		}
		origin, ok := normalOrigin(text)
		if !ok {
			return nil, fmt.Errorf("%q is not an origin such as https://board.example.com", text)
		}
		scheme, host, _ := strings.Cut(origin, "://")
		switch rest, wild := strings.CutPrefix(host, "*."); {
		case wild && !strings.Contains(rest, "*") && rest != "":
			o.suffixes = append(o.suffixes, suffix{scheme, "." + rest})
		case strings.Contains(host, "*"):
			return nil, fmt.Errorf("%q: a star stands for the first part of a host only", text)
		default:
			o.exact = append(o.exact, origin)
		}
	}
	return o, nil
}

// normalOrigin returns an origin without its scheme's default port, and false for what no browser sends as an origin.
func normalOrigin(text string) (string, bool) {
	u, err := url.Parse(strings.ToLower(text))
	if strings.ContainsAny(text, "?#%") { // of which url.Parse forgets some, and decodes others
		return "", false
	}
	if err != nil || u.Host == "" || u.User != nil || u.Path != "" {
		return "", false
	}
	return u.Scheme + "://" + normalHost(u.Scheme, u.Host), u.Scheme != ""
}

func normalHost(scheme, host string) string {
	switch scheme {
	case "http", "ws":
		return strings.TrimSuffix(host, ":80")
	case "https", "wss":
		return strings.TrimSuffix(host, ":443")
	}
	return host
}

// allows reports whether pages of an origin may speak to the node that they reach as host.
func (o *origins) allows(origin, host string) bool {
	if o.all {
		return true
	}
	switch origin {
	case "null":
		return o.opaque
	case "file://":
		return o.file
	}
	return o.names(origin, host)
}

// names reports whether an origin is the host's own or was named as that of a site. So its pages are somebody's whom
// the operator trusts with a user's cookies: any site can make a page with the origin "null".
func (o *origins) names(origin, host string) bool {
	origin, ok := normalOrigin(origin)
	if !ok {
		return false
	}
	scheme, own, _ := strings.Cut(origin, "://")
	// Which scheme the page sees is not known here, behind a proxy that ends TLS.
	// Native clients write ws and wss, which no page can.
	switch scheme {
	case "http", "https", "ws", "wss":
		if own == normalHost(scheme, strings.ToLower(host)) {
			return true
		}
	}
	return slices.Contains(o.exact, origin) || slices.ContainsFunc(o.suffixes, func(s suffix) bool {
		return s.scheme == scheme && strings.HasSuffix(own, s.host)
	})
}

// guard serves next to pages of the origins of the moment, and to clients that are no browsers, which send no Origin.
func guard(current func() *origins, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o := current()
		sent := r.Header["Origin"]
		if len(sent) == 0 {
			next.ServeHTTP(w, r)
			return
		}
		if len(sent) > 1 || !o.allows(sent[0], r.Host) {
			http.Error(w, "origin not allowed", http.StatusForbidden)
			return
		}
		h := w.Header()
		h.Add("Vary", "Origin")
		h.Set("Access-Control-Allow-Origin", sent[0])
		if !o.all { // cookies only if the operator named the pages that may use them
			h.Set("Access-Control-Allow-Credentials", "true")
		}
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			h.Set("Access-Control-Allow-Methods", "GET, POST")
			if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
				h.Set("Access-Control-Allow-Headers", asked)
			}
			h.Set("Access-Control-Max-Age", "600")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}
