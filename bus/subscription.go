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
	// Payload may be kept, but must not be changed: other handlers of the same channel share it.
	Payload []byte
	// Missed is the number of messages that this Subscription dropped just before this one because its queue was full.
	Missed int
	// Epoch numbers the confirmed subscriptions to the channel or pattern. It grows when that was lost and subscribed
	// to again: messages may then have been missed before this one.
	Epoch uint64
	// Received is when the bus had read of it that it comes.
	Received time.Time
}

// Handler receives the messages of a Subscription, one at a time.
type Handler interface{ HandleMessage(Message) }

// HandlerFunc makes a function a Handler.
type HandlerFunc func(Message)

// HandleMessage implements Handler.
func (f HandlerFunc) HandleMessage(m Message) { f(m) }

// Filter is a Handler that can reject a message by its channel, so that the payload is never read. Wants is called on
// the receiving goroutine, and only if the Handler has handled everything that came before. It must be quick and must
// not call the Bus.
type Filter interface {
	Handler
	Wants(channel string) bool
}

// Subscription is a queue with a Handler, subscribed to any number of channels, patterns and sharded channels. Their
// messages are handled one at a time, in the order in which a connection received them. It costs one goroutine. All
// methods may be called concurrently.
type Subscription struct {
	// Static after construction.
	bus    *Bus
	h      Handler
	filter Filter // nil if h is not a Filter
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

// NewSubscription returns a Subscription without names. Call Close to end it.
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

// Subscribe returns a new Subscription to names, all of kind k; see Subscription.Subscribe.
func (b *Bus) Subscribe(ctx context.Context, h Handler, k Kind, names ...string) (*Subscription, error) {
	s := b.NewSubscription(h)
	if err := s.Subscribe(ctx, k, names...); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Subscribe adds names, all of kind k, and returns once Redis has confirmed them: every message that is published from
// then on is handled. While Redis is away it waits until ctx ends. After an error none of the names is added. A name
// that is added several times must be unsubscribed as often. A message is handled once for each name that matches its
// channel.
func (s *Subscription) Subscribe(ctx context.Context, k Kind, names ...string) error {
	return s.bus.subscribeTo(ctx, s, k, names)
}

// Want adds names and does not wait. The Bus asks Redis until they are confirmed or unsubscribed, whatever becomes of
// the Pending.
func (s *Subscription) Want(k Kind, names ...string) *Pending { return s.bus.want(s, k, names) }

// Epoch returns the Message.Epoch of messages that now come by name. It returns false if Redis has not confirmed name,
// or not again since a loss.
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

// Unsubscribe removes names. It does not wait for Redis. Messages that are queued already are still handled.
func (s *Subscription) Unsubscribe(k Kind, names ...string) { s.bus.unwant(s, k, names) }

// Close removes all names and drops what is queued. No call of the Handler begins after Close has returned, but one may
// still be running. Close may be called from the Handler, and more than once.
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

// offer queues m. The connection's reader calls it, and is held up at most for ReceiveStall.
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
				batch = nil // free the memory of a burst
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
