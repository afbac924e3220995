// Package web serves the demo page: a dashboard of one guild, as whichever of the demo's users one chooses to be. Its
// sources are in app; static holds what is built from them.
package web

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"
)

//go:embed static
var static embed.FS

const (
	// AccountsPath answers with the demo users and a fresh token for each.
	AccountsPath = "/demo/accounts.json"
	// RestartPath takes a POST of the page, and has the node restarted.
	RestartPath = "/demo/restart"
)

// Bounds of the tokens that the page can ask for.
const (
	defaultTokenLife = time.Hour
	minTokenLife     = 10 * time.Second
	maxTokenLife     = 24 * time.Hour
)

// Account is a demo user.
type Account struct {
	Key    string `json:"key"`  // stable
	Name   string `json:"name"` // in the guild
	Role   string `json:"role"` // what the user may do, for people to read
	UserID string `json:"user_id"`
}

// Config says whom the page shows.
type Config struct {
	GuildID  string
	Path     string    // of the Socket.IO server
	Accounts []Account // a column each

	// Mint returns a token for an account that is good for the duration life. The page has it called for each account
	// when it loads, and when it refreshes.
	Mint func(ctx context.Context, a Account, life time.Duration) (token string, expires time.Time, err error)

	// Restart has the node restarted, after it has answered; nil if it can't be. It must not block.
	Restart func()

	Logger *slog.Logger // nil discards
}

// page serves the files and the tokens.
type page struct {
	cfg   Config
	log   *slog.Logger
	files map[string]file // by URL path; static after construction
}

// file is one embedded file.
type file struct {
	body   []byte
	packed []byte // body as gzip; nil if that saves nothing
	typ    string
	etag   string
}

// Handler serves the page at "/" and what belongs to it. It is for demonstrations only, since it hands out tokens.
func Handler(cfg Config) (http.Handler, error) {
	p := &page{cfg: cfg, log: cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler)), files: make(map[string]file)}
	if cfg.Mint == nil {
		return nil, errors.New("demo page: no way to mint tokens")
	}
	if err := fs.WalkDir(static, "static", p.load); err != nil {
		return nil, fmt.Errorf("demo page: %w", err)
	}
	p.files["/"] = p.files["/index.html"]
	return p, nil
}

func (p *page) load(name string, d fs.DirEntry, err error) error {
	if err != nil || d.IsDir() {
		return err
	}
	body, err := static.ReadFile(name)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	p.files[strings.TrimPrefix(name, "static")] = file{
		body: body, packed: pack(body), typ: contentType(name), etag: `"` + hex.EncodeToString(sum[:12]) + `"`,
	}
	return nil
}

// pack compresses a file, and returns nil if that does not make it smaller.
func pack(body []byte) []byte {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil
	}
	// Writing to memory does not fail.
	_, _ = w.Write(body)
	_ = w.Close()
	if b.Len() >= len(body) {
		return nil
	}
	return b.Bytes()
}

// contentType does not depend on what the system's tables say of an extension.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".txt":
		return "text/plain; charset=utf-8"
	}
	return mime.TypeByExtension(path.Ext(name))
}

func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.protect(w, r)
	if r.URL.Path == RestartPath && p.cfg.Restart != nil {
		p.restart(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	if r.URL.Path == AccountsPath {
		p.serveAccounts(w, r)
		return
	}
	f, ok := p.files[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", f.typ)
	h.Set("ETag", f.etag)
	h.Set("Cache-Control", "no-cache") // ask each time; the ETag makes it cheap
	if r.Header.Get("If-None-Match") == f.etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Vary", "Accept-Encoding")
	body := f.body
	if f.packed != nil && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		body = f.packed
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method == http.MethodGet {
		// The error is the client's leaving.
		_, _ = w.Write(body)
	}
}

// restart takes a request of the page itself only: another site's page must not be able to end connections.
func (p *page) restart(w http.ResponseWriter, r *http.Request) {
	origin, err := url.Parse(r.Header.Get("Origin"))
	switch {
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", "POST")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	case err != nil || origin.Host == "" || origin.Host != r.Host:
		http.Error(w, "only the page may ask for this", http.StatusForbidden)
	default:
		w.WriteHeader(http.StatusAccepted)
		p.cfg.Restart()
	}
}

// protect sets the headers that keep the page to itself: scripts and styles from here only, none of them inline, and no
// framing.
func (p *page) protect(w http.ResponseWriter, r *http.Request) {
	connect := "'self'"
	// Some browsers do not take 'self' to cover WebSockets.
	if plainHost(r.Host) {
		connect += " ws://" + r.Host + " wss://" + r.Host
	}
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "+
		"connect-src "+connect+"; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
}

// plainHost reports whether a Host header is fit to be part of a policy.
func plainHost(host string) bool {
	if host == "" || len(host) > 255 {
		return false
	}
	for _, c := range host {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && !strings.ContainsRune(".-:[]", c) {
			return false
		}
	}
	return true
}

// accountToken is an account in the answer, with its token.
type accountToken struct {
	Account
	Token     string `json:"token"`
	ExpiresAt int64  `json:"expires_at"` // Unix seconds
}

// serveAccounts answers with the guild and the accounts. The query's life, in seconds, says how long the tokens are
// good for.
func (p *page) serveAccounts(w http.ResponseWriter, r *http.Request) {
	life := defaultTokenLife
	if s := r.URL.Query().Get("life"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			http.Error(w, "life is a number of seconds", http.StatusBadRequest)
			return
		}
		life = max(minTokenLife, min(time.Duration(min(n, 1<<20))*time.Second, maxTokenLife))
	}
	answer := struct {
		GuildID  string         `json:"guild_id"`
		Path     string         `json:"path"`
		Accounts []accountToken `json:"accounts"`
	}{GuildID: p.cfg.GuildID, Path: p.cfg.Path, Accounts: []accountToken{}}
	for _, a := range p.cfg.Accounts {
		token, expires, err := p.cfg.Mint(r.Context(), a, life)
		if err != nil {
			p.log.Error("mint demo token", "account", a.Key, "err", err)
			http.Error(w, "no token could be minted", http.StatusInternalServerError)
			return
		}
		answer.Accounts = append(answer.Accounts, accountToken{a, token, expires.Unix()})
	}
	body, err := json.Marshal(answer)
	if err != nil {
		p.log.Error("encode demo accounts", "err", err)
		http.Error(w, "no answer could be made", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if r.Method == http.MethodGet {
		// The error is the client's leaving.
		_, _ = w.Write(body)
	}
}
