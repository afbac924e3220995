// Package node is one node of the cluster: it builds the parts, joins them, and starts and stops them in order.
package node

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/handlers"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/internal/mockbot"
	"github.com/architus/guildcast/internal/redisurl"
	"github.com/architus/guildcast/internal/service"
	"github.com/architus/guildcast/internal/throttle"
	"github.com/architus/guildcast/internal/traces"
	"github.com/architus/guildcast/internal/wake"
	"github.com/architus/guildcast/node/internal/adminui"
	"github.com/architus/guildcast/node/internal/forward"
	"github.com/architus/guildcast/permissions"
	"github.com/architus/guildcast/redis"
	"github.com/architus/guildcast/worker"
)

// Node is one node. New builds it, Run runs it, once.
type Node struct {
	config   Config
	life     service.Life
	draining atomic.Bool

	acceptFailures, proxyHeadersRefused atomic.Uint64

	// What a reload replaces: live is what was read last, and apply puts it into effect.
	live      atomic.Pointer[live]
	newKeys   wake.Signal   // sent by apply, read by runKeys
	reloading chan struct{} // holds a value while somebody reloads
	reloads   struct{ ok, failed atomic.Uint64 }

	registry *prometheus.Registry
	network  network
	redis    *redisurl.Connection
	bus      *bus.Bus
	io       *socket.Server
	engine   *engine.Handler
	gateway  *handlers.Gateway
	filter   *permissions.Filter[*engine.Conn]
	handler  http.Handler
	demo     *demo              // nil without
	worker   *worker.Worker     // of the demo guilds; nil without
	adminUI  *adminui.UI        // nil without
	forward  *forward.Forwarder // nil: requests of other nodes' sessions are not passed on
	tracer   *traces.Tracer     // nil without
	topics   *redis.Topics
	entities *redis.Entities
	requests *redis.Requests

	// Revoked tokens: known holds them, revocations learns of them.
	known       permissions.Revocations
	revocations *redis.Revocations
	lines       throttle.Minutely[string] // by message
	verifier    gate
}

// New builds a node from its configuration. It asks nothing of the network, so that an error is always a mistake in the
// configuration.
func New(c Config) (*Node, error) { return newNode(c, network{net.Listen, redisurl.Connect}) }

// network is what a node listens and reaches Redis with.
type network struct {
	listen  func(network, addr string) (net.Listener, error)
	connect func(url string) (*redisurl.Connection, error)
}

func newNode(c Config, through network) (_ *Node, err error) {
	n := &Node{
		network: through,
		config:  c.withDefaults(), registry: prometheus.NewRegistry(),
		newKeys: wake.New(), reloading: make(chan struct{}, 1),
	}
	n.known.Max = n.config.MaxRevocations
	defer func() {
		if err != nil {
			n.discard()
		}
	}()
	if err = checkOptions(&n.config); err != nil {
		return nil, err
	}
	first, err := n.readLive(&n.config, nil)
	if err != nil {
		return nil, err
	}
	n.live.Store(first)
	n.verifier.current.Store(first.verifier)
	n.filter = permissions.NewFilter[*engine.Conn](first.policy)
	if n.config.Traces {
		if n.tracer, err = traces.New(traces.Options{Logger: n.config.Logger, Version: n.config.Version}); err != nil {
			return nil, wrong("traces", err)
		}
	}
	if n.redisIsLent() {
		n.redis = n.config.Demo.Redis
	} else if n.redis, err = n.network.connect(n.config.Redis); err != nil {
		return nil, wrong("redis", err)
	}
	redis.LogRefusals(n.redis.Client, n.config.Logger)
	if err = n.addForwarder(); err != nil {
		return nil, err
	}
	n.bus = bus.New(n.redis.Client, bus.Options{
		// Among the adapter's channels, so that rights on those are enough.
		Logger: n.config.Logger, ProbePrefix: n.config.AdapterKey + "-probe#", OnMoved: n.redis.Renew,
		PublishQueueBytes: n.config.PublishQueueBytes, ReceiveQueueBytes: n.config.ReceiveQueueBytes,
		ReceiveStall: n.config.ReceiveStall,
	})
	constructor, adapterStats := n.adapter()
	if n.io, n.engine, err = engine.New(n.serverOptions(constructor), n.engineOptions()); err != nil {
		return nil, err
	}
	if err = n.addAdminUI(); err != nil {
		return nil, err
	}
	bot := mockbot.New(mockbot.Config{
		MaxBytes: n.config.MockbotMaxBytes, StepsPerSecond: n.config.MockbotStepsPerSecond,
	})
	if err = n.join(bot); err != nil {
		return nil, err
	}
	if err = n.addDemo(bot); err != nil {
		return nil, err
	}
	if err = n.registerStats(adapterStats); err != nil {
		return nil, err
	}
	n.handler = n.routes()
	return n, nil
}

// checkOptions returns what is wrong with an option that no part of the node checks.
func checkOptions(c *Config) error {
	if err := checkAddr(c.Addr); err != nil {
		return wrong("addr", err)
	}
	if c.AdminAddr != "" {
		if err := checkAddr(c.AdminAddr); err != nil {
			return wrong("admin-addr", err)
		}
	}
	if c.ProxyProtocol && len(c.TrustedProxies) == 0 {
		return wrong("proxy-protocol", errors.New("the PROXY protocol needs --trusted-proxies, who alone may speak it"))
	}
	embedded := strings.HasPrefix(c.Redis, embeddedRedis)
	if c.Adapter != AdapterClassic && embedded {
		return wrong("adapter",
			errors.New("the sharded adapter needs a Redis of version 7: the embedded one has no sharded pub/sub"))
	}
	if c.Topics != TopicsPlain && embedded {
		return wrong("topics",
			errors.New("sharded topics need a Redis of version 7: the embedded one has no sharded pub/sub"))
	}
	if !validPath(c.Path) {
		return wrong("path",
			fmt.Errorf("path %q: must begin with a slash, not end with one, and have no braces", c.Path))
	}
	if c.TokenCookie != "" && (&http.Cookie{Name: c.TokenCookie}).Valid() != nil {
		return wrong("token-cookie", fmt.Errorf("%q is not the name of a cookie", c.TokenCookie))
	}
	return nil
}

// redisIsLent reports whether somebody else closes the connection to Redis.
func (n *Node) redisIsLent() bool { return n.config.Demo != nil && n.config.Demo.Redis != nil }

// checkAddr returns why nobody can listen on an address.
func checkAddr(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = net.LookupPort("tcp", port) // a number, or a name from the system's list
	}
	if err != nil {
		return fmt.Errorf("address to listen on: %w", err)
	}
	return nil
}

// join builds the gateway and what it asks of Redis.
func (n *Node) join(bot *mockbot.Bot) error {
	c := &n.config
	// Each needs the other: topics have no messages before somebody acquires one, through the gateway.
	n.topics = redis.NewTopics(n.bus, redis.TopicsOptions{
		Prefix: c.TopicPrefix, Sharded: c.Topics == TopicsSharded, Logger: c.Logger,
		History: history.NewReader(n.redis.Client, history.ReaderOptions{}),
		OnMessage: func(t event.Topic, p history.Position, payload []byte, at time.Time) {
			n.gateway.Receive(t, p, payload, at)
		},
		OnMissed: func(topics []event.Topic, reason string) { n.gateway.Resync(topics, reason) },
	})
	n.entities = redis.NewEntities(n.redis.Client, c.Logger)
	n.requests = redis.NewRequests(n.redis.Client, n.bus, redis.RequestsOptions{
		Shards: c.Shards, Timeout: c.RequestTimeout, MaxInFlight: maxInFlight(c.Limits.NodeRequests),
		MaxAnswerBytes: c.MaxAnswerBytes, MaxAnswerBudget: c.MaxAnswerBudget, MaxStream: c.MaxStream, Logger: c.Logger,
	})
	parts := handlers.Parts{
		Verifier: &n.verifier, Revocations: &n.known, Filter: n.filter,
		Topics: n.topics, Pools: n.entities, Backend: n.requests,
		History: history.NewReader(n.redis.Client, history.ReaderOptions{}),
	}
	if c.Interpreter == InterpreterEmbedded {
		parts.Interpreter = bot
	}
	var sent func([]string, []byte)
	if n.adminUI != nil && !c.AdminUI.Production {
		sent = n.adminUI.Sent
	}
	var err error
	n.gateway, err = handlers.New(n.io, parts, handlers.Config{
		Logger: c.Logger, Registerer: n.registry, TokenPerRequest: c.TokenPerRequest, UserPool: c.UserPool,
		TokenCookie: c.TokenCookie, Compat: c.Compat, ExpiryWarning: c.ExpiryWarning,
		TrustedProxies: c.TrustedProxies, Limits: c.Limits, RequestTimeout: c.RequestTimeout,
		ShareCompression: c.Compression == CompressionShared, Sent: sent, Tracer: n.tracer,
	})
	if err != nil {
		return err
	}
	n.revocations = redis.NewRevocations(n.redis.Client, n.bus, redis.RevocationsOptions{
		Apply: n.applyRevocation, Known: n.knownRevocations, Logger: c.Logger,
	})
	return nil
}

// maxInFlight is the bound of requests to workers that follows from the bound of clients' requests in progress, each of
// which asks one question at a time.
func maxInFlight(perNode int) int {
	if perNode < 0 {
		return math.MaxInt32
	}
	return perNode
}

// Check returns the error that New would return. It speaks to no Redis, and opens no port.
func Check(c Config) error {
	if c.Redis != "" && !strings.HasPrefix(c.Redis, embeddedRedis) {
		connection, err := redisurl.Connect(c.Redis) // dials nothing
		if err != nil {
			return wrong("redis", err)
		}
		_ = connection.Close()
		c.Adapter, c.Topics = AdapterClassic, TopicsPlain // others need the Redis that is not asked
	}
	c.Redis, c.Logger = embeddedRedis, nil
	n, err := New(c)
	if err == nil {
		n.discard()
	}
	return err
}

// discard closes what New has opened before something went wrong; nobody has connected yet.
func (n *Node) discard() {
	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	if n.engine != nil {
		_ = n.engine.Shutdown(ctx)
	}
	n.leave(ctx, nil)
}
