package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	eng "github.com/zishang520/engine.io/v2/engine"
	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/engine/internal/eio"
	"github.com/architus/guildcast/internal/defaults"
)

// ErrTransport reports an unsupported transport in the options.
var ErrTransport = errors.New("engine: transport is not supported")

// server is the Engine.IO server under a socket.Server. It embeds the library's base server, which holds the options
// with their defaults, the middlewares and the listeners.
type server struct {
	eng.BaseServer
	io          *socket.Server // Static after newServer, as all of this group.
	eio         *eio.Server
	options     Options
	log         *slog.Logger
	foreign     bool // the user has chosen a parser
	middlewares middlewareField
	names       interner

	rawListeners atomic.Bool // an Engine.IO socket has a listener for "data" or "message"
	draining     atomic.Bool // Shutdown has begun
	floods       atomic.Uint64
	inbound      inbound
	decoding     decoding

	mu    sync.Mutex
	first *Conn // Guarded by mu: head of the list of open connections.
	count int
}

// NewServer returns a Socket.IO server and the HTTP handler that serves its clients. opts may be nil, and is not
// changed. NewServer panics if the options can't work; New returns an error instead.
func NewServer(opts socket.ServerOptionsInterface, o Options) (*socket.Server, *Handler) {
	io, h, err := New(opts, o)
	if err != nil {
		panic(err)
	}
	return io, h
}

// New is NewServer, but returns an error if the options can't work. The error may be ErrTransport.
func New(opts socket.ServerOptionsInterface, o Options) (*socket.Server, *Handler, error) {
	o.setDefaults()
	s := &server{BaseServer: eng.MakeBaseServer(), options: o, log: o.Logger, middlewares: findMiddlewareField()}
	if !s.middlewares.ok {
		s.log.Warn("socket middlewares can't be found in this version of the library: events may be reordered")
	}
	own := socket.DefaultServerOptions()
	if opts != nil {
		own.Assign(opts)
	}
	s.prepare(own)
	s.Prototype(s)
	s.Construct(own)
	cfg, err := s.config(own)
	if err != nil {
		return nil, nil, err
	}
	s.options.MaxDecodedBytes = defaults.Positive(s.options.MaxDecodedBytes,
		decodedFactor*min(cfg.MaxHTTPBufferSize, math.MaxInt/decodedFactor))
	s.inbound.budget = int64(s.options.MaxInboundBudget)
	s.decoding = newDecoding(s.options.MaxDecodingBudget)
	s.io = socket.NewServer(nil, own)
	slimSockets(s.io.Sockets())
	if s.eio, err = eio.NewServer(cfg, s.accept); err != nil {
		return nil, nil, fmt.Errorf("engine: %w", err)
	}
	s.io.Bind(s)
	return s.io, newHandler(s, own), nil
}

// prepare sets our codec and adapter in the options, or wraps those of the user.
func (s *server) prepare(own *socket.ServerOptions) {
	if p := own.GetRawParser(); p != nil {
		s.foreign = true
		own.SetParser(foreignCodec{p})
	} else {
		own.SetParser(&codec{s})
	}
	if r := own.GetRawConnectionStateRecovery(); r != nil {
		// The library sets these defaults only if it chooses the adapter itself.
		if r.GetRawMaxDisconnectionDuration() == nil {
			r.SetMaxDisconnectionDuration((2 * time.Minute).Milliseconds())
		}
		if r.GetRawSkipMiddlewares() == nil {
			r.SetSkipMiddlewares(true)
		}
	}
	var inner socket.AdapterConstructor = AdapterBuilder{}
	if a := own.GetRawAdapter(); a != nil {
		inner = a
	} else if s.foreign && own.GetRawConnectionStateRecovery() != nil {
		inner = &socket.SessionAwareAdapterBuilder{} // our own logs packets in our codec
	}
	own.SetAdapter(hookedAdapter{s, inner})
}

// config converts the library's options.
func (s *server) config(own *socket.ServerOptions) (eio.Config, error) {
	opts := s.Opts()
	cfg := eio.Config{
		PingInterval:      opts.PingInterval(),
		PingTimeout:       opts.PingTimeout(),
		UpgradeTimeout:    opts.UpgradeTimeout(),
		MaxHTTPBufferSize: int(opts.MaxHttpBufferSize()),
		DisableUpgrades:   !opts.AllowUpgrades(),
		AllowEIO3:         opts.AllowEIO3(),
		Cookie:            opts.Cookie(),
		AllowRequest:      s.allowRequest(opts.AllowRequest()),
		Admit:             s.options.AdmitSession,
		Hooks:             s.hooks(),
		Logger:            s.log,
		QueueHard:         s.options.MaxQueueBytes,
		QueueBudget:       s.options.MaxQueueBudget,
		Flushers:          s.options.Flushers,
		DisablePoller:     s.options.DisablePoller,
		NodeID:            s.options.NodeID,
		Forward:           s.options.Forward,
	}
	for _, name := range opts.Transports().Keys() {
		if name != eio.Polling && name != eio.WebSocket {
			return cfg, fmt.Errorf("%w: %q (polling and websocket are)", ErrTransport, name)
		}
		cfg.Transports = append(cfg.Transports, name)
	}
	if len(cfg.Transports) == 0 {
		return cfg, fmt.Errorf("%w: the set of transports is empty", ErrTransport)
	}
	slices.Sort(cfg.Transports)
	if d := opts.PerMessageDeflate(); d != nil {
		cfg.Deflate = &eio.Compression{Threshold: d.Threshold}
		cfg.ContextTakeover = s.options.ContextTakeover
	}
	if c := own.GetRawHttpCompression(); c != nil { // only if the user set it: the base server has a default
		cfg.HTTPCompression = &eio.Compression{Threshold: c.Threshold}
	}
	if p := opts.InitialPacket(); p != nil {
		data, err := io.ReadAll(p)
		if err != nil {
			return cfg, fmt.Errorf("engine: read the initial packet: %w", err)
		}
		switch p.(type) {
		case *types.StringBuffer, *strings.Reader:
			cfg.InitialPacket = eio.TextFrame(data)
		default:
			cfg.InitialPacket = eio.BinaryFrame(data)
		}
	}
	return cfg, nil
}

// accept makes the Conn that owns a new session.
func (s *server) accept(h *eio.Handshake) (eio.Handler, *eio.Conn, error) {
	c := &Conn{srv: s}
	c.inbox.inbound = &s.inbound
	c.shake.fill(h, &s.names)
	return (*session)(c), &c.eio, nil
}

func (s *server) register(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.next = s.first
	if c.next != nil {
		c.next.prev = c
	}
	s.first = c
	s.count++
}

func (s *server) unregister(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		s.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	c.prev, c.next = nil, nil
	s.count--
}

// conns returns the open connections.
func (s *server) conns() []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*Conn, 0, s.count)
	for c := s.first; c != nil; c = c.next {
		all = append(all, c)
	}
	return all
}

// Clients returns a copy of the open sessions by id. (The library returns its own map.)
func (s *server) Clients() *types.Map[string, eng.Socket] {
	m := &types.Map[string, eng.Socket]{}
	for _, c := range s.conns() {
		m.Store(c.ID(), c.socket())
	}
	return m
}

// ClientsCount returns the number of open sessions.
func (s *server) ClientsCount() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return uint64(s.count)
}

// Init does nothing.
func (s *server) Init() {}

// Cleanup does nothing.
func (s *server) Cleanup() {}

// Close cuts all sessions, refuses new ones, and ends the server's goroutines. It does not wait, because a handler may
// call it. Handler.Shutdown waits.
func (s *server) Close() eng.BaseServer {
	s.draining.Store(true)
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	_ = s.eio.Shutdown(ended) // ctx has ended: Shutdown goes on in the background
	return s
}
