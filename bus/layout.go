package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	layoutWait  = 250 * time.Millisecond // for one answer; then another server is asked
	layoutTime  = 5 * time.Second        // for the first list
	maxReadings = 8                      // questions that wait for an answer
)

// layout lists servers of a cluster. go-redis asks one of them at random, and lists nothing while that one does not
// answer: then the list is the last one.
type layout struct {
	// Static after construction.
	b    *Bus
	list func(context.Context, func(context.Context, *redis.Client) error) error

	// Guarded by mu.
	mu       sync.Mutex
	servers  []*redis.Client // the last list, replaced and never changed
	asOf     time.Time       // when it was asked for
	changed  time.Time       // when other servers were listed than before; zero: never
	err      error           // why the last attempt found none
	reading  *reading        // the youngest; nil if it has ended
	readings int
}

// reading is one question for the list.
type reading struct {
	began time.Time
	done  chan struct{} // closed when it has ended
}

var errNoServers = errors.New("there are none")

// get returns the servers, at least one.
func (l *layout) get(ctx context.Context) ([]*redis.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, layoutTime)
	defer cancel()
	for {
		r := l.read()
		timer := time.NewTimer(max(time.Until(r.began.Add(layoutWait)), layoutWait/10))
		select {
		case <-r.done:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		l.mu.Lock()
		servers, err, ended := l.servers, l.err, l.reading != r
		l.mu.Unlock()
		switch {
		case len(servers) > 0:
			return servers, nil
		case ended && err != nil:
			return nil, fmt.Errorf("list servers of the cluster: %w", err)
		case ctx.Err() != nil:
			return nil, fmt.Errorf("list servers of the cluster: %w", ctx.Err())
		}
	}
}

// read asks for the list, unless somebody has just done so.
func (l *layout) read() *reading {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.reading
	if r != nil && (time.Since(r.began) < layoutWait || l.readings == maxReadings) {
		return r
	}
	r = &reading{began: time.Now(), done: make(chan struct{})}
	if !l.b.spawn(func() { l.answer(r) }) {
		l.err = ErrClosed
		close(r.done)
		return r
	}
	l.reading = r
	l.readings++
	return r
}

func (l *layout) answer(r *reading) {
	var mu sync.Mutex
	var servers []*redis.Client
	err := l.list(l.b.ctx, func(_ context.Context, c *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		servers = append(servers, c)
		return nil
	})
	if err == nil && len(servers) == 0 {
		err = errNoServers
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	// A server that was frozen answers late, with what it knew before.
	if err == nil && r.began.After(l.asOf) {
		if len(l.servers) > 0 && !sameServers(l.servers, servers) {
			l.changed = time.Now()
		}
		l.servers, l.asOf = servers, r.began
	}
	l.err = err
	l.readings--
	if l.reading == r {
		l.reading = nil
	}
	close(r.done)
}

// sameServers reports whether both lists, without doubles, are of the same addresses.
func sameServers(a, b []*redis.Client) bool {
	addrs := map[string]bool{}
	for _, c := range a {
		addrs[c.Options().Addr] = true
	}
	for _, c := range b {
		if !addrs[c.Options().Addr] {
			return false
		}
	}
	return len(a) == len(b)
}

// changedWithin reports whether other servers were listed than before, less than d ago.
func (l *layout) changedWithin(d time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.changed.IsZero() && time.Since(l.changed) < d
}

// lacks reports whether no server of the last list is at addr.
func (l *layout) lacks(addr string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.servers {
		if c.Options().Addr == addr {
			return false
		}
	}
	return len(l.servers) > 0
}
