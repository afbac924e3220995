package node

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/architus/guildcast/internal/test/redistest"
)

func TestMain(m *testing.M) { redistest.Main(m) }

func TestOriginsAllow(t *testing.T) {
	for _, c := range []struct {
		list         []string
		origin, host string
		want         bool
	}{
		{nil, "http://localhost:8080", "localhost:8080", true},
		{nil, "http://LOCALHOST:8080", "localhost:8080", true},
		{nil, "https://board.example.com", "board.example.com", true},
		{nil, "https://board.example.com", "board.example.com:443", true},
		{nil, "http://board.example.com:80", "board.example.com", true},
		{nil, "http://localhost:3000", "localhost:8080", false},
		{nil, "https://evil.example.com", "board.example.com", false},
		{nil, "https://board.example.com.evil.com", "board.example.com", false},
		{nil, "https://board.example.com@evil.com", "board.example.com", false},
		{nil, "https://board.example.com/", "board.example.com", false},
		{nil, "ftp://board.example.com", "board.example.com", false},
		{nil, "board.example.com", "board.example.com", false},
		{nil, "null", "null", false},
		{nil, "file://", "", false},
		{[]string{"null"}, "null", "x", true},
		{[]string{"null"}, "file://", "x", false},
		{[]string{"file://"}, "file://", "x", true},
		{[]string{"file://"}, "null", "x", false},
		{nil, "ws://localhost:8080", "localhost:8080", true},
		{nil, "wss://board.example.com", "board.example.com", true},
		{nil, "wss://board.example.com:443", "board.example.com", true},
		{nil, "wss://evil.example.com", "board.example.com", false},
		{nil, "", "", false},
		{nil, "http://", "", false},
		{nil, "http://localhost:8080?", "localhost:8080", false},
		{nil, "http://localhost:8080#", "localhost:8080", false},
		{nil, "http://%c3%a4.com", "\u00e4.com", false},
		{[]string{"https://a.com"}, "https://a.com", "x", true},
		{[]string{"https://a.com:443"}, "https://a.com", "x", true},
		{[]string{"https://A.com"}, "https://a.com", "x", true},
		{[]string{"https://a.com"}, "http://a.com", "x", false},
		{[]string{"https://a.com"}, "https://a.com:8443", "x", false},
		{[]string{"https://a.com"}, "https://b.a.com", "x", false},
		{[]string{"https://*.a.com"}, "https://b.a.com", "x", true},
		{[]string{"https://*.a.com"}, "https://c.b.a.com", "x", true},
		{[]string{"https://*.a.com"}, "https://a.com", "x", false},
		{[]string{"https://*.a.com"}, "https://eviла.com", "x", false},
		{[]string{"https://*.a.com"}, "https://evila.com", "x", false},
		{[]string{"https://*.a.com"}, "http://b.a.com", "x", false},
		{[]string{"https://b.com", "*"}, "https://anything.com", "x", true},
		{[]string{"*"}, "null", "x", true},
	} {
		o, err := parseOrigins(c.list)
		if err != nil {
			t.Fatal(err)
		}
		if got := o.allows(c.origin, c.host); got != c.want {
			t.Errorf("%v: %q at %q: %v", c.list, c.origin, c.host, got)
		}
	}
	for _, bad := range []string{
		"a.com", "", "https://", "https://a.com/", "https://a.*.com", "https://*", "https://*.", "https://*.*.com",
		"https://u@a.com", "file:///x",
	} {
		if o, err := parseOrigins([]string{bad}); err == nil {
			t.Errorf("%q was taken for %+v", bad, o)
		}
	}
}

func TestGuard(t *testing.T) {
	o, err := parseOrigins([]string{"https://a.com"})
	if err != nil {
		t.Fatal(err)
	}
	served := 0
	h := guard(func() *origins { return o }, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ }))
	ask := func(method string, header map[string]string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "http://node.example.com/socket.io/?EIO=4&transport=websocket", nil)
		for name, value := range header {
			r.Header.Set(name, value)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	if w := ask("GET", nil); w.Code != 200 || served != 1 || len(w.Header()) != 0 {
		t.Errorf("without origin: %d %v", w.Code, w.Header())
	}
	for _, upgrade := range []string{"", "websocket"} {
		w := ask("GET", map[string]string{"Origin": "https://evil.com", "Upgrade": upgrade})
		if w.Code != 403 || served != 1 || w.Header().Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("foreign origin, upgrade %q: %d %v", upgrade, w.Code, w.Header())
		}
	}
	w := ask("OPTIONS", map[string]string{"Origin": "https://evil.com", "Access-Control-Request-Method": "POST"})
	if w.Code != 403 {
		t.Errorf("preflight of a foreign origin: %d", w.Code)
	}
	w = ask("GET", map[string]string{"Origin": "https://a.com"})
	if served != 2 || w.Header().Get("Access-Control-Allow-Origin") != "https://a.com" ||
		w.Header().Get("Access-Control-Allow-Credentials") != "true" || w.Header().Get("Vary") != "Origin" {
		t.Errorf("allowed origin: %v", w.Header())
	}
	w = ask("OPTIONS", map[string]string{
		"Origin": "https://a.com", "Access-Control-Request-Method": "POST",
		"Access-Control-Request-Headers": "content-type",
	})
	if w.Code != 204 || served != 2 || w.Header().Get("Access-Control-Allow-Headers") != "content-type" {
		t.Errorf("preflight: %d %v", w.Code, w.Header())
	}
}

// FuzzOrigins compares with patterns that can be read at a glance.
func FuzzOrigins(f *testing.F) {
	for _, origin := range []string{
		"https://board.example.com", "https://a.example.org:443", "http://localhost:8080",
		"https://board.example.com@evil.com",
		"https://evil.com#.example.org", "https://evil.com?.example.org", "https://[::1]", "null",
		"https://.example.org",
	} {
		f.Add(origin, "localhost:8080")
	}
	o, err := parseOrigins([]string{"https://board.example.com", "https://*.example.org"})
	if err != nil {
		f.Fatal(err)
	}
	named := regexp.MustCompile(`^https://(board\.example\.com|[^/?#@\\]*\.example\.org)(:443)?$`)
	own := regexp.MustCompile(`^https?://([^/?#@\\]+)$`)
	f.Fuzz(func(t *testing.T, origin, host string) {
		if !o.allows(origin, host) {
			return
		}
		lower := strings.ToLower(origin)
		m := own.FindStringSubmatch(lower)
		if !named.MatchString(lower) && (m == nil || !sameHost(m[1], strings.ToLower(host))) {
			t.Fatalf("%q is allowed at %q", origin, host)
		}
	})
}

// sameHost compares two hosts, whose ports may be a scheme's default.
func sameHost(a, b string) bool {
	cut := func(s string) string { return strings.TrimSuffix(strings.TrimSuffix(s, ":80"), ":443") }
	return cut(a) == cut(b)
}
