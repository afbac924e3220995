package handlers_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/handlers"
	"github.com/architus/guildcast/internal/test/sioclient"
)

func withCookie(c *handlers.Config, _ *handlers.Parts) { c.TokenCookie = "token" }

// withHeaders connects with headers, each a line. HOST stands for the node's own.
func withHeaders(t testing.TB, n *node, auth any, headers ...string) *client {
	t.Helper()
	text := ""
	for _, h := range headers {
		text += strings.ReplaceAll(h, "HOST", strings.TrimPrefix(n.server.URL, "http://")) + "\r\n"
	}
	return connectWith(t, n.server, auth, sioclient.Options{Headers: text})
}

// wantUntouched fails if the client was told anything, or is elevated.
func (c *client) wantUntouched(t testing.TB, token string) {
	t.Helper()
	c.emit("demote", map[string]any{"token": token})
	wantError(t, c.expect("error").as(t), 409, "not_elevated")
}

// A cookie elevates from pages that may use it, and from no others, whatever else the request says.
func TestCookiePages(t *testing.T) {
	n := start(t, withCookie)
	token := mint(t, nil)
	for _, tt := range []struct {
		name     string
		headers  []string
		elevates bool
	}{
		{"a page that is named", []string{"Origin: " + boardOrigin}, true},
		{"a page of the same host", []string{"Origin: http://HOST"}, true},
		{"another page", []string{"Origin: https://evil.example.com"}, false},
		{"a page that nobody can name", []string{"Origin: null"}, false},
		{"another page that says more", []string{"Origin: https://evil.example.com", "Sec-Fetch-Site: same-origin",
			"Referer: http://HOST/"}, false},
		{"two origins", []string{"Origin: " + boardOrigin, "Origin: https://evil.example.com"}, false},
		{"an empty origin", []string{"Origin: ", "Referer: http://HOST/"}, false},
		{"no page", nil, false},
		{"the same origin", []string{"Sec-Fetch-Site: same-origin"}, true},
		{"the same site", []string{"Sec-Fetch-Site: same-site", "Referer: http://HOST/"}, false},
		{"another site", []string{"Sec-Fetch-Site: cross-site", "Referer: http://HOST/"}, false},
		{"a person", []string{"Sec-Fetch-Site: none"}, false},
		{"two sites", []string{"Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"}, false},
		{"a referer of the same host", []string{"Referer: http://HOST/page?x=y"}, true},
		{"a referer over TLS", []string{"Referer: https://HOST/"}, true},
		{"a referer of another host", []string{"Referer: https://evil.example.com/"}, false},
		{"a referer of a named page", []string{"Referer: " + boardOrigin + "/"}, false},
		{"a referer with the host in it", []string{"Referer: https://evil.example.com/http://HOST/"}, false},
		{"a referer with the host as user", []string{"Referer: http://HOST@evil.example.com/"}, false},
		{"a referer with a user", []string{"Referer: http://a@HOST/"}, false},
		{"a referer of a longer host", []string{"Referer: http://HOST.evil.example.com/"}, false},
		{"a referer of a file", []string{"Referer: file:///HOST"}, false},
		{"a referer that is none", []string{"Referer: http://[::1"}, false},
		{"two referers", []string{"Referer: http://HOST/", "Referer: http://HOST/"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := withHeaders(t, n, nil, append(tt.headers, "Cookie: token="+token)...)
			if !tt.elevates {
				c.wantUntouched(t, token)
				return
			}
			if h := c.expect("request_elevation_return").as(t); h["success"] != true || h["user_id"] != userA {
				t.Fatalf("got %v", h)
			}
		})
	}
}

func TestCookieForms(t *testing.T) {
	n := start(t, withCookie)
	good, other := mint(t, nil), mint(t, map[string]any{"sub": userB})
	expired := mint(t, map[string]any{"exp": time.Now().Add(-time.Minute).Unix()})
	for _, tt := range []struct {
		name    string
		cookies []string // headers
		word    string   // "" for success, "-" for no answer
	}{
		{"alone", []string{"token=" + good}, ""},
		{"among others", []string{"a=b; token=" + good + "; c=d"}, ""},
		{"in the second header", []string{"a=b", "token=" + good}, ""},
		{"without a space", []string{"a=b;token=" + good}, ""},
		{"in quotes", []string{`token="` + good + `"`}, ""},
		{"with percent signs", []string{"token=" + strings.ReplaceAll(good, ".", "%2E")}, ""},
		{"as HTTP writes it", []string{"token=" + url.PathEscape("Bearer "+good)}, ""},
		{"twice the same", []string{"token=" + good + "; token=" + good}, ""},
		{"twice", []string{"token=" + good + "; token=" + other}, "token_invalid"},
		{"twice, in two headers", []string{"token=" + good, "token=" + other}, "token_invalid"},
		{"twice, once empty", []string{"token=" + good + "; token="}, "token_invalid"},
		{"one quote", []string{`token="` + good}, "token_invalid"},
		{"bad percent signs", []string{"token=%zz"}, "token_invalid"},
		{"empty", []string{"token="}, "token_missing"},
		{"no value", []string{"token"}, "token_missing"},
		{"garbage", []string{"token=garbage"}, "token_invalid"},
		{"expired", []string{"token=" + expired}, "token_expired"},
		{"long", []string{"token=" + strings.Repeat("a", 1<<19)}, "token_invalid"},
		{"another name", []string{"Token=" + good}, "-"},
		{"a longer name", []string{"xtoken=" + good + "; tokenx=" + good}, "-"},
		{"a value with the name", []string{"a=token=" + good}, "-"},
		{"none", nil, "-"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			headers := []string{"Origin: " + boardOrigin}
			for _, c := range tt.cookies {
				headers = append(headers, "Cookie: "+c)
			}
			c := withHeaders(t, n, nil, headers...)
			if tt.word == "-" {
				c.wantUntouched(t, good)
				return
			}
			h := c.expect("request_elevation_return").as(t)
			if tt.word == "" {
				if h["success"] != true || h["user_id"] != userA {
					t.Fatalf("got %v", h)
				}
				return
			}
			if e, _ := h["error"].(map[string]any); e["message"] != tt.word || e["code"] != 401.0 {
				t.Fatalf("got %v, want %s", h, tt.word)
			}
			c.wantUntouched(t, good)
		})
	}
}

// The auth object comes first, even with a bad token, and nothing looks at cookies unless that is configured.
func TestCookieAndAuth(t *testing.T) {
	n := start(t, withCookie)
	headers := []string{"Origin: " + boardOrigin, "Cookie: token=" + mint(t, nil)}
	c := withHeaders(t, n, map[string]any{"token": mint(t, map[string]any{"sub": userB})}, headers...)
	if h := c.expect("request_elevation_return").as(t); h["user_id"] != userB {
		t.Errorf("got %v", h)
	}
	c = withHeaders(t, n, map[string]any{"token": "garbage"}, headers...)
	if h := c.expect("request_elevation_return").as(t); h["success"] != false {
		t.Errorf("got %v", h)
	}
	c = withHeaders(t, n, map[string]any{"token": nil}, headers...)
	if h := c.expect("request_elevation_return").as(t); h["user_id"] != userA {
		t.Errorf("got %v", h)
	}
	off := start(t, nil)
	withHeaders(t, off, nil, headers...).wantUntouched(t, mint(t, nil))
}

// A cookie is of the handshake: requests carry their token all the same, unless the node lets them be without.
func TestCookieIsNoTokenOfRequests(t *testing.T) {
	for _, mode := range []handlers.TokenPerRequest{handlers.TokenRequired, handlers.TokenOptional} {
		n := start(t, func(c *handlers.Config, p *handlers.Parts) {
			withCookie(c, p)
			c.TokenPerRequest = mode
		})
		c := withHeaders(t, n, nil, "Origin: "+boardOrigin, "Cookie: token="+mint(t, nil))
		c.expect("request_elevation_return")
		c.emit("spectate", map[string]any{"guild_id": guildA})
		h := c.next()
		switch mode {
		case handlers.TokenRequired:
			wantError(t, h.as(t), 401, "token_missing")
		case handlers.TokenOptional:
			if h.event != "spectate_return" {
				t.Errorf("got %v", h)
			}
		}
	}
}

// The token is not kept where other servers are told of it; other cookies are.
func TestCookieIsTakenOut(t *testing.T) {
	n := start(t, withCookie)
	seen := make(chan http.Header, 2)
	if err := n.io.On("connection", func(args ...any) {
		seen <- http.Header(args[0].(*socket.Socket).Handshake().Headers)
	}); err != nil {
		t.Fatal(err)
	}
	withHeaders(t, n, nil, "Origin: https://evil.example.com", "Cookie: a=b; token="+mint(t, nil)+"; c=d")
	if got := (<-seen).Values("Cookie"); len(got) != 1 || got[0] != "a=b; c=d" {
		t.Errorf("got %q", got)
	}
	withHeaders(t, n, nil, "Cookie: token="+mint(t, nil))
	if got, there := (<-seen)["Cookie"]; there {
		t.Errorf("got %q", got)
	}
}

// FuzzCookies holds that no cookies end in a panic, and that the name is never among what is left.
func FuzzCookies(f *testing.F) {
	n := start(f, withCookie)
	f.Add("a=b; token=x")
	f.Add(`token="x"; token=%zz;;=;`)
	f.Fuzz(func(t *testing.T, cookies string) {
		h := n.gateway.TakeCookie(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			for _, c := range r.Cookies() {
				if c.Name == "token" {
					t.Errorf("%q is left of %q", r.Header["Cookie"], cookies)
				}
			}
		}), nil)
		r := httptest.NewRequest(http.MethodGet, "/", io.NopCloser(strings.NewReader("")))
		r.Header["Cookie"] = []string{cookies}
		h.ServeHTTP(httptest.NewRecorder(), r)
	})
}
