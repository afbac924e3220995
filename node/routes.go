package node

import (
	"fmt"
	"net/http"
	pathpkg "path"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// routes are what the node serves over HTTP.
func (n *Node) routes() (http.Handler, error) {
	origins, err := parseOrigins(n.config.Origins)
	if err != nil {
		return nil, wrong("origins", fmt.Errorf("origins: %w", err))
	}
	mux := http.NewServeMux()
	clients := origins.guard(n.engine)
	mux.Handle(n.config.Path+"/", clients)
	mux.Handle(n.config.Path, clients) // and not a redirect, which a WebSocket does not follow
	others := http.NewServeMux()
	mux.Handle("/", timed(others, pathTimeout))
	others.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	others.HandleFunc("GET /readyz", n.serveReady)
	others.Handle("GET /metrics", promhttp.HandlerFor(n.registry, promhttp.HandlerOpts{}))
	if n.demo != nil {
		others.Handle("/", n.demo.page)
	}
	return mux, nil
}

// validPath reports whether clients can be served under path, as a pattern of http.ServeMux.
func validPath(path string) bool {
	return len(path) > 1 && path[0] == '/' && path[len(path)-1] != '/' && path == pathpkg.Clean(path) &&
		!strings.ContainsAny(path, "{} ?#%")
}

// serveReady answers 503 with the reason while this node should get no new clients.
func (n *Node) serveReady(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if reason := n.unready(); reason != "" {
		http.Error(w, reason, http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready")
}

// unready returns why this node should get no new clients, or "" if it should.
func (n *Node) unready() string {
	switch {
	case n.draining.Load():
		return "draining"
	case !n.bus.State().Hearing:
		return "redis is lost"
	case !n.verifier.open.Load():
		return "revocations are not read yet"
	}
	return ""
}
