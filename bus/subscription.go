package bus

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/architus/guildcast/internal/wake"
)

// Message is one message from Redis.
type Message struct {
	Channel string
	// Pattern is the pattern that matched, if the message came through one.
	Pattern string
	// Payload is the handler's to keep, but other handlers of the same channel share it: it must not be changed.
	Payload []byte
	// Missed is how many messages of this Subscription were dropped just before this one because its queue was full.
	Missed int
	// Epoch numbers the hearing of the channel or pattern. It grows when that was lost and is subscribed to anew, so
	// that messages before this one may have been missed.
	Epoch uint64
}

// Handler receives the messages of a Subscription, one at a time.
type Handler interface{ HandleMessage(Message) }

// HandlerFunc is a function as a Handler.
type HandlerFunc func(Message)

// HandleMessage implements Handler.
func (f HandlerFunc) HandleMessage(m Message) { f(m) }

// Filter is a Handler that can say early that it will ignore what comes on a channel. The payload is then skipped
// unread. Wants is called on the receiving goroutine, and only while the Handler has handled all that came before;
// it must be quick and must not call the Bus.
type Filter interface {
	Handler
	Wants(channel string) bool
}

// Subscription is a queue with a Handler: any number of channels, patterns and sharded channels, whose messages are
// handled one at a time in the order in which their connection received them. It costs one goroutine.
// All methods may be called concurrently.
type Subscription struct {
	// Static after construction.
	bus    *Bus
	h      Handler
	filter Filter // nil when h is none
	wake   wake.Signal
	space  wake.Signal
	ended  chan struct{}

	pending atomic.Int64 // messages that are queued or being handled
	bytes   atomic.Int64 // their bytes

	// Guarded by mu.
	mu      sync.Mutex
	queue   []Message
	closed  bool
	missed  int
	stalled bool // the queue stayed full for a whole ReceiveStall, and has not had space since

	refs map[*topic]int // Guarded by bus.mu.
}

// NewSubscription returns a Subscription to nothing yet. Close ends it.
func (b *Bus) NewSubscription(h Handler) *Subscription {
	s := &Subscription{
		bus: b, h: h, refs: map[*topic]int{},
		wake: wake.New(), space: wake.New(), ended: make(chan struct{}),
	}
	s.filter, _ = h.(Filter)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		s.closed = true
		close(s.ended)
		return s
	}
	b.wg.Go(s.work)
	return s
}

// Subscribe makes a Subscription to names, all of kind k; see Subscription.Subscribe. After an error there is none.
func (b *Bus) Subscribe(ctx context.Context, h Handler, k Kind, names ...string) (*Subscription, error) {
	s := b.NewSubscription(h)
	if err := s.Subscribe(ctx, k, names...); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Subscribe adds names, all of kind k, and returns once Redis has confirmed all of them: what is published after that
// is handled. While Redis is away it waits until ctx ends. After an error none of them is added. A name may be added
// several times, and must be given up as often. A message is handled once for each name that matches its channel.
func (s *Subscription) Subscribe(ctx context.Context, k Kind, names ...string) error {
	return s.bus.subscribeTo(ctx, s, k, names)
}

// Want adds names and does not wait: the Bus keeps asking Redis until they are confirmed or given up, whatever the
// Pending says.
func (s *Subscription) Want(k Kind, names ...string) *Pending { return s.bus.want(s, k, names) }

// Epoch returns the Epoch of the messages that come by name now. It returns false if Redis has not confirmed name, or
// not again since it was lost.
func (s *Subscription) Epoch(k Kind, name string) (uint64, bool) {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	if k >= kinds {
		return 0, false
	}
	t := s.bus.topics[k][name]
	if t == nil || s.refs[t] == 0 || !t.held() {
		return 0, false
	}
	return t.epoch, true
}

// Unsubscribe gives up names. Messages that are queued are still handled. It does not wait for Redis.
func (s *Subscription) Unsubscribe(k Kind, names ...string) { s.bus.unwant(s, k, names) }

// Close gives up everything and drops what is queued. No call of the Handler begins after Close has returned; one may
// still be running. It may be called from the Handler, and more than once.
func (s *Subscription) Close() {
	s.bus.forget(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	s.queue = nil
	close(s.ended)
}

// wants reports whether a message of channel should be read at all.
func (s *Subscription) wants(channel string) bool {
	return s.filter == nil || s.pending.Load() > 0 || s.filter.Wants(channel)
}

// offer queues m. Called by the connection's reader, which it holds up for ReceiveStall at most.
func (s *Subscription) offer(m Message) {
	size := int64(len(m.Payload) + len(m.Channel) + 64)
	if !s.fits(size) {
		s.mu.Lock()
		s.missed++
		s.mu.Unlock()
		s.bus.recvDropped.Add(1)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	m.Missed, s.missed, s.stalled = s.missed, 0, false
	s.pending.Add(1)
	s.bytes.Add(size)
	s.queue = append(s.queue, m)
	if len(s.queue) == 1 {
		s.wake.Send()
	}
	s.bus.received.Add(1)
}

// fits waits for space for size bytes. A message larger than the whole queue fits when the queue is empty.
func (s *Subscription) fits(size int64) bool {
	limit := int64(s.bus.opts.ReceiveQueueBytes)
	full := func() bool { n := s.bytes.Load(); return n > 0 && n+size > limit }
	if !full() {
		return true
	}
	s.mu.Lock()
	stalled := s.stalled
	s.mu.Unlock()
	if stalled {
		return false
	}
	timer := time.NewTimer(s.bus.opts.ReceiveStall)
	defer timer.Stop()
	for full() {
		select {
		case <-s.space:
		case <-s.ended:
			return true
		case <-timer.C:
			s.mu.Lock()
			s.stalled = true
			s.mu.Unlock()
			s.bus.opts.Logger.Warn("messages dropped: handler is too slow", "queue_bytes", s.bytes.Load())
			return false
		}
	}
	return true
}

// work calls the Handler until the Subscription or the Bus ends.
func (s *Subscription) work() {
	var batch []Message
	for {
		select {
		case <-s.wake:
		case <-s.ended:
			return
		case <-s.bus.ctx.Done():
			return
		}
		for {
			s.mu.Lock()
			batch, s.queue = s.queue, batch[:0]
			s.mu.Unlock()
			if len(batch) == 0 {
				break
			}
			for i := range batch {
				if s.over() {
					return
				}
				m := batch[i]
				batch[i] = Message{}
				s.h.HandleMessage(m)
				s.bytes.Add(-int64(len(m.Payload) + len(m.Channel) + 64))
				s.pending.Add(-1)
				s.space.Send()
			}
			if cap(batch) > 1024 {
				batch = nil // a burst should not be remembered in memory
			}
		}
	}
}

func (s *Subscription) over() bool {
	select {
	case <-s.ended:
		return true
	case <-s.bus.ctx.Done():
		return true
	default:
		return false
	}
}
