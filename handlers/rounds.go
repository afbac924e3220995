package handlers

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"
)

// roundPatience bounds how long the next round waits for the end of the one under way.
const roundPatience = time.Second

// question identifies what is read: equal questions have equal answers.
type question [sha256.Size]byte

func questionOf(text string) question { return sha256.Sum256([]byte(text)) }

// rounds let requests in progress that ask the same question share the answer. A round serves only requests that came
// before it began: a client that asks because of an event must not get an answer from before the event. Requests that
// come while a round is under way share the next one.
//
// Lock order: rounds.mu before Gateway.mu.
type rounds[T any] struct {
	spawn func(func()) bool // starts a goroutine; returns false once the gateway is closed
	ctx   context.Context   // of the gateway

	// If keeps is set, answers are kept for requests that ask later, as long as any request is in progress, and the
	// oldest are dropped at maxBytes. Otherwise an answer is held until its last request has released it, and refused
	// if it doesn't fit beside others.
	keeps bool

	// Guarded by mu.
	mu       sync.Mutex
	maxBytes int    // of the answers
	clock    uint64 // counts requests and rounds
	users    int    // requests in progress
	bytes    int    // held in answers
	tables   map[question]*table[T]
	kept     []*round[T] // oldest first
}

// table is the rounds of one question. Guarded by rounds.mu.
type table[T any] struct {
	latest *round[T] // under way or kept; nil if there is none to share
	next   *round[T] // not begun; nil if no request waits for it
}

// round asks a question once. Guarded by rounds.mu, except answer and err, which are static once done is closed.
type round[T any] struct {
	question question
	ask      func(context.Context) (answer T, bytes int, err error)
	began    uint64
	requests int                // that wait for it or hold its answer
	cancel   context.CancelFunc // set when it begins
	hurry    *time.Timer        // begins it after roundPatience; nil if no round was under way
	over     bool               // done is closed
	counted  int                // its share of rounds.bytes

	done   chan struct{}
	answer T
	err    error
}

func newRounds[T any](ctx context.Context, spawn func(func()) bool, maxBytes int, keeps bool) *rounds[T] {
	return &rounds[T]{ctx: ctx, spawn: spawn, maxBytes: maxBytes, keeps: keeps, tables: map[question]*table[T]{}}
}

// setMax replaces the bound of the answers. It holds from the next one on.
func (x *rounds[T]) setMax(maxBytes int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.maxBytes = maxBytes
}

// enter registers a request and returns when it came. The request must leave.
func (x *rounds[T]) enter() (came uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.users++
	x.clock++
	return x.clock
}

func (x *rounds[T]) leave() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.users--; x.users == 0 { // no request is left that came before the kept rounds
		for len(x.kept) > 0 {
			x.evictLocked()
		}
	}
}

// get returns an answer to a question from after a request came: from a round that other requests share, or from a new
// one, which calls ask. The answer must not be changed, and must be released.
func (x *rounds[T]) get(
	ctx context.Context, q question, came uint64, ask func(context.Context) (answer T, bytes int, err error),
) (answer T, release func(), err error) {
	r := x.join(q, came, ask)
	select {
	case <-r.done:
		err = r.err
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		x.release(r)
		return answer, nil, err
	}
	return r.answer, func() { x.release(r) }, nil
}

func (x *rounds[T]) join(q question, came uint64, ask func(context.Context) (T, int, error)) *round[T] {
	x.mu.Lock()
	defer x.mu.Unlock()
	t := x.tables[q]
	if t == nil {
		t = &table[T]{}
		x.tables[q] = t
	}
	if t.latest != nil && t.latest.began > came {
		t.latest.requests++
		return t.latest
	}
	if t.next != nil {
		t.next.requests++
		return t.next
	}
	r := &round[T]{question: q, ask: ask, requests: 1, done: make(chan struct{})}
	t.next = r
	if t.latest == nil || t.latest.over {
		x.beginLocked(t)
		return r
	}
	r.hurry = time.AfterFunc(roundPatience, func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		if t.next == r {
			x.beginLocked(t)
		}
	})
	return r
}

// beginLocked begins a table's next round.
func (x *rounds[T]) beginLocked(t *table[T]) {
	r := t.next
	t.latest, t.next = r, nil
	if r.hurry != nil {
		r.hurry.Stop()
	}
	x.clock++
	r.began = x.clock
	ctx, cancel := context.WithCancel(x.ctx)
	r.cancel = cancel
	if !x.spawn(func() { x.run(ctx, r) }) {
		r.err = context.Canceled
		x.endLocked(r, 0)
	}
}

func (x *rounds[T]) run(ctx context.Context, r *round[T]) {
	answer, bytes, err := r.ask(ctx)
	x.mu.Lock()
	defer x.mu.Unlock()
	if err == nil && !x.keeps && x.bytes > 0 && x.bytes+bytes > x.maxBytes {
		err = errTooManyRequests()
	}
	if r.err = err; err == nil {
		r.answer = answer
	}
	x.endLocked(r, bytes)
}

// endLocked ends a round, and begins the one that waits for its end.
func (x *rounds[T]) endLocked(r *round[T], bytes int) {
	r.over = true
	r.cancel()
	close(r.done)
	t := x.tables[r.question]
	mine := t != nil && t.latest == r
	if r.err == nil && (x.keeps && mine && x.users > 0 || !x.keeps && r.requests > 0) {
		r.counted = bytes
		x.bytes += bytes
	}
	switch {
	case !mine:
	case r.counted > 0 && x.keeps:
		x.kept = append(x.kept, r)
	default:
		t.latest = nil
	}
	for x.keeps && x.bytes > x.maxBytes && len(x.kept) > 0 {
		x.evictLocked()
	}
	if mine && t.next != nil {
		x.beginLocked(t)
	}
	x.clearLocked(r.question)
}

// evictLocked drops the oldest kept answer.
func (x *rounds[T]) evictLocked() {
	r := x.kept[0]
	x.kept[0] = nil
	x.kept = x.kept[1:]
	x.bytes -= r.counted
	if t := x.tables[r.question]; t != nil && t.latest == r {
		t.latest = nil
		x.clearLocked(r.question)
	}
}

// clearLocked removes a question's table if it has no round.
func (x *rounds[T]) clearLocked(q question) {
	if t := x.tables[q]; t != nil && t.latest == nil && t.next == nil {
		delete(x.tables, q)
	}
}

// release removes a request from a round. A round without requests is cancelled.
func (x *rounds[T]) release(r *round[T]) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if r.requests--; r.requests > 0 {
		return
	}
	t := x.tables[r.question]
	switch {
	case r.over && !x.keeps:
		x.bytes -= r.counted
		r.counted = 0
	case r.over:
	case r.began > 0:
		r.cancel()
		if t != nil && t.latest == r {
			if t.latest = nil; t.next != nil {
				x.beginLocked(t)
			}
		}
	default:
		r.hurry.Stop()
		t.next = nil
	}
	x.clearLocked(r.question)
}
