package handlers

import (
	"context"
	"sync"

	"github.com/architus/guildcast/internal/botwire"
	"github.com/architus/guildcast/permissions"
)

// task is a request that takes its time, beside the events that follow it: pool and interpret. It ends once: with its
// final answer, with an error of its own, or with the error that it is aborted with.
type task struct {
	*request
	ctx    context.Context // ends with the task, and with the socket
	cancel context.CancelFunc

	slot  *slot
	bytes int // what the request holds until it ends, beside what it makes its slot hold

	// allowed says whether claims still permit the task; nil where it needs none.
	allowed func(*permissions.Claims) error

	// mu is held while an answer is queued, so that nothing follows an abort. Queueing doesn't wait for the client:
	// what is paced by its reading is paced before.
	mu    sync.Mutex
	ended bool
}

// start runs work in a goroutine of its own, unless too many tasks run already. Work's error, if any, is the answer. Of
// the request's members nothing is kept: bytes is the size of what work holds of it.
func (s *session) start(r *request, bytes int, allowed func(*permissions.Claims) error, work func(*task) error) error {
	g := s.gateway
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return errNotElevated() // nobody hears it
	}
	// The elevation may have ended, or been narrowed, since the request was looked at. Who does that goes through the
	// tasks after the claims have changed, so that it finds this one, or this finds the change.
	if c := s.claims.Load(); allowed != nil {
		if c == nil {
			return errNotElevated()
		}
		if err := allowed(c); err != nil {
			return err
		}
	}
	if !within(len(s.tasks)+1, g.limits.SocketRequests) || len(s.tasks) > 0 && s.held+bytes > socketHeld {
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
		return errNotElevated() // the node is going down, and the client with it
	}
	if s.tasks == nil {
		s.tasks = map[*task]struct{}{}
	}
	s.held += bytes
	s.tasks[t] = struct{}{} // the task can't be over before mu is free
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
	if err != nil && t.ctx.Err() == nil { // else whoever ended it has seen to the answer, or the node goes down
		t.abort(err)
	}
}

// send queues an answer that isn't the last. It is false when the task has ended.
func (t *task) send(event string, body []byte) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.ended {
		t.part(event, body)
	}
	return !t.ended
}

// finish queues the last answer, unless the task has ended.
func (t *task) finish(event string, body []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.ended {
		t.ended = true
		t.answer(event, body)
	}
}

// abort ends the task with an error, unless it has ended. After it nothing of the task reaches the client.
func (t *task) abort(err error) {
	defer t.cancel() // and not before: what the work makes of it must not become the answer
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

// abortTasks ends the tasks that needed an elevation and that refusal refuses.
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
