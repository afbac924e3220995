// Package node is one node of the cluster: it builds the parts, joins them, and starts and stops them in order.
package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter"
	"github.com/architus/guildcast/adapter/bus"
	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/handlers"
	"github.com/architus/guildcast/internal/mockbot"
	"github.com/architus/guildcast/permissions"
	"github.com/architus/guildcast/permissions/jwks"
	"github.com/architus/guildcast/redis"
)

// Node is one node. New builds it, Run runs it, once.
type Node struct {
	config   Config
	draining atomic.Bool

	tls      *tls.Config // nil without TLS
	registry *prometheus.Registry
	redis    *redis.Connection
	bus      *bus.Bus
	keys     *jwks.Source // nil without
	io       *socket.Server
	engine   *engine.Handler
	gateway  *handlers.Gateway
	handler  http.Handler
	demo     *demo // nil without
	topics   *redis.Topics
	entities *redis.Entities
	requests *redis.Requests

	// Which tokens were taken back: known is what the node knows, revocations how it learns of it.
	known       permissions.Revocations
	revocations *redis.Revocations
	verifier    *gate
}

// New builds a node from its configuration. It asks nothing of the network, so that an error is always a mistake in the
// configuration.
func New(c Config) (_ *Node, err error) {
	n := &Node{config: c.withDefaults(), registry: prometheus.NewRegistry()}
	defer func() {
		if err != nil {
			n.discard()
		}
	}()
	if n.tls, err = loadTLS(c.TLSCert, c.TLSKey); err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(n.config.Addr)
	if err == nil {
		_, err = net.LookupPort("tcp", port) // a number, or a name from the system's list
	}
	if err != nil {
		return nil, fmt.Errorf("address to listen on: %w", err)
	}
	policy, err := loadPolicy(c.PolicyFile)
	if err != nil {
		return nil, err
	}
	if n.verifier, err = n.newVerifier(); err != nil {
		return nil, err
	}
	if n.redis, err = redis.Connect(n.config.Redis); err != nil {
		return nil, err
	}
	n.bus = bus.New(n.redis.Client, bus.Options{Logger: n.config.Logger})
	constructor, adapterStats := n.adapter()
	if n.io, n.engine, err = engine.New(n.serverOptions(constructor), engine.Options{Logger: n.config.Logger}); err != nil {
		return nil, err
	}
	bot := mockbot.New(mockbot.Config{})
	if err = n.join(policy, bot); err != nil {
		return nil, err
	}
	if c.Demo != nil {
		if n.demo, err = newDemo(n, bot); err != nil {
			return nil, err
		}
	}
	if err = n.registerStats(adapterStats); err != nil {
		return nil, err
	}
	if n.handler, err = n.routes(); err != nil {
		return nil, err
	}
	return n, nil
}

// join builds the gateway and what it asks of Redis.
func (n *Node) join(policy *permissions.Policy, bot *mockbot.Bot) error {
	c := &n.config
	// Each needs the other: topics have no messages before somebody acquires one, through the gateway.
	n.topics = redis.NewTopics(n.bus, redis.TopicsOptions{
		Prefix: c.TopicPrefix, Logger: c.Logger,
		OnMessage: func(t event.Topic, payload []byte) { n.gateway.Message(t, payload) },
		OnMissed:  func(t event.Topic, reason string) { n.gateway.Resync(t, reason) },
	})
	n.entities = redis.NewEntities(n.redis.Client, c.Logger)
	n.requests = redis.NewRequests(n.redis.Client, n.bus, redis.RequestsOptions{
		Shards: c.Shards, Timeout: c.RequestWait, MaxInFlight: c.Limits.RequestsPerNode, Logger: c.Logger,
	})
	parts := handlers.Parts{
		Verifier: n.verifier, Revocations: &n.known, Filter: permissions.NewFilter[*engine.Conn](policy),
		Topics: n.topics, Pools: n.entities, Requests: n.requests,
	}
	if c.Interpreter == InterpreterEmbedded {
		parts.Interpreter = bot
	}
	var err error
	n.gateway, err = handlers.New(n.io, parts, handlers.Config{
		Logger: c.Logger, Registerer: n.registry, TokenOptional: c.TokenOptional, ExpiryWarning: c.ExpiryWarning,
		TrustedProxies: c.TrustedProxies, Limits: c.Limits,
	})
	if err != nil {
		return err
	}
	n.revocations = redis.NewRevocations(n.redis.Client, n.bus, redis.RevocationsOptions{Apply: n.applyRevocation, Logger: c.Logger})
	return nil
}

// discard closes what New has opened before something went wrong; nobody has connected yet.
func (n *Node) discard() {
	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	if n.engine != nil {
		_ = n.engine.Shutdown(ctx)
	}
	n.leave(ctx)
}

func (n *Node) newVerifier() (*gate, error) {
	c := &n.config
	o := permissions.VerifierOptions{Secrets: c.Secrets, Issuer: c.Issuer, Audience: c.Audience, Leeway: c.Leeway, Revocations: &n.known}
	if c.JWKS != "" {
		keys, err := jwks.New(c.JWKS, jwks.Options{Refresh: c.JWKSRefresh, Logger: c.Logger})
		if err != nil {
			return nil, err
		}
		n.keys, o.Keys = keys, keys
	}
	verifier, err := permissions.NewVerifier(o)
	if err != nil {
		return nil, err
	}
	return &gate{Verifier: verifier}, nil
}

func loadPolicy(file string) (*permissions.Policy, error) {
	policy := permissions.DefaultPolicy()
	if file == "" {
		return policy, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	if policy, err = policy.With(data); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return policy, nil
}

func loadTLS(cert, key string) (*tls.Config, error) {
	switch {
	case cert == "" && key == "":
		return nil, nil
	case cert == "" || key == "":
		return nil, errors.New("TLS needs both a certificate and a key")
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("load the TLS certificate: %w", err)
	}
	// Socket.IO needs HTTP/1.1 for its WebSockets, and polling gains nothing from HTTP/2.
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}, nil
}

// compressFrom is the size in bytes from which a message is compressed, where it may be.
const compressFrom = 1024

// serverOptions are those of the Socket.IO server. CORS is not among them: see origins.
func (n *Node) serverOptions(a socket.AdapterConstructor) *socket.ServerOptions {
	c := &n.config
	o := socket.DefaultServerOptions()
	o.SetAdapter(a)
	o.SetServeClient(false)
	o.SetAllowEIO3(c.AllowEIO3)
	if c.PingInterval > 0 {
		o.SetPingInterval(c.PingInterval)
	}
	if c.PingTimeout > 0 {
		o.SetPingTimeout(c.PingTimeout)
	}
	if c.MaxMessageBytes > 0 {
		o.SetMaxHttpBufferSize(c.MaxMessageBytes)
	}
	if c.Compression {
		o.SetPerMessageDeflate(&types.PerMessageDeflate{Threshold: compressFrom})
	}
	return o
}

// adapter is how the node speaks to other Socket.IO servers, and what is counted of it.
func (n *Node) adapter() (socket.AdapterConstructor, func() adapter.Stats) {
	c := &n.config
	if c.Adapter == AdapterClassic {
		a := adapter.New(n.redis.Client, adapter.Options{Key: c.AdapterKey, RequestsTimeout: c.AdapterWait, Logger: c.Logger, Bus: n.bus})
		return a, a.Stats
	}
	modes := map[AdapterMode]adapter.SubscriptionMode{
		AdapterSharded: adapter.Dynamic, AdapterShardedStatic: adapter.Static, AdapterShardedDynamicPrivate: adapter.DynamicPrivate,
	}
	a := adapter.NewSharded(n.redis.Client, adapter.ShardedOptions{
		ChannelPrefix: c.AdapterKey, SubscriptionMode: modes[c.Adapter], RequestsTimeout: c.AdapterWait, Logger: c.Logger, Bus: n.bus,
	})
	return a, a.Stats
}

// Run serves until ctx ends, then drains: readiness goes, the sockets are closed over the grace period, the adapter
// leaves the cluster, and Redis is closed last. It returns after all of its goroutines have.
func (n *Node) Run(ctx context.Context) error {
	listener, err := net.Listen("tcp", n.config.Addr)
	if err != nil {
		n.discard()
		return fmt.Errorf("listen: %w", err)
	}
	if n.tls != nil {
		listener = tls.NewListener(listener, n.tls)
	}
	server := &http.Server{
		Handler: n.handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
	}
	serving, stopServing := context.WithCancelCause(ctx)
	defer stopServing(nil)
	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBackground()
	var running sync.WaitGroup
	n.startBackground(background, &running)
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			stopServing(fmt.Errorf("serve: %w", err))
		}
	}()
	info := Info{URL: urlOf(listener.Addr(), n.tls != nil), Redis: n.redis.Embedded}
	n.config.Logger.Info("node serves", "addr", listener.Addr().String(), "redis", n.redis.Target, "adapter", n.config.Adapter)
	n.config.Listening(info)

	<-serving.Done()
	n.drain(context.WithoutCancel(ctx), server)
	<-served
	stopBackground()
	running.Wait()
	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	n.leave(leaving)
	if err := context.Cause(serving); !errors.Is(err, context.Canceled) {
		return err
	}
	n.config.Logger.Info("node stopped")
	return nil
}

// startBackground starts what runs beside the server until ctx ends.
func (n *Node) startBackground(ctx context.Context, running *sync.WaitGroup) {
	running.Go(func() { n.loadRevocations(ctx) })
	if n.keys != nil {
		running.Go(func() { _ = n.keys.Run(ctx) }) // returns nil only
	}
	if n.demo != nil {
		n.demo.start(ctx, running)
	}
}

// leaveTimeout bounds each step of the end after the clients are gone.
const leaveTimeout = 5 * time.Second

// drain ends the clients' connections.
func (n *Node) drain(ctx context.Context, server *http.Server) {
	log := n.config.Logger
	n.draining.Store(true)
	log.Info("node drains", "sockets", n.gateway.Sessions(), "grace", n.config.Grace)
	closing, cancel := context.WithTimeout(ctx, n.config.Grace)
	defer cancel()
	if err := n.engine.Shutdown(closing); err != nil { // spreads the closing over the time that it has
		log.Warn("some connections did not close", "err", err)
	}
	ctx, cancel = context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		log.Warn("some requests did not end", "err", err)
		_ = server.Close()
	}
}

// leave ends what stands behind the clients, Redis last.
func (n *Node) leave(ctx context.Context) {
	log := n.config.Logger
	if n.gateway != nil {
		if err := n.gateway.Close(ctx); err != nil {
			log.Warn("some requests of clients did not end", "err", err)
		}
	}
	if n.topics != nil {
		n.topics.Close()
	}
	if n.requests != nil {
		n.requests.Close()
	}
	if n.revocations != nil {
		n.revocations.Close()
	}
	if n.bus != nil {
		if err := n.bus.Close(ctx); err != nil {
			log.Warn("some messages could not be published", "err", err)
		}
	}
	if n.redis != nil {
		if err := n.redis.Close(); err != nil {
			log.Warn("redis was not closed", "err", err)
		}
	}
}

// urlOf is where a browser on this machine reaches a listener.
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
