package handlers

import (
	"context"
	"sync"

	"github.com/architus/guildcast/internal/botwire"
	"github.com/architus/guildcast/permissions"
)

// task is a request, pool or interpret, that is handled concurrently with the events that follow it. It ends exactly
// once: with its last answer, with its own error, or with the error that aborts it.
type task struct {
	*request
	ctx    context.Context // ends with the task, and with the socket
	cancel context.CancelFunc

	slot  *slot
	bytes int // what the task holds until it ends, besides the bytes of its slot

	// allowed returns an error if claims no longer permit the task. It is nil if the task needs no elevation.
	allowed func(*permissions.Claims) error

	// mu is held while an answer is queued, so that nothing follows an abort. Queueing never waits for the client: a
	// paced answer waits before it.
	mu    sync.Mutex
	ended bool
}

// start runs work on a new goroutine, unless too many tasks are in progress. If work returns an error, that is the
// answer. start drops the request's members; bytes is the size of what work keeps of them.
func (s *session) start(r *request, bytes int, allowed func(*permissions.Claims) error, work func(*task) error) error {
	g := s.gateway
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return errNotElevated() // nobody hears it
	}
	// The claims may have ended or changed since the request was checked. Each change of the claims is followed by a
	// check of all tasks: either that finds this task, or this check finds the change.
	if c := s.claims.Load(); allowed != nil {
		if c == nil {
			return errNotElevated()
		}
		if err := allowed(c); err != nil {
			return err
		}
	}
	if !within(len(s.tasks)+1, g.limits().SocketRequests) ||
		len(s.tasks) > 0 && !within(s.held+bytes, g.limits().SocketBytes) {
		return errTooManyRequests()
	}
	slot := g.slots.take(s, bytes)
	if slot == nil {
		return errTooManyRequests()
	}
	r.forget()
	t := &task{request: r, slot: slot, bytes: bytes, allowed: allowed}
	t.ctx, t.cancel = context.WithCancel(g.ctx)
	if !g.spawn(func() { t.run(work) }) {
		slot.give()
		t.cancel()
		return errNotElevated() // the node is stopping; nobody hears it
	}
	if s.tasks == nil {
		s.tasks = map[*task]struct{}{}
	}
	s.held += bytes
	s.tasks[t] = struct{}{} // the task can't end before mu is free
	return nil
}

func (t *task) run(work func(*task) error) {
	s := t.session
	defer func() {
		if p := recover(); p != nil {
			s.panicked(t.event, p)
			t.abort(errInternal())
		}
		t.cancel()
		s.mu.Lock()
		delete(s.tasks, t)
		s.held -= t.bytes
		s.mu.Unlock()
		t.slot.give()
	}()
	err := work(t)
	if err != nil && t.ctx.Err() == nil { // else the task was answered when it ended, or the node is stopping
		t.abort(err)
	}
}

// send queues a part of the answer that is not the last. It returns false if the task has ended.
func (t *task) send(event string, body []byte) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.ended {
		t.part(event, body)
	}
	return !t.ended
}

// finish queues the last answer and ends the task, unless it has ended.
func (t *task) finish(event string, body []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.ended {
		t.ended = true
		t.answer(event, body)
	}
}

// abort ends the task with an error, unless it has ended. Afterwards nothing of the task reaches the client.
func (t *task) abort(err error) {
	defer t.cancel() // not earlier: work's error must not become the answer
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.ended {
		t.ended = true
		t.fail(err)
	}
}

// discard ends the task without an answer: the client is gone.
func (t *task) discard() {
	defer t.cancel()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
}

// abortTasks aborts those tasks that need an elevation and for which refusal returns an error.
func (s *session) abortTasks(refusal func(*task) error) {
	s.mu.Lock()
	var refused []*task
	var errs []error
	for t := range s.tasks {
		if t.allowed == nil {
			continue
		}
		if err := refusal(t); err != nil {
			refused, errs = append(refused, t), append(errs, err)
		}
	}
	s.mu.Unlock()
	for i, t := range refused {
		t.abort(errs[i])
	}
}

func errTooManyRequests() *Error {
	return newError(botwire.WordTooManyRequests, "Too many requests are in progress. Wait for answers first.")
}
