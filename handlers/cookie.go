package handlers

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/token"
)

// cookieKey is the key of a tokenCookie in the context of a handshake.
type cookieKey struct{}

// tokenCookie is what the cookies of a handshake hold of a token.
type tokenCookie struct {
	token     string
	ambiguous bool // several cookies have the name, and they differ
}

// TakeCookie returns a handler that takes the cookie Config.TokenCookie out of all requests before next sees them, so
// that it is neither kept with the connection nor told to other servers. A socket is elevated with the cookie of its
// handshake only if a page that may use it has sent that: one of the node's own host, or one for which named returns
// true. Whatever reaches next in another way elevates nobody.
func (g *Gateway) TakeCookie(next http.Handler, named func(origin, host string) bool) http.Handler {
	name := g.config.TokenCookie
	if name == "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		found, rest := splitCookies(r.Header["Cookie"], name)
		if found == nil {
			next.ServeHTTP(w, r)
			return
		}
		ctx := r.Context()
		if mayUseCookies(r, named) {
			ctx = context.WithValue(ctx, cookieKey{}, found)
		}
		r = r.WithContext(ctx)
		r.Header = r.Header.Clone()
		r.Header.Del("Cookie")
		if rest != "" {
			r.Header.Set("Cookie", rest)
		}
		next.ServeHTTP(w, r)
	})
}

// splitCookies returns the token that the cookies with this name hold, or nil if there are none, and the other cookies.
func splitCookies(headers []string, name string) (found *tokenCookie, rest string) {
	var others []string
	for _, header := range headers {
		for pair := range strings.SplitSeq(header, ";") {
			pair = strings.TrimSpace(pair)
			own, value, _ := strings.Cut(pair, "=")
			switch {
			case pair == "":
			case strings.TrimSpace(own) != name:
				others = append(others, pair)
			case found == nil:
				found = &tokenCookie{token: cookieValue(value)}
			case found.token != cookieValue(value):
				// A page of a neighbouring host can add a cookie, but can't replace this one.
				found.ambiguous = true
			}
		}
	}
	if found == nil {
		return nil, ""
	}
	return found, strings.Join(others, "; ")
}

// cookieValue returns a cookie's value as whoever set it meant it. Some put quotes around a value, and some encode it
// as a part of a URL. A token has neither quotes nor percent signs.
func cookieValue(text string) string {
	text = strings.TrimSpace(text)
	if n := len(text); n > 1 && text[0] == '"' && text[n-1] == '"' {
		text = text[1 : n-1]
	}
	if decoded, err := url.PathUnescape(text); err == nil {
		text = decoded
	}
	return strings.Clone(text) // and not the whole header
}

// mayUseCookies reports whether a page that may use the cookies has sent a request. Browsers add cookies to requests of
// any page, and a page can neither write nor leave out the headers that are read here, except that it can leave out
// Referer.
func mayUseCookies(r *http.Request, named func(origin, host string) bool) bool {
	if origins := r.Header["Origin"]; len(origins) > 0 {
		return len(origins) == 1 && named(origins[0], r.Host)
	}
	// Browsers leave Origin out of a GET of a page of the same host, and of what is no request of a script, such as
	// that of an image of any page.
	if sites := r.Header["Sec-Fetch-Site"]; len(sites) > 0 {
		return len(sites) == 1 && sites[0] == "same-origin"
	}
	referers := r.Header["Referer"] // old browsers, and those that don't trust plain HTTP with Sec-Fetch-Site
	if len(referers) != 1 {
		return false
	}
	page, err := url.Parse(referers[0])
	if err != nil || page.User != nil || page.Scheme != "http" && page.Scheme != "https" {
		return false
	}
	host := withoutDefaultPort(page.Scheme, page.Host)
	return host != "" && strings.EqualFold(host, withoutDefaultPort(page.Scheme, r.Host))
}

func withoutDefaultPort(scheme, host string) string {
	if scheme == "https" {
		return strings.TrimSuffix(host, ":443")
	}
	return strings.TrimSuffix(host, ":80")
}

// cookieOf returns the token that the cookie of a socket's handshake holds, or nil if there is none that counts.
func (g *Gateway) cookieOf(s *socket.Socket) *tokenCookie {
	if g.config.TokenCookie == "" {
		return nil
	}
	view := s.Request()
	if view == nil || view.Request() == nil {
		return nil
	}
	found, _ := view.Request().Context().Value(cookieKey{}).(*tokenCookie)
	return found
}

func errAmbiguousCookie() *Error {
	return newError(token.Invalid, "Several cookies have the token's name, and they differ.")
}
