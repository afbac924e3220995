package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/architus/guildcast/internal/demo"
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
		"/style.css":                   "text/css; charset=utf-8",
		"/js/app.js":                   "text/javascript; charset=utf-8",
		"/vendor/socket.io.esm.min.js": "text/javascript; charset=utf-8",
		"/vendor/socket.io.LICENSE":    "text/plain; charset=utf-8", "/icon.svg": "image/svg+xml",
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
	for _, target := range []string{"/static/index.html", "/nothing", "/js", "/js/", "/vendor/../web.go", "//"} {
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

// TestPageKeepsToItself: everything that the page names is served, nothing is inline, and nothing comes from elsewhere.
func TestPageKeepsToItself(t *testing.T) {
	h := testHandler(t, mintFake)
	reference := regexp.MustCompile(`(?:src|href)="([^"#]+)"|from '([^']+)'`)
	err := fs.WalkDir(static, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Contains(name, "vendor/") {
			return err
		}
		body, err := static.ReadFile(name)
		if err != nil {
			return err
		}
		for _, bad := range []string{
			"innerHTML", "eval(", "<script>", " style=\"", " onclick=", "https://", "http://localhost",
		} {
			if bytes.Contains(body, []byte(bad)) {
				t.Errorf("%s contains %s", name, bad)
			}
		}
		for _, m := range reference.FindAllSubmatch(body, -1) {
			target := string(m[1]) + string(m[2])
			if !path.IsAbs(target) {
				target = path.Join(path.Dir(strings.TrimPrefix(name, "static")), target)
			}
			if w := get(h, target); w.Code != 200 {
				t.Errorf("%s names %s: %d", name, target, w.Code)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// node gives the path of Node.js, or skips the test.
func node(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("node")
	if err != nil {
		t.Skip("no node in PATH")
	}
	return path
}

func TestScriptsParse(t *testing.T) {
	program := node(t)
	scripts, err := fs.Glob(static, "static/js/*.js")
	if err != nil || len(scripts) == 0 {
		t.Fatal(scripts, err)
	}
	for _, name := range scripts {
		body, err := static.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), program, "--check", "--input-type=module")
		cmd.Stdin = bytes.NewReader(body)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// TestEveryDemoEventIsDescribed has the page put many events into words.
func TestEveryDemoEventIsDescribed(t *testing.T) {
	program := node(t)
	stream := demo.NewWorld(demo.Config{}).Stream()
	now := demo.Epoch.AddDate(10, 0, 0)
	events := []json.RawMessage{}
	for range 2000 {
		now = now.Add(300 * time.Millisecond)
		step, err := stream.Next(now)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range step.Messages {
			events = append(events, m.Payload)
		}
	}
	input, err := json.Marshal(events)
	if err != nil {
		t.Fatal(err)
	}
	module, err := static.ReadFile("static/js/describe.js")
	if err != nil {
		t.Fatal(err)
	}
	script := string(module) + `
import { readFileSync } from 'node:fs';
let n = 0;
for (const m of JSON.parse(readFileSync(0, 'utf8'))) {
  const d = describe(m.event ?? 'log_other', 'payload' in m ? m.payload : m);
  const text = d.parts.map((p) => p.quote ?? p.id ?? p).join('');
  const dull = !m.event && m.kind !== 'internal' && d.icon === '•';
  if (!text.trim() || dull || /undefined|null|NaN|did \d/.test(text)) throw new Error(JSON.stringify(m) + ' is: ' + text);
  n++;
}
console.log(n);
`
	cmd := exec.CommandContext(t.Context(), program, "--input-type=module", "--eval", script)
	cmd.Stdin = bytes.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != strconv.Itoa(len(events)) {
		t.Errorf("%v: %s", err, out)
	}
}
