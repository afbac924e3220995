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
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/internal/defaults"
	"github.com/architus/guildcast/internal/service"
	"github.com/architus/guildcast/internal/throttle"
	"github.com/architus/guildcast/internal/wake"
)

// Reasons why events may have been missed.
const (
	ReasonRedisLost = "redis_lost" // the connection or Redis itself was lost
	ReasonOverflow  = "overflow"   // messages came faster than this node handles them

	ReasonHistoryLost = "history_lost" // a history does not reach back far enough, or Redis lost its data
	ReasonMessageLost = "message_lost" // Redis lost a message on its way
)

// TopicsOptions configure Topics. The zero value works, and discards all messages.
type TopicsOptions struct {
	// Prefix precedes the guild's id in the names of channels. Default "".
	Prefix string

	// OnMessage is called with each message of an acquired topic. Messages of one guild, on both its topics, come one
	// at a time and in the order in which Redis delivered them; those of different guilds may come concurrently. While
	// it runs, guilds that share its queue wait. It must not change payload. p is the event's position in the history
	// of its guild, or zero if the event is not durable. received is when the message came from Redis, or zero if it
	// was read from a history, or waited for one.
	OnMessage func(t event.Topic, p history.Position, payload []byte, received time.Time)

	// OnMissed is called once after each loss, as soon as Redis has confirmed the topics again, with the acquired
	// topics that may have missed messages and with a Reason. It must not block.
	OnMissed func(topics []event.Topic, reason string)

	// History, if not nil, is read to repair losses: durable events are passed on exactly once and in order. OnMissed
	// is then called only for guilds for which something can't be repaired, before anything later is passed to
	// OnMessage, and perhaps several times after one loss, for different guilds. If History is nil, messages are passed
	// on as they come.
	History *history.Reader

	// PlainMemory is how long after a guild's last plain event OnMissed is called even for a loss that was repaired: a
	// plain event, which no history has, may be missing. Default 1 h.
	PlainMemory time.Duration

	// ProbeInterval is how often each guild is compared with its history. Default 2 s. It is longer in effect for more
	// than 1,000 guilds: 500 are compared in a second.
	ProbeInterval time.Duration

	// Sharded makes topics sharded channels; see event.Topic.ShardedChannel. It requires Redis 7.
	Sharded bool

	// Linger is how long a topic stays subscribed after its last release, so that a reloaded page costs Redis nothing.
	// Default 2 s; negative means none.
	Linger time.Duration

	// Queues is the number of goroutines that call OnMessage. Default: one for each core, at most 4.
	Queues int

	// Logger receives what an operator must know; nil discards.
	Logger *slog.Logger
}

// TopicsStats are the numbers of topics at the moment.
type TopicsStats struct {
	Acquired  int // topics that are acquired
	Lingering int // released topics that are still subscribed
}

// HistoryStats count repairs. They only grow.
type HistoryStats struct {
	Repairs       uint64            // repairs begun, counted per guild
	Repaired      uint64            // events that were passed on from a history
	Reads         uint64            // reads of histories by all users of the Reader
	Unrecoverable map[string]uint64 // guilds for which OnMissed was called, by reason
}

// Topics keeps a node subscribed to the event streams that its sockets need, and only to those. All methods may be
// called concurrently.
type Topics struct {
	// Static after construction.
	opts    TopicsOptions
	seed    maphash.Seed
	subs    []*bus.Subscription // by queue; a guild always has the same one
	unwatch func()              // stops the Watch of the bus
	wake    wake.Signal         // lingering has a new head
	life    service.Life        // entered by callbacks and acquisitions
	kind    bus.Kind            // of the topics' channels
	tails   *tails              // nil without a History

	lines throttle.Minutely[string] // by message

	// Guarded by mu.
	mu        sync.Mutex
	refs      map[event.Topic]int       // acquisitions, including those that wait for Redis
	lingering map[event.Topic]time.Time // until when a released topic stays subscribed
	expiries  []expiry                  // in order of time; void unless lingering has the topic at that time
}

// expiry is a time at which a topic may have lingered long enough.
type expiry struct {
	topic event.Topic
	at    time.Time
}

// NewTopics returns the topics of a node; call Run. No topic is acquired yet.
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
	if o.Sharded {
		t.kind = bus.Shard
	}
	if o.History != nil {
		t.keepTails(o.History)
	}
	t.unwatch = b.Watch(func(s bus.State) {
		if afterLoss(s) && (o.Sharded || !s.ShardsOnly) && t.life.Enter() {
			defer t.life.Leave()
			t.lost(s.Doubted)
		}
	})
	return t
}

// keepTails makes t repair losses from reader.
func (t *Topics) keepTails(reader historyReader) {
	t.tails = newTails(reader, len(t.subs), t.opts)
	t.tails.epoch = func(topic event.Topic) (uint64, bool) { return t.sub(topic).Epoch(t.kind, t.channel(topic)) }
	t.tails.missed = t.missedOf
}

// lost repairs what was missed while Redis was away or, without a History, calls OnMissed. The epochs of subscriptions
// that may have missed something are not greater than doubted.
func (t *Topics) lost(doubted uint64) {
	switch {
	case t.tails == nil:
		t.missed(ReasonRedisLost, func(event.Topic) bool { return true })
	case t.opts.Sharded: // the loss may concern some servers of a cluster
		for _, q := range t.tails.queues {
			t.tails.loseChanged(q, ReasonRedisLost)
		}
	default:
		for _, q := range t.tails.queues {
			t.tails.loseDoubted(q, ReasonRedisLost, doubted)
		}
	}
	if t.tails != nil {
		t.tails.unpark(true)
	}
}

// Run repairs losses, and unsubscribes topics that have lingered long enough. When ctx ends it unsubscribes all of
// them, and returns nil once every callback has returned. Call it once.
func (t *Topics) Run(ctx context.Context) error {
	if err := t.life.Begin(); err != nil {
		return fmt.Errorf("run topics: %w", err)
	}
	repairs, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	if t.tails != nil {
		t.tails.run(repairs, &running)
	}
	t.reap(ctx)
	t.unwatch()
	stop()
	running.Wait()
	for _, s := range t.subs {
		s.Close()
	}
	t.life.End()
	return nil
}

// afterLoss reports whether every subscription is confirmed again after a loss. State.Gap alone does not suffice: it
// covers only subscriptions that Redis had confirmed, and what was read from elsewhere may be older.
func afterLoss(s bus.State) bool { return s.Hearing && (s.Gap || s.Down > 0) }

// Acquire subscribes to a topic and returns once Redis has confirmed it: messages published from then on are delivered.
// While Redis is away, it waits until ctx ends. release releases the topic; it never blocks, and only its first call
// counts.
func (t *Topics) Acquire(ctx context.Context, topic event.Topic) (release func(), err error) {
	if !event.ValidID(topic.Guild) {
		return nil, errors.New("acquire topic: the guild's id is not 1 to 20 digits")
	}
	if !t.life.Enter() {
		return nil, unavailable("acquire topic", service.ErrEnded)
	}
	defer t.life.Leave()
	t.count(topic) // before Subscribe: a loss between confirmation and return must be reported too
	// Each acquisition subscribes, and the bus counts them: an earlier subscription may not be confirmed just now.
	if err := t.sub(topic).Subscribe(ctx, t.kind, t.channel(topic)); err != nil {
		t.uncount(topic)
		t.drop(topic, false)
		return nil, unavailable("acquire topic", err)
	}
	if err := t.join(ctx, topic); err != nil {
		t.uncount(topic)
		t.unsubscribe(topic)
		return nil, unavailable("acquire topic", err)
	}
	return sync.OnceFunc(func() { t.release(topic) }), nil
}

// join returns once the guild's tail has come to where the confirmed subscription to topic begins to deliver.
func (t *Topics) join(ctx context.Context, topic event.Topic) error {
	if t.tails == nil {
		return nil
	}
	return t.tails.join(ctx, t.tails.queues[t.index(topic.Guild)], topic)
}

// drop tells the tails that a subscription ends. confirmed says that Redis had confirmed it.
func (t *Topics) drop(topic event.Topic, confirmed bool) {
	if t.tails != nil {
		t.tails.drop(t.tails.queues[t.index(topic.Guild)], topic, confirmed)
	}
}

// unsubscribe gives up one subscription to a topic.
func (t *Topics) unsubscribe(topic event.Topic) {
	t.drop(topic, true)
	t.sub(topic).Unsubscribe(t.kind, t.channel(topic))
}

// channel returns the name of a topic's channel.
func (t *Topics) channel(topic event.Topic) string {
	if t.opts.Sharded {
		return topic.ShardedChannel(t.opts.Prefix)
	}
	return topic.Channel(t.opts.Prefix)
}

// topicOf is the inverse of channel.
func (t *Topics) topicOf(channel string) (event.Topic, bool) {
	if t.opts.Sharded {
		return event.ParseShardedChannel(t.opts.Prefix, channel)
	}
	return event.ParseChannel(t.opts.Prefix, channel)
}

func (t *Topics) count(topic event.Topic) {
	if t.tails != nil {
		t.tails.hold(t.tails.queues[t.index(topic.Guild)], topic)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refs[topic]++
}

func (t *Topics) uncount(topic event.Topic) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.uncountLocked(topic)
}

// uncountLocked undoes one acquisition and reports whether it was the last.
func (t *Topics) uncountLocked(topic event.Topic) (last bool) {
	if t.refs[topic]--; t.refs[topic] > 0 {
		return false
	}
	delete(t.refs, topic)
	return true
}

// Stats returns the numbers of topics.
func (t *Topics) Stats() TopicsStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return TopicsStats{Acquired: len(t.refs), Lingering: len(t.lingering)}
}

// Position returns the position of the guild's latest durable event that was passed to OnMessage. If there was none
// yet, that is the end of its history at the time when a topic of the guild was acquired. It returns false if no topic
// of the guild is acquired or its history can't be read.
//
// The event at the position has been passed to OnMessage, or is just being passed. Every later event of the history
// will be.
func (t *Topics) Position(guild string) (history.Position, bool) {
	if t.tails == nil {
		return history.Position{}, false
	}
	return t.tails.position(t.tails.queues[t.index(guild)], guild)
}

// Passed returns the guild's latest position at the time of the call, once OnMessage has returned for every event up to
// it. It returns false if Position does, or if ctx ends first.
func (t *Topics) Passed(ctx context.Context, guild string) (history.Position, bool) {
	if t.tails == nil {
		return history.Position{}, false
	}
	return t.tails.passed(ctx, t.tails.queues[t.index(guild)], guild)
}

// HistoryStats returns the counters of repairs.
func (t *Topics) HistoryStats() HistoryStats {
	if t.tails == nil {
		return HistoryStats{}
	}
	s := t.tails.stats()
	s.Reads = t.opts.History.Reads()
	return s
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
		t.overflowed(queue)
	}
	topic, ok := t.topicOf(m.Channel)
	switch {
	case !ok:
	case t.tails != nil:
		t.tails.receive(t.tails.queues[queue], topic, m)
	case t.opts.OnMessage != nil:
		t.opts.OnMessage(topic, history.Position{}, m.Payload, m.Received)
	}
}

// overflowed repairs what a queue has dropped or, without a History, calls OnMissed.
func (t *Topics) overflowed(queue int) {
	if t.tails != nil {
		t.tails.lose(t.tails.queues[queue], ReasonOverflow)
		return
	}
	t.missed(ReasonOverflow, func(topic event.Topic) bool { return t.index(topic.Guild) == queue })
}

// missed calls OnMissed with the acquired topics that which selects.
func (t *Topics) missed(reason string, which func(event.Topic) bool) {
	t.mu.Lock()
	topics := make([]event.Topic, 0, len(t.refs))
	for topic := range t.refs {
		if which(topic) {
			topics = append(topics, topic)
		}
	}
	t.mu.Unlock()
	t.tell(topics, reason)
}

// missedOf calls OnMissed with the acquired topics of guilds.
func (t *Topics) missedOf(guilds []string, reason string) {
	topics := make([]event.Topic, 0, 2*len(guilds))
	t.mu.Lock()
	for _, guild := range guilds {
		for _, topic := range []event.Topic{{Guild: guild}, {Guild: guild, Logs: true}} {
			if t.refs[topic] > 0 {
				topics = append(topics, topic)
			}
		}
	}
	t.mu.Unlock()
	t.tell(topics, reason)
}

func (t *Topics) tell(topics []event.Topic, reason string) {
	if len(topics) > 0 && t.opts.OnMissed != nil {
		t.opts.OnMissed(topics, reason)
	}
}

// release undoes one acquisition. After the last one the subscription stays while the topic lingers.
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
		keep = !already // one subscription is enough
	}
	t.mu.Unlock()
	if !keep {
		t.unsubscribe(topic)
	}
}

// reap unsubscribes topics that have lingered long enough, until ctx ends.
func (t *Topics) reap(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		over, next := t.expired(time.Now())
		for _, topic := range over {
			t.unsubscribe(topic)
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

// expired removes and returns the topics that have lingered long enough, and returns when to look again. A topic that
// was acquired meanwhile has another subscription.
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
