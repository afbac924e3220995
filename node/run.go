package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/architus/guildcast/adapter"
	"github.com/architus/guildcast/bus"
)

// Run serves until ctx ends, then drains: readiness goes, the sockets are closed over the grace period, the adapter
// leaves the cluster, and Redis is closed last. It returns after all of its goroutines have. It may be called once.
func (n *Node) Run(ctx context.Context) error {
	if err := n.life.Begin(); err != nil {
		return fmt.Errorf("run node: %w", err)
	}
	plain, err := n.network.listen("tcp", n.config.Addr)
	if err != nil {
		n.discard()
		return fmt.Errorf("listen: %w", err)
	}
	var listener net.Listener = &acceptor{Listener: plain, log: n.config.Logger, failures: &n.acceptFailures}
	if n.forward != nil {
		n.forward.Listen(listener.Addr())
	}
	server := &http.Server{
		Handler: n.handler, ReadHeaderTimeout: headerTimeout, IdleTimeout: n.config.KeepAlive, MaxHeaderBytes: 64 << 10,
		// what clients do wrong with HTTP and TLS
		ErrorLog: slog.NewLogLogger(n.config.Logger.Handler(), slog.LevelDebug),
	}
	if n.config.ProxyProtocol {
		proxied := n.behindProxies(listener)
		listener, server.ConnContext, server.Handler = proxied, proxied.ConnContext, proxied.Handler(n.handler)
	}
	secure := n.live.Load().certificate != nil
	if secure {
		config := n.tlsConfig()
		if n.forward != nil {
			config = n.forward.TLS(config)
		}
		listener = tls.NewListener(listener, config)
	}
	if err := n.checkRights(ctx); err != nil {
		_ = listener.Close()
		n.discard()
		return err
	}
	stopAdmin, err := n.serveAdmin()
	if err != nil {
		_ = listener.Close()
		n.discard()
		return fmt.Errorf("listen for administration: %w", err)
	}
	defer stopAdmin() // the last to go: it shows how the rest does
	if n.forward != nil {
		n.announce(ctx)
	}
	serving, stopServing := context.WithCancelCause(ctx)
	defer stopServing(nil)
	parts := n.start(context.WithoutCancel(ctx))
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			stopServing(fmt.Errorf("serve: %w", err))
		}
	}()
	info := Info{URL: urlOf(listener.Addr(), secure), Redis: n.redis.Embedded}
	n.config.Logger.Info("node serves", "addr", listener.Addr().String(), "redis", n.redis.Target, "adapter",
		n.config.Adapter)
	n.config.Listening(info)

	<-serving.Done()
	n.draining.Store(true)
	if ctx.Err() != nil { // and not an error of the server
		// Balancers may send clients until they have seen that this node is not ready.
		time.Sleep(n.config.DrainDelay)
	}
	n.drain(context.WithoutCancel(ctx), server)
	<-served
	n.leave(context.WithoutCancel(ctx), parts)
	if err := context.Cause(serving); !errors.Is(err, context.Canceled) {
		return err
	}
	n.config.Logger.Info("node stopped")
	return nil
}

// rightsTimeout is how long the start waits for Redis to say what it permits. The node starts without a Redis too.
const rightsTimeout = 2 * time.Second

// checkRights returns what Redis refuses to the adapter. It would refuse it for as long as the node runs.
func (n *Node) checkRights(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, rightsTimeout)
	defer cancel()
	err := adapter.Ready(ctx, n.io.Sockets())
	switch {
	case errors.Is(err, bus.ErrUnauthenticated):
		// It may be that of tomorrow: the password is asked for again with each connection.
		n.config.Logger.Error("redis does not take the user or the password; the node is not ready until it does",
			"err", err)
	case errors.Is(err, bus.ErrRefused):
		return fmt.Errorf("the adapter needs rights that redis does not give it, on channels %s*: %w",
			n.config.AdapterKey, err)
	case err != nil:
		n.config.Logger.Warn("node starts without redis", "err", err)
	}
	return nil
}

// part is a service of the node that is running.
type part struct {
	name string
	stop context.CancelFunc
	done chan struct{} // closed when its Run has returned
}

// start starts what runs beside the server, in the order in which it is to be stopped. A part ends when it is stopped,
// and not with ctx.
func (n *Node) start(ctx context.Context) (parts []part) {
	start := func(name string, run func(context.Context) error) {
		ctx, stop := context.WithCancel(ctx)
		p := part{name: name, stop: stop, done: make(chan struct{})}
		parts = append(parts, p)
		go func() {
			defer close(p.done)
			if err := run(ctx); err != nil {
				n.config.Logger.Error("a part of the node has stopped", "part", name, "err", err)
			}
		}()
	}
	start("loading of revocations", n.loadRevocations)
	start("key set", n.runKeys)
	if n.config.Watch {
		start("watch", n.watch)
	}
	if n.demo != nil && n.demo.generator != nil {
		start("demo", n.demo.generator.Run)
	}
	if n.worker != nil {
		start("worker", n.worker.Run)
	}
	if n.forward != nil {
		start("forwarder", n.forward.Run)
	}
	if n.adminUI != nil {
		start("admin ui", n.adminUI.Run)
	}
	start("gateway", n.gateway.Run)
	start("topics", n.topics.Run)
	start("requests", n.requests.Run)
	start("revocations", n.revocations.Run)
	return parts
}

// leaveTimeout bounds each step of the end after the clients are gone.
const leaveTimeout = 5 * time.Second

// forwardShare is the share of the grace period in which WebSockets that lead to other nodes are closed: that of the
// engine for its own.
const forwardShare = 0.7

// drain ends the clients' connections.
func (n *Node) drain(ctx context.Context, server *http.Server) {
	log := n.config.Logger
	log.Info("node drains", "sockets", n.gateway.Sessions(), "grace", n.config.Grace.String())
	closing, cancel := context.WithTimeout(ctx, n.config.Grace)
	defer cancel()
	if n.forward != nil {
		defer n.drainForwarder(closing)()
	}
	if err := n.engine.Shutdown(closing); err != nil { // spreads the closing over the time that it has
		log.Warn("some connections did not close", "err", err)
	}
	if n.forward != nil {
		n.forward.Await(closing)
	}
	ending, stop := context.WithTimeout(ctx, leaveTimeout)
	defer stop()
	if err := server.Shutdown(ending); err != nil {
		log.Warn("some requests did not end", "err", err)
		_ = server.Close()
	}
}

// drainForwarder ends what leads to other nodes until stop is called, which waits for that.
func (n *Node) drainForwarder(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		n.forward.Drain(ctx, time.Duration(float64(n.config.Grace)*forwardShare))
	}()
	return func() { cancel(); <-drained }
}

// leave stops the parts behind the clients, one after the other, Redis last.
func (n *Node) leave(ctx context.Context, parts []part) {
	for _, p := range parts {
		p.stop()
		select {
		case <-p.done:
		case <-time.After(leaveTimeout):
			n.config.Logger.Warn("a part of the node does not stop in time", "part", p.name)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	if n.tracer != nil {
		if err := n.tracer.Shutdown(ctx); err != nil {
			n.config.Logger.Warn("some traces were not exported", "err", err)
		}
	}
	if n.bus != nil {
		if err := n.bus.Close(ctx); err != nil {
			n.config.Logger.Warn("some messages could not be published", "err", err)
		}
	}
	if n.redis != nil && !n.redisIsLent() {
		if err := n.redis.Close(); err != nil {
			n.config.Logger.Warn("redis was not closed", "err", err)
		}
	}
}

// urlOf returns the URL at which a browser on this machine reaches a listener.
func urlOf(addr net.Addr, secure bool) string {
	host, port, err := net.SplitHostPort(addr.String())
	if ip := net.ParseIP(host); err == nil && ip.IsUnspecified() {
		host = "localhost"
	}
	scheme := "http"
	if secure {
		scheme = "https"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}
