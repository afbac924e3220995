// Package forward passes requests of a session on to the node that has it, so that a load balancer may send them to any
// node.
//
// Nodes find each other in Redis, each under its id, with which the ids of its sessions begin. A request that is passed
// on comes in on the owner's ordinary listener, under Path, and is signed: see signature.
package forward

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/internal/service"
	"github.com/architus/guildcast/internal/throttle"
)

// Path is where nodes serve each other: the path of the request follows it.
const Path = "/.guildcast/forward"

// Options of a Forwarder.
type Options struct {
	Logger *slog.Logger // required

	// URL is where other nodes reach this one. Empty: found from the interface that reaches Redis, at Redis, and from
	// the address that Listen is told.
	URL   string
	Redis []string // host:port of each, one of which the node can reach
	TLS   bool     // the node serves HTTPS

	// Proxies are the networks whose connections to the node must begin with a PROXY header; none for most nodes.
	Proxies []netip.Prefix

	// Secrets are what all nodes share: a request is signed with each, and good with any. At least one.
	Secrets [][]byte
}

// Forwarder is a node's part in it. All methods may be called concurrently.
type Forwarder struct {
	// Static after New.
	id       string
	log      *slog.Logger
	complain throttle.Minutely[string] // by message
	registry *registry
	signer   *signer
	identity *identity // nil: without TLS
	proxies  []netip.Prefix
	place    place
	life     service.Life

	tunnels tunnels
	polls   polls
	counts  counts
}

// counts are for Stats.
type counts struct {
	forwarded, unknown, unreachable, refused atomic.Uint64
	served, forged                           atomic.Uint64
}

// New returns a Forwarder for a node with a new id. It speaks to nobody before Announce.
func New(client goredis.UniversalClient, o Options) (*Forwarder, error) {
	f := &Forwarder{
		id: newID(), log: o.Logger, proxies: o.Proxies, place: place{url: o.URL, redis: o.Redis, secure: o.TLS},
	}
	if o.TLS {
		var err error
		if f.identity, err = newIdentity(); err != nil {
			return nil, err
		}
	}
	f.registry = newRegistry(client, f.newPeer)
	f.signer = newSigner(f.id, &f.registry.clock)
	f.SetSecrets(o.Secrets)
	return f, nil
}

// newID returns an id of 36 random bits. Of 1,000 nodes two share one once in 140,000 clusters; then clients of one
// lose their sessions when their requests come to a third.
func newID() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])[:6]
}

// ID is the node's, for the ids of its sessions.
func (f *Forwarder) ID() string { return f.id }

// SetSecrets replaces the secrets that all nodes share.
func (f *Forwarder) SetSecrets(secrets [][]byte) { f.signer.setSecrets(secrets) }

// Errors of Forward. Each means that nothing has been answered.
var (
	ErrUnknown     = errors.New("no such node")
	ErrUnreachable = errors.New("the node does not answer")
	ErrRefused     = errors.New("the node refuses what is passed on to it")
	ErrLoop        = errors.New("the request has been passed on already")
)

// attempt is one request that is passed on, in the context of it.
type attempt struct {
	uri string // as the client wrote it
	err error  // nil if it was answered
}

// key is of an attempt, or of a mark that a request has been passed on to this node, in a context.
type key int

const (
	attemptKey key = iota
	servedKey
)

// Forward passes a request on to a node. It has the form of engine.Options.Forward.
func (f *Forwarder) Forward(w http.ResponseWriter, r *http.Request, node string) error {
	ctx := r.Context()
	if ctx.Value(servedKey) != nil {
		return ErrLoop
	}
	p, err := f.registry.find(ctx, node)
	if err != nil {
		f.counts.unknown.Add(1)
		return err
	}
	a := &attempt{uri: r.URL.RequestURI()}
	if r.Method == http.MethodGet && r.Header.Get("Upgrade") == "" {
		poll := &poll{node, r.URL.Query().Get("sid")}
		f.polls.add(poll)
		defer f.polls.remove(poll)
	}
	p.proxy.ServeHTTP(&tunnelWriter{w, &f.tunnels}, r.WithContext(context.WithValue(ctx, attemptKey, a)))
	switch {
	case a.err == nil:
		f.counts.forwarded.Add(1)
		return nil
	case ctx.Err() != nil: // the client has left
		return nil
	}
	return f.failed(node, a.err)
}

// failed counts and returns why a node did not serve.
func (f *Forwarder) failed(node string, err error) error {
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return err
	}
	if errors.Is(err, ErrRefused) {
		f.counts.refused.Add(1)
		f.warn("a node refuses requests that are passed on to it: do all nodes have the same secret?", node, err)
		return err
	}
	f.counts.unreachable.Add(1)
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		f.registry.down(node)
	}
	f.warn("a node that should have a session does not answer", node, err)
	return errors.Join(ErrUnreachable, err)
}

func (f *Forwarder) warn(message, node string, err error) {
	if f.complain.Allow(message) {
		f.log.Warn(message, "node_id", node, "err", err)
	}
}

// sessions is what has the sessions of a node.
type sessions interface {
	http.Handler
	Release(sid string)
}

// Serve returns the handler for Path. next serves the clients' requests.
func (f *Forwarder) Serve(next sessions) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		uri := strings.TrimPrefix(r.URL.RequestURI(), Path)
		address, err := f.signer.verify(r.Method, uri, r.Header)
		if err != nil {
			f.counts.forged.Add(1)
			w.Header().Set(header, markRefused)
			w.Header().Set("Connection", "close")
			http.Error(w, "forbidden", http.StatusForbidden)
			f.log.Debug("a request that came as passed on is refused", "addr", r.RemoteAddr, "err", err)
			return
		}
		if r.Method == methodRelease {
			next.Release(r.URL.Query().Get("sid"))
			return
		}
		f.counts.served.Add(1)
		own := r.WithContext(context.WithValue(r.Context(), servedKey, true))
		location := *r.URL
		location.Path, location.RawPath = strings.TrimPrefix(location.Path, Path), ""
		own.URL, own.RequestURI, own.RemoteAddr = &location, uri, address
		own.Header = r.Header.Clone()
		own.Header.Del(header)
		w.Header().Set(header, markServed)
		next.ServeHTTP(w, own)
	})
}

// Listen is told where the node listens.
func (f *Forwarder) Listen(addr net.Addr) { f.place.listen(addr) }

// Announce makes the node known to the others.
func (f *Forwarder) Announce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	e := entry{Proxies: f.proxies}
	var err error
	if e.URL, err = f.place.find(ctx); err != nil {
		return err
	}
	if f.identity != nil && strings.HasPrefix(e.URL, "https:") {
		e.Pin = f.identity.pin
	}
	return f.registry.announce(ctx, f.id, e)
}

// Run keeps the node known until ctx ends.
func (f *Forwarder) Run(ctx context.Context) error {
	if err := f.life.Begin(); err != nil {
		return err
	}
	defer f.life.End()
	defer f.registry.close()
	tick := time.NewTicker(lease / 3)
	defer tick.Stop()
	known := true
	for {
		select {
		case <-ctx.Done():
			leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
			defer cancel()
			f.registry.withdraw(leaving, f.id) // else the lease ends
			return nil
		case <-tick.C:
		}
		err := f.Announce(ctx)
		switch {
		case err != nil && known && ctx.Err() == nil:
			f.log.Warn("other nodes can't pass requests on to this one", "err", err)
		case err == nil && !known:
			f.log.Info("other nodes can pass requests on to this one again")
		}
		known = err == nil
	}
}

// Drain ends what leads to other nodes until ctx ends, spread over spread: WebSockets are closed, no sooner than
// settle, and their clients connect again; polls are answered, and their clients poll again.
func (f *Forwarder) Drain(ctx context.Context, spread time.Duration) {
	tick := time.NewTicker(drainStep)
	defer tick.Stop()
	end := time.Now().Add(spread)
	for ctx.Err() == nil {
		steps := max(1, int(time.Until(end)/drainStep))
		f.tunnels.close((f.tunnels.open()+steps-1)/steps, time.Now().Add(-settle))
		for _, p := range f.polls.share(steps) {
			f.release(ctx, p)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	f.tunnels.close(f.tunnels.open(), time.Now())
}

// Await returns once no WebSocket leads to another node, or ctx has ended.
func (f *Forwarder) Await(ctx context.Context) {
	tick := time.NewTicker(drainStep)
	defer tick.Stop()
	for f.tunnels.open() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Stats of a Forwarder.
type Stats struct {
	Forwarded   uint64 // requests that another node answered
	Unknown     uint64 // requests of sessions that name no node of now
	Unreachable uint64 // requests whose node did not answer
	Refused     uint64 // requests that the node refused
	Served      uint64 // requests that other nodes passed on to this one
	Forged      uint64 // requests that came as passed on and were refused
	WebSockets  int    // open now that lead to another node
}

// Stats returns a snapshot.
func (f *Forwarder) Stats() Stats {
	c := &f.counts
	return Stats{
		Forwarded: c.forwarded.Load(), Unknown: c.unknown.Load(), Unreachable: c.unreachable.Load(),
		Refused: c.refused.Load(), Served: c.served.Load(), Forged: c.forged.Load(), WebSockets: f.tunnels.open(),
	}
}
