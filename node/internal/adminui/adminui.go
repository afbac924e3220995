// Package adminui serves the official Socket.IO admin UI: the namespace that its page connects to, with what happens on
// this server. The page sees the whole cluster, because all servers send to the same namespace.
package adminui

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zishang520/socket.io/v2/socket"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/time/rate"

	"github.com/architus/guildcast/adapter"
	"github.com/architus/guildcast/internal/service"
)

// Namespace is where the page connects.
const Namespace = "/admin"

const (
	// statsEvery is what the page expects: a server that is silent for 10 s is shown as gone.
	statsEvery = 2 * time.Second

	// maxQueued bounds what waits to be sent to the pages. What is more is left out, and counted.
	maxQueued = 4096

	// eventsPerSecond bounds the events of sockets that are shown, each of which goes to all servers.
	eventsPerSecond = 1000
)

// Options of a UI.
type Options struct {
	Logger *slog.Logger // required

	User         string // required
	PasswordHash string // of bcrypt; required

	Write      bool // whether the page may emit, join, leave and disconnect
	Production bool // whether it is told of servers only, and not of sockets, rooms and events

	Clients func() (all, polling int) // Engine.IO sessions of the server; required
	Cluster *adapter.Emitter          // reaches namespaces that this server does not have; required
}

// UI is a server's part in it. All methods may be called concurrently.
type UI struct {
	// Static after New.
	o     Options
	io    *socket.Server
	nsp   socket.Namespace
	login *login
	began time.Time

	queue   chan event // written by anybody, read by Run
	dropped atomic.Uint64
	shown   *rate.Limiter
	tally   tally
	life    service.Life
}

// event is one for all pages.
type event struct {
	name string
	args []any
}

// New adds the namespace to a server. It must come before other listeners for connections, so that what these do is
// shown. Nothing is sent before Run.
func New(io *socket.Server, o Options) (*UI, error) {
	if _, err := bcrypt.Cost([]byte(o.PasswordHash)); err != nil {
		return nil, fmt.Errorf("the password is no bcrypt hash: %w", err)
	}
	if o.User == "" {
		return nil, errors.New("the user has no name")
	}
	u := &UI{
		o: o, io: io, nsp: io.Of(Namespace, nil), login: newLogin(o.User, []byte(o.PasswordHash)), began: time.Now(),
		queue: make(chan event, maxQueued), shown: rate.NewLimiter(eventsPerSecond, eventsPerSecond),
	}
	u.nsp.Use(u.authenticate)
	if err := u.nsp.On("connection", func(args ...any) {
		if s, ok := args[0].(*socket.Socket); ok {
			u.connect(s)
		}
	}); err != nil {
		return nil, err
	}
	return u, u.instrument()
}

// Run sends to the pages until ctx ends. Call it at most once.
func (u *UI) Run(ctx context.Context) error {
	if err := u.life.Begin(); err != nil {
		return fmt.Errorf("run admin ui: %w", err)
	}
	defer u.life.End()
	defer u.login.close()
	tick := time.NewTicker(statsEvery)
	defer tick.Stop()
	_ = u.nsp.Emit("server_stats", u.stats())
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-u.queue:
			_ = u.nsp.Emit(e.name, e.args...) // fails for reserved names only
		case <-tick.C:
			_ = u.nsp.Emit("server_stats", u.stats())
			if n := u.dropped.Swap(0); n > 0 {
				u.o.Logger.Warn("admin ui does not show all events", "left_out", n)
			}
		}
	}
}

// emit queues an event for the pages of the cluster. It never waits.
func (u *UI) emit(name string, args ...any) {
	select {
	case u.queue <- event{name, args}:
	default:
		u.dropped.Add(1)
	}
}

// features are what the page offers.
func (u *UI) features() []any {
	features := []any{"AGGREGATED_EVENTS"}
	if !u.o.Production {
		features = append(features, "ALL_EVENTS")
	}
	if u.o.Write {
		features = append(features, "EMIT", "JOIN", "LEAVE", "DISCONNECT", "MJOIN", "MLEAVE", "MDISCONNECT")
	}
	return features
}

// connect serves a page that is logged in.
func (u *UI) connect(s *socket.Socket) {
	if u.o.Write {
		u.command(s)
	}
	_ = s.Emit("session", u.login.newSession(time.Now()))
	_ = s.Emit("config", map[string]any{"supportedFeatures": u.features()})
	if !u.o.Production {
		u.fetch(func(sockets []any) { _ = s.Emit("all_sockets", sockets) })
	}
}

// fetch calls done with the sockets of all namespaces of the server, wherever in the cluster they are connected.
func (u *UI) fetch(done func([]any)) {
	var mu sync.Mutex
	all, missing := []any{}, len(u.namespaces())
	for _, nsp := range u.namespaces() {
		nsp.Except().FetchSockets()(func(sockets []*socket.RemoteSocket, err error) {
			if err != nil { // some servers have not answered; the others' are shown
				u.o.Logger.Debug("admin ui could not fetch all sockets", "namespace", nsp.Name(), "err", err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, s := range sockets {
				all = append(all, serialize(s, nsp.Name()))
			}
			if missing--; missing == 0 {
				done(all)
			}
		})
	}
}

// namespaces are those of this server.
func (u *UI) namespaces() []socket.Namespace { return []socket.Namespace{u.io.Sockets(), u.nsp} }
