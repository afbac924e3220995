package bus

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// route names a receiving connection: the main one, or, for sharded pub/sub in a cluster, that to a primary.
type route string

const (
	mainRoute route = ""
	anyShard  route = "?" // depends on the channel
)

// kind is that of what is lost with a route: all kinds with the main one.
func (r route) kind() Kind {
	if r == mainRoute {
		return Channel
	}
	return Shard
}

// router knows which server a command goes to.
type router interface {
	// supports says why the client can't be used, if so.
	supports() error
	// route of a kind: mainRoute or anyShard.
	route(Kind) route
	// main returns how to connect for PUBLISH, SUBSCRIBE and PSUBSCRIBE.
	main(context.Context) (*redis.Options, error)
	// owner returns the route of a sharded channel and how to connect to it.
	owner(ctx context.Context, channel string) (route, *redis.Options, error)
	// moved takes note of a MOVED reply; it reports whether there is something to try again.
	moved(replyError) bool
	// left takes note that the server at addr has given a sharded channel up.
	left(channel, addr string)
	// stale says that a server did not answer, so that the layout may have changed.
	stale()
}

// singleClient is a redis.Client, to one server or to what Sentinel calls the master.
type singleClient interface{ Options() *redis.Options }

// clusterClient is a redis.ClusterClient.
type clusterClient interface {
	MasterForKey(ctx context.Context, key string) (*redis.Client, error)
	ForEachMaster(ctx context.Context, fn func(context.Context, *redis.Client) error) error
	ForEachShard(ctx context.Context, fn func(context.Context, *redis.Client) error) error
	ReloadState(ctx context.Context)
}

func newRouter(b *Bus, client redis.UniversalClient) router {
	switch c := client.(type) {
	case clusterClient:
		return &clusterRouter{
			client: c, patches: map[uint16]patch{}, formers: map[uint16]patch{},
			primaries: layout{b: b, list: c.ForEachMaster}, servers: layout{b: b, list: c.ForEachShard},
		}
	case singleClient:
		return singleRouter{c}
	default:
		return noRouter{fmt.Errorf("%w: client of type %T is neither *redis.Client nor *redis.ClusterClient",
			ErrUnsupported, c)}
	}
}

type noRouter struct{ err error }

func (r noRouter) supports() error                              { return r.err }
func (r noRouter) route(Kind) route                             { return mainRoute }
func (r noRouter) main(context.Context) (*redis.Options, error) { return nil, r.err }
func (r noRouter) moved(replyError) bool                        { return false }
func (r noRouter) left(string, string)                          {}
func (r noRouter) stale()                                       {}
func (r noRouter) owner(context.Context, string) (route, *redis.Options, error) {
	return mainRoute, nil, r.err
}

type singleRouter struct{ client singleClient }

func (r singleRouter) supports() error                              { return nil }
func (r singleRouter) route(Kind) route                             { return mainRoute }
func (r singleRouter) main(context.Context) (*redis.Options, error) { return r.client.Options(), nil }
func (r singleRouter) moved(replyError) bool                        { return false }
func (r singleRouter) left(string, string)                          {}
func (r singleRouter) stale()                                       {}
func (r singleRouter) owner(context.Context, string) (route, *redis.Options, error) {
	return mainRoute, r.client.Options(), nil
}

// clusterRouter asks go-redis for the layout, and believes a MOVED reply more, until go-redis has had time to reload.
type clusterRouter struct {
	client    clusterClient
	primaries layout
	servers   layout // replicas too

	mu      sync.Mutex
	patches map[uint16]patch // by slot
	formers map[uint16]patch // by slot: which server has given it up
	shunned string           // address of the server that the main connection was lost to last
}

// patch is what a MOVED reply or an eviction said.
type patch struct {
	addr  string
	until time.Time
}

const (
	patchLife  = 10 * time.Second
	formerLife = 2 * time.Second // in which every server of the cluster has learnt who owns a slot
)

var errFormerOwner = errors.New("the server that has given it up knows no other")

func (r *clusterRouter) supports() error { return nil }

func (r *clusterRouter) route(k Kind) route {
	if k == Shard {
		return anyShard
	}
	return mainRoute
}

func (r *clusterRouter) main(ctx context.Context) (*redis.Options, error) {
	all, err := r.primaries.get(ctx)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	shunned := r.shunned
	r.mu.Unlock()
	c := all[rand.IntN(len(all))]
	if c.Options().Addr == shunned { // it may be frozen, or cut off
		c = all[rand.IntN(len(all))]
	}
	return c.Options(), nil
}

// shun has another server than that at addr preferred.
func (r *clusterRouter) shun(addr string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shunned = addr
}

func (r *clusterRouter) owner(ctx context.Context, channel string) (route, *redis.Options, error) {
	slot := slotOf(channel)
	r.mu.Lock()
	p, ok := r.patches[slot]
	if ok && time.Now().After(p.until) {
		delete(r.patches, slot)
		ok = false
	}
	former := r.formers[slot].addr
	if time.Now().After(r.formers[slot].until) {
		delete(r.formers, slot)
		former = ""
	}
	r.mu.Unlock()
	c, err := r.client.MasterForKey(ctx, channel)
	if err == nil && !ok && c.Options().Addr == former {
		r.stale()
		if p.addr, err = successor(ctx, c, slot); err != nil {
			return "", nil, fmt.Errorf("owner of slot %d: %w", slot, err)
		}
		ok = true
	}
	if err == nil && (!ok || c.Options().Addr == p.addr) {
		return route(c.Options().Addr), c.Options(), nil
	}
	if !ok {
		return "", nil, fmt.Errorf("owner of slot %d: %w", slot, err)
	}
	// A server that go-redis does not know yet is reached in the same way as its neighbours.
	all, err := r.primaries.get(ctx)
	if err != nil {
		return "", nil, err
	}
	for _, c := range all {
		if o := c.Options(); o.Addr == p.addr {
			return route(o.Addr), o, nil
		}
	}
	o := *all[0].Options()
	o.Addr = p.addr
	return route(o.Addr), &o, nil
}

// successor asks a server that has given a slot up who owns it now.
func successor(ctx context.Context, former *redis.Client, slot uint16) (addr string, err error) {
	// Raw: go-redis can't read a layout without hosts.
	ranges, err := former.Do(ctx, "cluster", "slots").Slice()
	if err != nil {
		return "", err
	}
	for _, r := range ranges {
		r, _ := r.([]any) // first, last, primary, replicas
		if len(r) < 3 {
			continue
		}
		first, _ := r[0].(int64)
		last, _ := r[1].(int64)
		server, _ := r[2].([]any)
		if int64(slot) < first || int64(slot) > last || len(server) < 2 {
			continue
		}
		host, _ := server[0].(string)
		port, _ := server[1].(int64)
		addr, ok := dialable(fmt.Sprintf("%s:%d", host, port))
		if ok && addr != former.Options().Addr {
			return addr, nil
		}
	}
	return "", errFormerOwner
}

// moved reads "MOVED <slot> <host>:<port>". A host that is empty, or "?", is for go-redis to find.
func (r *clusterRouter) moved(e replyError) bool {
	fields := strings.Fields(string(e))
	if len(fields) != 3 || e.code() != "MOVED" {
		return false
	}
	slot, err := strconv.ParseUint(fields[1], 10, 14)
	if addr, ok := dialable(fields[2]); ok && err == nil {
		r.mu.Lock()
		r.patches[uint16(slot)] = patch{addr: addr, until: time.Now().Add(patchLife)}
		r.mu.Unlock()
	}
	r.stale()
	return true
}

// left implements router. A primary that was replaced would take a subscription again, as a replica of its successor.
// What a replica hears comes by a way that loses messages while the two change places.
func (r *clusterRouter) left(channel, addr string) {
	r.mu.Lock()
	r.formers[slotOf(channel)] = patch{addr: addr, until: time.Now().Add(formerLife)}
	r.mu.Unlock()
	r.stale()
}

// dialable turns an address as Redis writes it, with nothing around an IPv6 host, into one as package net has it.
func dialable(addr string) (string, bool) {
	colon := strings.LastIndexByte(addr, ':')
	if colon < 0 {
		return "", false
	}
	host, port := strings.Trim(addr[:colon], "[]"), addr[colon+1:]
	n, err := strconv.ParseUint(port, 10, 16)
	return net.JoinHostPort(host, port), err == nil && n > 0 && host != "" && host != "?" &&
		!strings.ContainsAny(host, "[]")
}

func (r *clusterRouter) stale() { r.client.ReloadState(context.Background()) }
