package node

import (
	"fmt"
	"net/http"
	pathpkg "path"
	"strings"

	"github.com/architus/guildcast/node/internal/forward"
)

// routes are what the node serves to clients.
func (n *Node) routes() http.Handler {
	mux := http.NewServeMux()
	current := func() *origins { return n.live.Load().origins }
	clients := guard(current, n.gateway.TakeCookie(n.engine, func(origin, host string) bool {
		return current().names(origin, host)
	}))
	mux.Handle(n.config.Path+"/", clients)
	mux.Handle(n.config.Path, clients) // and not a redirect, which a WebSocket does not follow
	if n.forward != nil {
		// The node that passes a request on has looked at its origin, and answers with the headers for that.
		mux.Handle(forward.Path+"/", n.forward.Serve(n.engine))
	}
	others := http.NewServeMux()
	mux.Handle("/", timed(others, pathTimeout))
	others.HandleFunc("GET /healthz", serveHealth)
	others.HandleFunc("GET /readyz", n.serveReady)
	if n.config.AdminAddr == "" { // else they are there
		others.Handle("GET /metrics", n.metricsHandler())
	}
	if n.demo != nil {
		others.Handle("/", n.demo.page)
	}
	return mux
}

func serveHealth(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") }

// validPath reports whether clients can be served under path, as a pattern of http.ServeMux.
func validPath(path string) bool {
	return len(path) > 1 && path[0] == '/' && path[len(path)-1] != '/' && path == pathpkg.Clean(path) &&
		path != forward.Path && !strings.ContainsAny(path, "{} ?#%")
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
