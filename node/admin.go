package node

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// adminRoutes are what the admin listener serves. A page of a browser that reaches it can read none of it, and reloads
// nothing.
func (n *Node) adminRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", serveHealth)
	mux.HandleFunc("GET /readyz", n.serveReady)
	mux.Handle("GET /metrics", n.metricsHandler())
	mux.HandleFunc("POST /reload", n.serveReload)
	mux.HandleFunc("GET /config", n.serveConfig)
	mux.Handle("GET /explain", n.explainHandler())
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", http.NotFound) // the flags may hold secrets
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return http.NewCrossOriginProtection().Handler(mux)
}

func (n *Node) metricsHandler() http.Handler {
	return promhttp.HandlerFor(n.registry, promhttp.HandlerOpts{})
}

// serveReload reloads the configuration, and answers with what takes a restart, or with what is wrong.
func (n *Node) serveReload(w http.ResponseWriter, r *http.Request) {
	restart, err := n.Reload(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	writeJSON(w, map[string]any{"reloaded": true, "restart": append([]string{}, restart...)})
}

// serveConfig answers with the options in effect.
func (n *Node) serveConfig(w http.ResponseWriter, r *http.Request) {
	shown := n.live.Load().config.Shown
	if shown == nil {
		http.NotFound(w, r)
		return
	}
	writeJSON(w, shown)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(v) // fails if the client is gone
}

// serveAdmin serves the admin listener, if there is one, until stop is called.
func (n *Node) serveAdmin() (stop func(), err error) {
	if n.config.AdminAddr == "" {
		return func() {}, nil
	}
	listener, err := net.Listen("tcp", n.config.AdminAddr)
	if err != nil {
		return nil, err
	}
	server := &http.Server{
		Handler: n.adminRoutes(), ReadHeaderTimeout: headerTimeout, ReadTimeout: pathTimeout,
		IdleTimeout: n.config.KeepAlive, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(n.config.Logger.Handler(), slog.LevelDebug),
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			n.config.Logger.Error("admin listener has ended", "err", err)
		}
	}()
	n.config.Logger.Info("admin listener serves", "addr", listener.Addr().String())
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
		defer cancel()
		if server.Shutdown(ctx) != nil { // a profile is being taken
			_ = server.Close()
		}
		<-served
	}, nil
}
