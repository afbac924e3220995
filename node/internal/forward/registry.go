package forward

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

const (
	// prefix of the keys of nodes in Redis.
	prefix = "guildcast:node:"
	// lease is how long a node is known that has said nothing more.
	lease = 15 * time.Second
	// askTimeout bounds a question to Redis.
	askTimeout = time.Second

	// How long an answer of Redis counts: that a node is there, and that it is not.
	knownFor  = 5 * time.Second
	absentFor = time.Second
	// maxLookups bounds the answers that are remembered. Anybody can name nodes that never were.
	maxLookups = 4096
)

// entry is a node in Redis.
type entry struct {
	URL string `json:"url"`           // where other nodes reach it
	Pin string `json:"pin,omitempty"` // of the certificate under which it serves them; see identity

	Proxies []netip.Prefix `json:"proxies,omitempty"` // whose connections must begin with a PROXY header
}

// registry finds nodes, and remembers them for a while.
type registry struct {
	client  goredis.UniversalClient
	newPeer func(id string, e entry) (*peer, error)
	clock   clock

	mu      sync.Mutex
	lookups map[string]*lookup // guarded by mu
}

// lookup is a question to Redis about a node, and its answer. All but done may be read once that is closed.
type lookup struct {
	done chan struct{}
	at   time.Time
	peer *peer // nil: absent
	err  error
}

func newRegistry(client goredis.UniversalClient, newPeer func(string, entry) (*peer, error)) *registry {
	return &registry{client: client, newPeer: newPeer, lookups: map[string]*lookup{}}
}

// announce stores a node, and reads the time.
func (r *registry) announce(ctx context.Context, id string, e entry) error {
	value, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("announce the node: %w", err)
	}
	if err := r.client.Set(ctx, prefix+id, value, lease).Err(); err != nil {
		return fmt.Errorf("announce the node: %w", err)
	}
	now, err := r.client.Time(ctx).Result()
	if err != nil {
		return fmt.Errorf("read the time of redis: %w", err)
	}
	r.clock.set(now)
	return nil
}

func (r *registry) withdraw(ctx context.Context, id string) { _ = r.client.Del(ctx, prefix+id).Err() }

// find returns a node, or ErrUnknown.
func (r *registry) find(ctx context.Context, id string) (*peer, error) {
	r.mu.Lock()
	before := r.lookups[id]
	l := before
	if l == nil || l.stale() {
		r.makeRoomLocked()
		l = &lookup{done: make(chan struct{})}
		r.lookups[id] = l
		r.mu.Unlock()
		r.ask(context.WithoutCancel(ctx), l, before, id) // others wait for it
		return l.peer, l.err
	}
	r.mu.Unlock()
	select {
	case <-l.done:
		return l.peer, l.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// stale reports whether it is time to ask again.
func (l *lookup) stale() bool {
	select {
	case <-l.done:
	default:
		return false // it is being asked
	}
	if l.peer == nil {
		return time.Since(l.at) > absentFor
	}
	return time.Since(l.at) > knownFor
}

// ask asks Redis. While that does not answer, what it said before counts.
func (r *registry) ask(ctx context.Context, l, before *lookup, id string) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	defer close(l.done)
	text, err := r.client.Get(ctx, prefix+id).Result()
	l.at = time.Now()
	switch {
	case errors.Is(err, goredis.Nil):
		l.err = ErrUnknown
	case err != nil && before != nil && before.peer != nil:
		l.peer = before.peer
		return
	case err != nil:
		l.err = fmt.Errorf("find the node in redis: %w", err)
	case before != nil && before.peer != nil && before.peer.text == text:
		l.peer = before.peer
		return
	default:
		l.peer, l.err = r.parse(id, text)
	}
	if before != nil && before.peer != nil {
		before.peer.close()
	}
}

func (r *registry) parse(id, text string) (*peer, error) {
	var e entry
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return nil, fmt.Errorf("node %s in redis: %w", id, err)
	}
	p, err := r.newPeer(id, e)
	if err != nil {
		return nil, fmt.Errorf("node %s in redis: %w", id, err)
	}
	p.text = text
	return p, nil
}

// down says that a node can't be reached: it is not tried again for a moment.
func (r *registry) down(id string) {
	l := &lookup{done: make(chan struct{}), at: time.Now(), err: ErrUnreachable}
	close(l.done)
	r.mu.Lock()
	before := r.lookups[id]
	r.lookups[id] = l
	r.mu.Unlock()
	before.closePeer()
}

// makeRoomLocked forgets the absent nodes, and those nobody has asked for in a minute, if there are too many.
func (r *registry) makeRoomLocked() {
	if len(r.lookups) < maxLookups {
		return
	}
	for id, l := range r.lookups {
		if l.stale() && (l.peer == nil || time.Since(l.at) > time.Minute) {
			delete(r.lookups, id)
			l.closePeer()
		}
	}
	if len(r.lookups) >= maxLookups { // all in this second
		clear(r.lookups)
	}
}

// closePeer closes the connections of a lookup that has been answered.
func (l *lookup) closePeer() {
	if l == nil {
		return
	}
	select {
	case <-l.done:
		if l.peer != nil {
			l.peer.close()
		}
	default:
	}
}

// close closes the connections to other nodes that nobody uses.
func (r *registry) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.lookups {
		l.closePeer()
	}
	clear(r.lookups)
}
