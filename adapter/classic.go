package adapter

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter/bus"
	"github.com/architus/guildcast/engine"
)

// Classic makes the adapters of a server's namespaces; it is a socket.AdapterConstructor.
type Classic struct {
	// Static after construction.
	client redis.UniversalClient
	opts   Options
	count  counters

	// Guarded by mu.
	mu    sync.Mutex
	buses map[*socket.Server]*serverBus
}

// serverBus is the connection that the namespaces of one server share. Two servers never share one: Redis, which
// counts the servers of a cluster by their connections, would see one.
type serverBus struct {
	bus  *bus.Bus
	refs int
}

// New returns the constructor of classic adapters for socket.ServerOptions.SetAdapter. The client stays the caller's,
// and must be closed after the server. New does not connect; each namespace subscribes when it is made, waits a short
// time for Redis to confirm that, and goes on trying if it does not. See [Ready].
func New(client redis.UniversalClient, opts Options) *Classic {
	opts.setDefaults()
	return &Classic{client: client, opts: opts, buses: map[*socket.Server]*serverBus{}}
}

// New implements socket.AdapterConstructor.
func (c *Classic) New(nsp socket.Namespace) socket.Adapter {
	a := &classic{Adapter: engine.MakeAdapter(), Classic: c, bus: c.acquire(nsp.Server()), uid: randomID(6)}
	a.Prototype(a)
	a.Construct(nsp)
	a.start()
	return a
}

// Stats returns the counters of all namespaces together.
func (c *Classic) Stats() Stats {
	s := c.count.stats()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.buses {
		s.Bus = b.bus.Stats()
	}
	return s
}

func (c *Classic) acquire(server *socket.Server) *bus.Bus {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.buses[server]
	if b == nil {
		b = &serverBus{bus: c.opts.Bus}
		if b.bus == nil {
			b.bus = bus.New(c.client, bus.Options{
				Logger: c.opts.Logger, OnState: c.opts.OnState, ProbePrefix: c.opts.Key + "-probe#",
			})
		}
		c.buses[server] = b
	}
	b.refs++
	return b.bus
}

// closeTimeout bounds the flushing of what is queued for Redis when a server is closed.
const closeTimeout = 2 * time.Second

func (c *Classic) release(server *socket.Server) {
	c.mu.Lock()
	b := c.buses[server]
	b.refs--
	last := b.refs == 0
	if last {
		delete(c.buses, server)
	}
	c.mu.Unlock()
	if !last || b.bus == c.opts.Bus {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := b.bus.Close(ctx); err != nil {
		c.opts.Logger.Warn("connection to redis was not closed in order", "err", err)
	}
}

// Ready waits until the adapter of a namespace, of New or NewSharded, hears all that it needs, and has seen that it may
// publish and count servers, or ctx ends. What Redis refuses, as with NOPERM where an ACL forbids a channel or a command,
// is returned at once; it wraps bus.ErrRefused. An adapter of another kind is ready.
func Ready(ctx context.Context, nsp socket.Namespace) error {
	if a, ok := nsp.Adapter().(interface{ Ready(context.Context) error }); ok {
		return a.Ready(ctx)
	}
	return nil
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// randomID returns n random letters and digits, as Node's uid2 does.
func randomID(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails
	for i := range b {
		b[i] = alphabet[int(b[i])%len(alphabet)]
	}
	return string(b)
}
