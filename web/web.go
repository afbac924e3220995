// Package web serves the demo page: a dashboard that shows, side by side, which of one guild's events three users with
// different permissions get.
package web

import (
	"cmp"
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
	"path"
	"strconv"
	"strings"
	"time"
)

//go:embed static
var static embed.FS

// AccountsPath answers with the demo users and a fresh token for each.
const AccountsPath = "/demo/accounts.json"

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
	body []byte
	typ  string
	etag string
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
		body: body, typ: contentType(name), etag: `"` + hex.EncodeToString(sum[:12]) + `"`,
	}
	return nil
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
	case ".LICENSE":
		return "text/plain; charset=utf-8"
	}
	return mime.TypeByExtension(path.Ext(name))
}

func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.protect(w, r)
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
	h.Set("Content-Length", strconv.Itoa(len(f.body)))
	if r.Method == http.MethodGet {
		// The error is the client's leaving.
		_, _ = w.Write(f.body)
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
		"connect-src "+connect+"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
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
