package adapter

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/architus/guildcast/adapter/internal/wire"
)

// maxPending bounds the requests of one namespace that wait for answers. When it is reached, a new one fails.
const maxPending = 10_000

// pending holds the requests that wait for answers. All methods may be called concurrently.
type pending struct {
	n atomic.Int64 // len(m); read without the lock

	mu sync.Mutex
	m  map[string]*request // Guarded by mu.
}

// request is one question to the other servers of a cluster.
type request struct {
	op      string
	want    int           // answers
	started time.Time     // when it was opened
	done    chan struct{} // closed by pending.add when all answers are there

	got []answer // Guarded by pending.mu.
}

// answer of one server to a request.
type answer struct {
	uid   string // empty if the server does not sign
	value wire.Value
}

// open stores a request that waits for want answers. It must be done before the request is published.
func (p *pending) open(op, id string, want int) (*request, error) {
	r := &request{op: op, want: want, started: time.Now(), done: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.m) >= maxPending {
		return nil, errTooMany
	}
	if p.m == nil {
		p.m = map[string]*request{}
	}
	p.m[id] = r
	p.n.Store(int64(len(p.m)))
	return r, nil
}

// add takes an answer to request id. It returns false if none waits for it; a second answer of one server is
// ignored.
func (p *pending) add(id string, a answer) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.m[id]
	if r == nil {
		return false
	}
	for _, g := range r.got {
		if a.uid != "" && g.uid == a.uid {
			return true
		}
	}
	r.got = append(r.got, a)
	if len(r.got) == r.want {
		p.removeLocked(id)
		close(r.done)
	}
	return true
}

// drop forgets request id.
func (p *pending) drop(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.removeLocked(id)
}

func (p *pending) removeLocked(id string) {
	delete(p.m, id)
	p.n.Store(int64(len(p.m)))
}

// answers returns what came so far.
func (p *pending) answers(r *request) []answer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return r.got[:len(r.got):len(r.got)]
}

// end forgets request id and returns the answers. cause is why the wait ended, nil if all are there; the
// error is an *IncompleteError without Missing.
func (p *pending) end(id string, r *request, cause error) ([]answer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if cause == nil || len(r.got) == r.want { // the last answer may have come meanwhile
		return r.got, nil
	}
	p.removeLocked(id)
	return r.got, &IncompleteError{Op: r.op, Got: len(r.got), Want: r.want, After: time.Since(r.started), Cause: cause}
}
