package bus

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/architus/guildcast/internal/throttle"
	"github.com/architus/guildcast/internal/wake"
)

// A chunk is what is written to Redis before its answers are read.
const (
	chunkBytes    = 256 << 10
	chunkMessages = 1024
)

// outgoing is one message on its way to Redis.
type outgoing struct {
	channel string
	payload []byte
	sharded bool
}

// size counts a message against Options.PublishQueueBytes.
func (m *outgoing) size() int { return len(m.channel) + len(m.payload) + 64 }

// publisher sends messages in order: it writes a chunk, reads the answers, and goes on. So an answer that says where
// a message belongs (MOVED) can be obeyed without one message of a channel overtaking another.
type publisher struct {
	b       *Bus
	started sync.Once
	wake    wake.Signal // queue is not empty

	published, dropped, unknown atomic.Uint64

	// Guarded by mu.
	mu     sync.Mutex
	queue  []outgoing
	left   int // messages in queue, and those that run has taken and not finished
	bytes  int // of them
	closed bool
	idle   []chan struct{} // closed when nothing is left

	// Owned by run.
	pipes map[route]*pipe
	retry map[route]*backoff
	held  map[sequence][]outgoing // what can't be sent yet, by sequence, in order
	lost  bool                    // Redis was lost since the last success

	complaints throttle.Minutely[string] // by message
}

// sequence is what keeps its order: a slot where pub/sub is sharded over a cluster, or all the rest.
type sequence int

const mainSequence sequence = -1

func newPublisher(b *Bus) *publisher {
	return &publisher{
		b: b, wake: wake.New(),
		pipes: map[route]*pipe{}, retry: map[route]*backoff{}, held: map[sequence][]outgoing{},
	}
}

func (p *publisher) add(m outgoing) error {
	if err := p.b.router.supports(); err != nil {
		return fmt.Errorf("publish to %q: %w", m.channel, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	size := m.size()
	switch {
	case p.closed:
		p.dropped.Add(1)
		return fmt.Errorf("publish to %q: %w", m.channel, ErrClosed)
	case p.bytes > 0 && p.bytes+size > p.b.opts.PublishQueueBytes:
		p.dropped.Add(1)
		return fmt.Errorf("publish to %q: %w", m.channel, ErrQueueFull)
	}
	p.started.Do(func() { p.b.wg.Go(p.run) })
	p.left++
	p.bytes += size
	p.queue = append(p.queue, m)
	if len(p.queue) == 1 {
		p.wake.Send()
	}
	return nil
}

func (p *publisher) stats(s *Stats) {
	s.Published, s.PublishDropped, s.PublishUnknown = p.published.Load(), p.dropped.Load(), p.unknown.Load()
	p.mu.Lock()
	defer p.mu.Unlock()
	s.Queued, s.QueuedBytes = p.left, p.bytes
}

// flush waits until nothing is left.
func (p *publisher) flush(ctx context.Context) error {
	p.mu.Lock()
	if p.left == 0 {
		p.mu.Unlock()
		return nil
	}
	idle := make(chan struct{})
	p.idle = append(p.idle, idle)
	p.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("flush: %w", ctx.Err())
	case <-p.b.ctx.Done():
		return fmt.Errorf("flush: %w", ErrClosed)
	}
}

// close refuses new messages, and flushes.
func (p *publisher) close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	return p.flush(ctx)
}

// take returns what is queued.
func (p *publisher) take(spare []outgoing) []outgoing {
	p.mu.Lock()
	defer p.mu.Unlock()
	if cap(spare) > 4*chunkMessages {
		spare = nil // a burst should not be remembered in memory
	}
	clear(spare)
	ms := p.queue
	p.queue = spare[:0]
	return ms
}

// finish takes messages off the books.
func (p *publisher) finish(ms []outgoing, counter *atomic.Uint64) {
	if len(ms) == 0 {
		return
	}
	size := 0
	for i := range ms {
		size += ms[i].size()
	}
	counter.Add(uint64(len(ms)))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left -= len(ms)
	p.bytes -= size
	if p.left == 0 {
		for _, c := range p.idle {
			close(c)
		}
		p.idle = nil
	}
}
