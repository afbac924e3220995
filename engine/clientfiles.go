package engine

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// clientFiles serves the browser client's files, as the Node.js server does with its option serveClient.
type clientFiles struct {
	prefix string
	names  *regexp.Regexp
	files  fs.FS
}

func newClientFiles(prefix string, files fs.FS) *clientFiles {
	if files == nil {
		if exe, err := os.Executable(); err == nil {
			files = os.DirFS(filepath.Join(filepath.Dir(filepath.Dir(exe)), "client-dist"))
		}
	}
	return &clientFiles{
		prefix: strings.TrimRight(prefix, "/") + "/",
		names:  regexp.MustCompile(`^socket\.io(\.msgpack|\.esm)?(\.min)?\.js(\.map)?$`),
		files:  files,
	}
}

func (f *clientFiles) match(urlPath string) bool {
	name, ok := strings.CutPrefix(urlPath, f.prefix)
	return ok && f.names.MatchString(name)
}

func (f *clientFiles) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	name := path.Base(r.URL.Path)
	if f.files == nil {
		http.NotFound(w, r)
		return
	}
	body, err := fs.ReadFile(f.files, name)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=0")
	if strings.HasSuffix(name, ".map") {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
	} else {
		w.Header().Set("Content-Type", "application/javascript; charset=utf-8")
	}
	sum := sha256.Sum256(body)
	w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:12])+`"`)
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(body))
}
