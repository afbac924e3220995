package adapter

import (
	"log/slog"
	"sync"
	"time"

	"github.com/zishang520/socket.io/v2/socket"
)

// ackRequests holds a namespace's broadcasts that wait for acknowledgements from clients of other servers. All methods
// may be called concurrently.
type ackRequests struct {
	mu sync.Mutex
	m  map[string]*ackRequest // Guarded by mu.
}

// ackRequest is one broadcast with acknowledgement. Its callbacks run one at a time, because the library compares two
// counters in them and could find the request complete twice.
type ackRequest struct {
	single  bool
	count   func(uint64)
	ack     socket.Ack
	calls   lane // has no limit: as many calls as there are clients
	id      string
	timer   *time.Timer
	expired func() // at the end of the wait; nil: nothing

	mu   sync.Mutex
	from []answer // without value: which other servers have counted their clients. Guarded by mu.
}

// open stores r until timeout.
func (s *ackRequests) open(id string, r *ackRequest, timeout time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		s.m = map[string]*ackRequest{}
	}
	s.m[id] = r
	r.id = id
	r.timer = time.AfterFunc(timeout, func() {
		s.drop(id)
		if r.expired != nil {
			r.calls.post(r.expired)
		}
	})
}

func (s *ackRequests) get(id string) *ackRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m[id]
}

func (s *ackRequests) empty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.m) == 0
}

func (s *ackRequests) drop(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.m[id]; r != nil {
		r.timer.Stop()
		delete(s.m, id)
	}
}

// close drops all requests.
func (s *ackRequests) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, r := range s.m {
		r.timer.Stop()
		r.calls.close()
		delete(s.m, id)
	}
}

// newAckRequest prepares the callbacks of a broadcast.
func newAckRequest(opts *socket.BroadcastOptions, count func(uint64), ack socket.Ack, l *slog.Logger,

	wg *sync.WaitGroup,
) *ackRequest {
	r := &ackRequest{count: count, ack: ack}
	r.calls = lane{logger: l, wg: wg}
	r.single = opts != nil && opts.Flags != nil && opts.Flags.ExpectSingleResponse
	return r
}

// acked passes on the answer of one client as one value. If the library expects a single response, it takes that value
// for a list of arguments.
func (r *ackRequest) acked(value any) {
	if r.single {
		value = []any{value}
	}
	r.calls.post(func() { r.ack([]any{value}, nil) })
}

// local is acked for the clients of this server.
func (r *ackRequest) local(args []any, _ error) {
	if len(args) == 0 {
		r.acked(nil)
		return
	}
	r.acked(args[0])
}

// counted passes on the number of clients that another server has asked. uid is empty if that server does not sign.
func (r *ackRequest) counted(uid string, n uint64) {
	r.mu.Lock()
	r.from = append(r.from, answer{uid: uid})
	r.mu.Unlock()
	r.calls.post(func() { r.count(n) })
}

// servers returns the servers that have counted so far.
func (r *ackRequest) servers() []answer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.from[:len(r.from):len(r.from)]
}
