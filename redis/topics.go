package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/internal/defaults"
	"github.com/architus/guildcast/internal/service"
	"github.com/architus/guildcast/internal/throttle"
	"github.com/architus/guildcast/internal/wake"
)

// Reasons with which Topics reports that events may have been missed.
const (
	ReasonRedisLost = "redis_lost" // the connection was lost, or Redis was
	ReasonOverflow  = "overflow"   // this node was too slow for what came
)

// TopicsOptions configure Topics. The zero value works, and hears nothing.
type TopicsOptions struct {
	// Prefix precedes the guild's id in the names of channels. Default "".
	Prefix string

	// OnMessage gets each message of a topic that somebody has acquired. The messages of one guild, of both its topics,
	// come one at a time and in the order in which Redis delivered them; those of different guilds may come at the same
	// time. It holds up the guilds that share its queue, and payload must not be changed.
	OnMessage func(t event.Topic, payload []byte)

	// OnMissed is called once for each loss, with the acquired topics of which messages may have been missed and a
	// Reason, once they are heard again. It must not block.
	OnMissed func(topics []event.Topic, reason string)

	// Linger is how long a topic stays subscribed after its last release, so that somebody who reloads the page costs
	// Redis nothing. Default 2 s; negative is none.
	Linger time.Duration

	// Queues is the number of goroutines that call OnMessage. Default: one for each core, 4 at most.
	Queues int

	// Logger receives what an operator must know; nil discards.
	Logger *slog.Logger
}

// TopicsStats are what Topics has to do.
type TopicsStats struct {
	Acquired  int // topics that somebody needs
	Lingering int // topics that nobody needs any more, and which are still subscribed
}

// Topics keeps a node subscribed to the event streams that its sockets need, and only to those. All methods may be
// called concurrently.
type Topics struct {
	// Static after construction.
	opts  TopicsOptions
	seed  maphash.Seed
	subs  []*bus.Subscription // a guild always has the same one
	watch func()              // stops the Watch of the bus
	wake  wake.Signal         // lingering has a new head
	life  service.Life        // entered by callbacks and acquisitions

	lines throttle.Minutely[string] // by message

	// Guarded by mu.
	mu        sync.Mutex
	refs      map[event.Topic]int       // acquisitions, those that wait for Redis included
	lingering map[event.Topic]time.Time // until when a subscription of a released topic is kept
	expiries  []expiry                  // in order of time; entries that are not in lingering at that time are void
}

// expiry is a time at which a topic may have lingered long enough.
type expiry struct {
	topic event.Topic
	at    time.Time
}

// NewTopics returns the topics of a node, which must be run.
func NewTopics(b *bus.Bus, o TopicsOptions) *Topics {
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	o.Linger = cmp.Or(o.Linger, 2*time.Second)
	o.Queues = defaults.Positive(o.Queues, min(runtime.GOMAXPROCS(0), 4))
	t := &Topics{
		opts: o, seed: maphash.MakeSeed(), wake: wake.New(),
		refs: map[event.Topic]int{}, lingering: map[event.Topic]time.Time{},
	}
	for i := range o.Queues {
		t.subs = append(t.subs, b.NewSubscription(bus.HandlerFunc(func(m bus.Message) { t.handle(i, m) })))
	}
	t.watch = b.Watch(func(s bus.State) {
		if afterLoss(s) && !s.ShardsOnly && t.life.Enter() { // no topic is a sharded channel
			defer t.life.Leave()
			t.missed(ReasonRedisLost, func(event.Topic) bool { return true })
		}
	})
	return t
}

// Run gives up topics that have lingered long enough, and all of them when ctx ends. It returns nil once no callback is
// running any more. It may be called once.
func (t *Topics) Run(ctx context.Context) error {
	if err := t.life.Begin(); err != nil {
		return fmt.Errorf("run topics: %w", err)
	}
	t.reap(ctx)
	t.watch()
	for _, s := range t.subs {
		s.Close()
	}
	t.life.End()
	return nil
}

// afterLoss tells whether everything is heard again after a time in which it was not. State.Gap alone would not do: it
// is about subscriptions that Redis had confirmed, and what is read beside them may be older.
func afterLoss(s bus.State) bool { return s.Hearing && (s.Gap || s.Down > 0) }

// Acquire subscribes to a topic and returns once Redis has confirmed it: what is published from then on is delivered.
// While Redis is away it waits until ctx ends. release gives the topic up; it never blocks, and only its first call
// counts.
func (t *Topics) Acquire(ctx context.Context, topic event.Topic) (release func(), err error) {
	if !event.ValidID(topic.Guild) {
		return nil, errors.New("acquire topic: the guild's id is not 1 to 20 digits")
	}
	if !t.life.Enter() {
		return nil, unavailable("acquire topic", service.ErrEnded)
	}
	defer t.life.Leave()
	t.count(topic) // before it is confirmed: what is lost between confirmation and return must be reported too
	// The bus counts references, so that each acquisition is a subscription of its own there: it must be, for Redis may
	// be away just now.
	if err := t.sub(topic).Subscribe(ctx, bus.Channel, topic.Channel(t.opts.Prefix)); err != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.uncountLocked(topic)
		return nil, unavailable("acquire topic", err)
	}
	return sync.OnceFunc(func() { t.release(topic) }), nil
}

func (t *Topics) count(topic event.Topic) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refs[topic]++
}

// uncountLocked takes back one acquisition and tells whether it was the last.
func (t *Topics) uncountLocked(topic event.Topic) (last bool) {
	if t.refs[topic]--; t.refs[topic] > 0 {
		return false
	}
	delete(t.refs, topic)
	return true
}

// Stats returns how many topics are held.
func (t *Topics) Stats() TopicsStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return TopicsStats{Acquired: len(t.refs), Lingering: len(t.lingering)}
}

func (t *Topics) index(guild string) int {
	return int(maphash.String(t.seed, guild) % uint64(len(t.subs)))
}

func (t *Topics) sub(topic event.Topic) *bus.Subscription { return t.subs[t.index(topic.Guild)] }

func (t *Topics) handle(queue int, m bus.Message) {
	if !t.life.Enter() {
		return
	}
	defer t.life.Leave()
	if m.Missed > 0 {
		if t.lines.Allow("missed") {
			t.opts.Logger.Warn("guild events dropped: this node is too slow", "messages", m.Missed)
		}
		t.missed(ReasonOverflow, func(topic event.Topic) bool { return t.index(topic.Guild) == queue })
	}
	if topic, ok := event.ParseChannel(t.opts.Prefix, m.Channel); ok && t.opts.OnMessage != nil {
		t.opts.OnMessage(topic, m.Payload)
	}
}

// missed reports the acquired topics that the caller means.
func (t *Topics) missed(reason string, which func(event.Topic) bool) {
	if t.opts.OnMissed == nil {
		return
	}
	t.mu.Lock()
	topics := make([]event.Topic, 0, len(t.refs))
	for topic := range t.refs {
		if which(topic) {
			topics = append(topics, topic)
		}
	}
	t.mu.Unlock()
	if len(topics) > 0 {
		t.opts.OnMissed(topics, reason)
	}
}

// release takes back one acquisition. The last one's subscription at the bus is kept while the topic lingers.
func (t *Topics) release(topic event.Topic) {
	t.mu.Lock()
	keep := t.uncountLocked(topic) && t.opts.Linger > 0
	if keep {
		_, already := t.lingering[topic]
		at := time.Now().Add(t.opts.Linger)
		t.lingering[topic] = at
		t.expiries = append(t.expiries, expiry{topic, at})
		if len(t.expiries) == 1 {
			t.wake.Send()
		}
		keep = !already // one subscription is enough to linger
	}
	t.mu.Unlock()
	if !keep {
		t.sub(topic).Unsubscribe(bus.Channel, topic.Channel(t.opts.Prefix))
	}
}

// reap gives up the topics that have lingered long enough, until ctx ends.
func (t *Topics) reap(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		over, next := t.expired(time.Now())
		for _, topic := range over {
			t.sub(topic).Unsubscribe(bus.Channel, topic.Channel(t.opts.Prefix))
		}
		timer.Reset(next)
		select {
		case <-timer.C:
		case <-t.wake:
		case <-ctx.Done():
			return
		}
	}
}

// expired takes the topics whose time is over, and says when to look again. A topic that was acquired meanwhile has a
// subscription of its own besides.
func (t *Topics) expired(now time.Time) (over []event.Topic, next time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for ; n < len(t.expiries) && !t.expiries[n].at.After(now); n++ {
		e := t.expiries[n]
		if t.lingering[e.topic].Equal(e.at) {
			delete(t.lingering, e.topic)
			over = append(over, e.topic)
		}
	}
	t.expiries = append(t.expiries[:0], t.expiries[n:]...)
	if len(t.expiries) == 0 {
		return over, time.Hour
	}
	return over, t.expiries[0].at.Sub(now)
}
