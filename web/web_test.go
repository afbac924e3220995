package web

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testHandler(t *testing.T, mint func(ctx context.Context, a Account, life time.Duration) (string, time.Time,
	error)) http.Handler {
	t.Helper()
	h, err := Handler(Config{
		GuildID: "607637793107345431",
		Accounts: []Account{
			{Key: "member", Name: "Juniper", Role: "Member", UserID: "1"}, {Key: "admin", Name: "Maple", UserID: "2"},
		},
		Mint: mint,
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func mintFake(_ context.Context, a Account, life time.Duration) (string, time.Time, error) {
	return "token of " + a.Key, time.Unix(1000, 0).Add(life), nil
}

func get(h http.Handler, target string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.Host = "127.0.0.1:8080"
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestFiles(t *testing.T) {
	h := testHandler(t, mintFake)
	for target, typ := range map[string]string{
		"/": "text/html; charset=utf-8", "/index.html": "text/html; charset=utf-8",
		"/assets/index.css":    "text/css; charset=utf-8",
		"/assets/index.js":     "text/javascript; charset=utf-8",
		"/assets/licences.txt": "text/plain; charset=utf-8", "/icon.svg": "image/svg+xml",
	} {
		w := get(h, target)
		if w.Code != 200 || w.Header().Get("Content-Type") != typ || w.Body.Len() == 0 {
			t.Errorf("%s: %d %s, %d bytes", target, w.Code, w.Header().Get("Content-Type"), w.Body.Len())
		}
		csp := w.Header().Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'none'; script-src 'self';") || strings.Contains(csp, "unsafe") ||
			!strings.Contains(csp, "connect-src 'self' ws://127.0.0.1:8080 wss://127.0.0.1:8080;") {
			t.Errorf("%s: policy %q", target, csp)
		}
		if again := get(h, target, "If-None-Match", w.Header().Get("ETag")); again.Code != http.StatusNotModified ||
			again.Body.Len() != 0 {
			t.Errorf("%s: asked again: %d", target, again.Code)
		}
	}
	for _, target := range []string{
		"/static/index.html", "/nothing", "/assets", "/assets/", "/assets/../web.go", "//",
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.URL.Path = target
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", target, w.Code)
		}
	}
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
}

func TestHostileHostStaysOutOfThePolicy(t *testing.T) {
	h := testHandler(t, mintFake)
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Host = "x; script-src *"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if csp := w.Header().Get("Content-Security-Policy"); strings.Contains(csp, "*") {
		t.Error(csp)
	}
}

func TestAccounts(t *testing.T) {
	h := testHandler(t, mintFake)
	for target, expires := range map[string]int64{
		AccountsPath: 4600, AccountsPath + "?life=30": 1030, AccountsPath + "?life=1": 1010,
		AccountsPath + "?life=-5":           1010,
		AccountsPath + "?life=999999999999": 1000 + 86400,
	} {
		w := get(h, target)
		var answer struct {
			GuildID  string `json:"guild_id"`
			Accounts []struct {
				Key, Name, Role, Token string
				UserID                 string `json:"user_id"`
				ExpiresAt              int64  `json:"expires_at"`
			}
		}
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			t.Fatal(err)
		}
		if w.Header().Get("Cache-Control") != "no-store" || answer.GuildID == "" || len(answer.Accounts) != 2 {
			t.Errorf("%s: %s", target, w.Body)
			continue
		}
		if a := answer.Accounts[0]; a.Token != "token of member" || a.ExpiresAt != expires || a.UserID != "1" {
			t.Errorf("%s: %+v, want it to expire at %d", target, a, expires)
		}
	}
	if w := get(h, AccountsPath+"?life=soon"); w.Code != http.StatusBadRequest {
		t.Errorf("life=soon: %d", w.Code)
	}
	failing := testHandler(t, func(context.Context, Account, time.Duration) (string, time.Time, error) {
		return "", time.Time{}, errors.New("a secret reason")
	})
	if w := get(failing, AccountsPath); w.Code != 500 || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if _, err := Handler(Config{}); err == nil {
		t.Error("a page without a mint was made")
	}
}

// TestPacked: who takes gzip gets it, and the same text.
func TestPacked(t *testing.T) {
	h := testHandler(t, mintFake)
	const target = "/assets/index.js"
	plain, packed := get(h, target), get(h, target, "Accept-Encoding", "br, gzip")
	if plain.Header().Get("Content-Encoding") != "" || packed.Header().Get("Content-Encoding") != "gzip" ||
		packed.Header().Get("Vary") != "Accept-Encoding" {
		t.Errorf("%v and %v", plain.Header(), packed.Header())
	}
	if packed.Body.Len() > plain.Body.Len()/2 {
		t.Errorf("%d bytes of %d", packed.Body.Len(), plain.Body.Len())
	}
	r, err := gzip.NewReader(packed.Body)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(r); err != nil || !bytes.Equal(text, plain.Body.Bytes()) {
		t.Errorf("%v, %d bytes instead of %d", err, len(text), plain.Body.Len())
	}
}

// TestRestart: the page itself may ask for it, and nobody else.
func TestRestart(t *testing.T) {
	asked := 0
	h, err := Handler(Config{Mint: mintFake, Restart: func() { asked++ }})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		method, origin string
		code, asked    int
	}{
		{http.MethodPost, "http://board:8080", http.StatusAccepted, 1},
		{http.MethodPost, "https://board:8080", http.StatusAccepted, 1}, // behind a proxy
		{http.MethodPost, "http://board", http.StatusForbidden, 0},
		{http.MethodPost, "http://elsewhere:8080", http.StatusForbidden, 0},
		{http.MethodPost, "null", http.StatusForbidden, 0},
		{http.MethodPost, "", http.StatusForbidden, 0},
		{http.MethodGet, "http://board:8080", http.StatusMethodNotAllowed, 0},
	} {
		asked = 0
		r := httptest.NewRequest(test.method, RestartPath, nil)
		r.Host = "board:8080"
		r.Header.Set("Origin", test.origin)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != test.code || asked != test.asked {
			t.Errorf("%s from %q: %d, asked %d times", test.method, test.origin, w.Code, asked)
		}
	}
	r := httptest.NewRequest(http.MethodPost, RestartPath, nil)
	r.Header.Set("Origin", "http://"+r.Host)
	w := httptest.NewRecorder()
	testHandler(t, mintFake).ServeHTTP(w, r)
	if w.Code == http.StatusAccepted {
		t.Error("a node that can't be restarted accepts it")
	}
}

// TestPageKeepsToItself: everything that the page names is served, nothing is inline, and nothing comes from elsewhere.
func TestPageKeepsToItself(t *testing.T) {
	h := testHandler(t, mintFake)
	index := get(h, "/").Body.String()
	references := regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(index, -1)
	if len(references) < 3 {
		t.Errorf("the page names only %v", references)
	}
	for _, m := range references {
		if w := get(h, m[1]); w.Code != 200 || !path.IsAbs(m[1]) {
			t.Errorf("the page names %s: %d", m[1], w.Code)
		}
	}
	for _, bad := range []string{"<style", " style=", " onclick=", "://"} {
		if strings.Contains(index, bad) {
			t.Errorf("the page contains %s", bad)
		}
	}
	if regexp.MustCompile(`<script[^>]*>[^<]`).MatchString(index) {
		t.Error("the page has a script inline")
	}
	style := get(h, "/assets/index.css").Body.String()
	if strings.Contains(style, "@import") || strings.Contains(style, "url(") {
		t.Error("the style names other files")
	}
}

// TestSourcesMakeNoMarkup: text from a guild only ever becomes text.
func TestSourcesMakeNoMarkup(t *testing.T) {
	seen := 0
	err := filepath.WalkDir("app/src", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		seen++
		body, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		for _, bad := range []string{"innerHTML", "InnerHTML", "insertAdjacent", "eval(", "https://", "http://"} {
			if bytes.Contains(body, []byte(bad)) {
				t.Errorf("%s contains %s", name, bad)
			}
		}
		return nil
	})
	if err != nil || seen < 10 {
		t.Errorf("%d sources: %v", seen, err)
	}
}
