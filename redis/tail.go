package redis

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/internal/retry"
	"github.com/architus/guildcast/internal/throttle"
	"github.com/architus/guildcast/internal/wake"
)

// Bounds of what a node keeps of its guilds' tails.
const (
	// positions of a guild that no probe has verified yet; at the bound, the older half counts as verified
	maxDelivered    = 4096
	maxWaiting      = 1 << 20 // bytes of a guild that wait for a repair; the oldest are dropped, and that is told
	maxWaitingQueue = 16 << 20
)

// historyReader reads the histories of guilds: history.Reader.
type historyReader interface {
	After(ctx context.Context, guild string, p history.Position, limit int) (history.Page, error)
	Last(ctx context.Context, guilds []string) ([]history.Last, error)
	Marks(ctx context.Context, guild string, p history.Position, limit int) (history.Marks, error)
}

// tails track how far this node has read the history of each guild whose topics it holds. They pass on durable events
// exactly once and in order: what was missed is read from the history before anything later is passed on.
//
// One goroutine at a time passes on the messages of a tail: the one of its queue while the tail is live, a worker while
// it is repaired.
type tails struct {
	// Static after construction.
	reader      historyReader
	epoch       func(event.Topic) (uint64, bool) // bus.Subscription.Epoch of the topic
	message     func(event.Topic, history.Position, []byte, time.Time)
	missed      func(guilds []string, reason string)
	log         *slog.Logger
	plainMemory time.Duration
	probeEvery  time.Duration
	queues      []*tailQueue

	lines throttle.Minutely[string] // by message
	wake  wake.Signal               // wakes the workers: asked or behind has grown
	ended chan struct{}             // closed once no repair will finish any more

	repairs, repaired atomic.Uint64

	// Guarded by mu, which comes after tailQueue.mu.
	mu            sync.Mutex
	asked         []*tail // to be compared with the ends of their histories
	behind        []*tail // to be repaired entry by entry
	hot           []*tail // to be looked at by the next probe
	parked        []*tail // wait for Redis until parkedUntil
	parkedUntil   time.Time
	backoff       retry.Backoff
	unrecoverable map[string]uint64 // by reason
}

// tailQueue is the tails of the guilds that share a queue of Topics. Its mutex comes before those of tails and of the
// bus.
type tailQueue struct {
	mu      sync.Mutex
	guilds  map[string]*tail
	waiting int // bytes of all of them
}

// tailState says who passes on the messages of a guild.
type tailState uint8

const (
	tailFresh     tailState = iota // nobody: its end is not known yet
	tailLive                       // its queue
	tailRepairing                  // a worker
)

// tail tracks how far this node has read the history of one guild. The mutex of its queue guards it.
type tail struct {
	// Static after construction.
	guild string
	queue *tailQueue

	state     tailState
	topics    [2]tailTopic // pool, logs
	readable  bool         // the history can be read; if not, durable events are passed on like plain ones
	forgotten bool         // by its queue

	// position is that of the last durable event that was passed on, or a later one up to which there was nothing to
	// pass on.
	position history.Position
	repaired history.Position // up to here the history was read: a message that still comes from pub/sub is a duplicate
	// replaced is the latest position that was passed on of a history that is no more. A message up to here is a late
	// duplicate of that, or, if Redis' clock went back too, one of the new history, which has it then.
	replaced history.Position
	passing  bool          // the queue is passing on a message
	idle     chan struct{} // closed when passing ends; nil if nobody waits for that

	// What a probe compares with the history.
	verified  history.Position   // every event up to here was passed on or need not be
	delivered []history.Position // passed on since, in order
	late      history.Position   // the last probe saw it in the history, and pub/sub had not delivered it; zero if none
	end       history.Position   // of an unreadable history, as the last probe saw it
	endSeen   bool
	plainAt   time.Time // when a plain event came last

	// The repair.
	reason    string           // of the loss under repair; "" if nothing was lost
	lost      string           // why something can't be repaired; "" if everything can
	told      bool             // OnMissed was called
	again     bool             // the history must be read once more
	anew      bool             // because something was lost since it was read
	queued    bool             // a worker has the tail, or it is in a list of tails
	tries     int              // reads that did not find what was wanted
	halfHeard time.Time        // when Redis had first confirmed one topic and not the other
	wanted    history.Position // the latest that was received during the repair and dropped: the history has it
	waiting   []waiting        // received during the repair, and not in the history
	bytes     int              // of waiting
	done      chan struct{}    // closed when the tail is live again; nil if nobody waits
}

// tailTopic is one of the two topics of a guild.
type tailTopic struct {
	wanted    int              // subscriptions that exist or are being made
	confirmed int              // of them
	heard     bool             // the tail has come to where the subscription begins to deliver
	joining   chan struct{}    // closed when the call of meet in progress ends; nil if there is none
	epoch     uint64           // of the subscription
	since     history.Position // the subscription was not expected to deliver entries up to here
}

// waiting is a message that waits for the end of a repair. A plain message has position zero.
type waiting struct {
	topic    event.Topic
	position history.Position
	payload  []byte
}

func (w *waiting) size() int { return len(w.payload) + 64 }

func topicIndex(t event.Topic) int {
	if t.Logs {
		return 1
	}
	return 0
}

func (tl *tail) topic(i int) event.Topic { return event.Topic{Guild: tl.guild, Logs: i == 1} }

func newTails(reader historyReader, queues int, o TopicsOptions) *tails {
	x := &tails{
		reader: reader, log: o.Logger, message: o.OnMessage,
		plainMemory: cmp.Or(o.PlainMemory, time.Hour), probeEvery: cmp.Or(o.ProbeInterval, 2*time.Second),
		wake: wake.New(), ended: make(chan struct{}),
		backoff:       retry.Backoff{Min: parkMin, Max: parkMax},
		unrecoverable: map[string]uint64{},
	}
	if x.message == nil {
		x.message = func(event.Topic, history.Position, []byte, time.Time) {}
	}
	for range queues {
		x.queues = append(x.queues, &tailQueue{guilds: map[string]*tail{}})
	}
	return x
}

// run starts the workers and the probe, which end with ctx.
func (x *tails) run(ctx context.Context, running *sync.WaitGroup) {
	context.AfterFunc(ctx, func() { close(x.ended) })
	for range repairWorkers {
		running.Go(func() { x.work(ctx) })
	}
	running.Go(func() { x.probe(ctx) })
}

func (x *tails) stats() HistoryStats {
	x.mu.Lock()
	defer x.mu.Unlock()
	return HistoryStats{
		Repairs: x.repairs.Load(), Repaired: x.repaired.Load(), Unrecoverable: maps.Clone(x.unrecoverable),
	}
}

// hold counts one more subscription to topic, which is about to be made.
func (x *tails) hold(q *tailQueue, topic event.Topic) {
	q.mu.Lock()
	defer q.mu.Unlock()
	tl := q.guilds[topic.Guild]
	if tl == nil {
		tl = &tail{guild: topic.Guild, queue: q}
		q.guilds[topic.Guild] = tl
	}
	tl.topics[topicIndex(topic)].wanted++
}

// drop undoes one hold. Call it before the bus unsubscribes. confirmed says that Redis had confirmed the subscription.
func (x *tails) drop(q *tailQueue, topic event.Topic, confirmed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	tl := q.guilds[topic.Guild]
	h := &tl.topics[topicIndex(topic)]
	h.wanted--
	if confirmed {
		if h.confirmed--; h.confirmed == 0 {
			h.heard = false // the next subscription may come after a pause
		}
	}
	tl.forgetLocked()
}

// forgetLocked removes the tail if nobody needs it any more.
func (tl *tail) forgetLocked() {
	if tl.topics[0].wanted == 0 && tl.topics[1].wanted == 0 && !tl.queued && !tl.passing {
		tl.queue.waiting -= tl.bytes
		delete(tl.queue.guilds, tl.guild)
		tl.forgotten = true
	}
}

// position returns the position of a guild's tail, and false if the history can't be read.
func (x *tails) position(q *tailQueue, guild string) (history.Position, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	tl := q.guilds[guild]
	if tl == nil || tl.state == tailFresh || !tl.readable {
		return history.Position{}, false
	}
	return tl.position, true
}

// passed returns the position of a guild's tail after it has waited until every event up to it was passed on. It
// returns false if the history can't be read, or if ctx or the tails end first.
func (x *tails) passed(ctx context.Context, q *tailQueue, guild string) (p history.Position, known bool) {
	for waited := range 3 { // for a repair, then for the queue
		q.mu.Lock()
		tl := q.guilds[guild]
		if tl == nil || tl.state == tailFresh || !tl.readable {
			q.mu.Unlock()
			return p, false
		}
		if waited == 0 {
			p = tl.position
		}
		var passed <-chan struct{}
		switch {
		case waited == 0 && tl.state == tailRepairing:
			passed = tl.doneLocked()
		case waited < 2 && tl.passing:
			passed = tl.idleLocked()
		}
		q.mu.Unlock()
		if passed == nil {
			break
		}
		select {
		case <-passed:
		case <-x.ended:
			return p, false
		case <-ctx.Done():
			return p, false
		}
	}
	return p, true
}

// idleLocked returns a channel that is closed when the queue has passed on its message.
func (tl *tail) idleLocked() <-chan struct{} {
	if tl.idle == nil {
		tl.idle = make(chan struct{})
	}
	return tl.idle
}

// doneLocked returns a channel that is closed when the tail is live again.
func (tl *tail) doneLocked() <-chan struct{} {
	if tl.done == nil {
		tl.done = make(chan struct{})
	}
	return tl.done
}

// receive takes a message of a topic, in the order of the queue. It passes the message on, drops it if the history
// provides it, or keeps it until a repair ends.
func (x *tails) receive(q *tailQueue, topic event.Topic, m bus.Message) {
	p, body, _, err := history.Cut(m.Payload)
	if err != nil || p.IsZero() {
		p, body = history.Position{}, m.Payload // plain, or malformed: the receiver refuses it as an event
	}
	q.mu.Lock()
	tl := q.guilds[topic.Guild]
	if tl == nil { // nobody holds it any more
		q.mu.Unlock()
		return
	}
	if !x.takeLocked(tl, topic, p, body, m.Epoch) {
		q.mu.Unlock()
		return
	}
	tl.passing = true
	q.mu.Unlock()
	x.message(topic, p, body, m.Received)
	q.mu.Lock()
	defer q.mu.Unlock()
	tl.passing = false
	if tl.idle != nil {
		close(tl.idle)
		tl.idle = nil
	}
	tl.forgetLocked()
}

// takeLocked reports whether to pass on a message. If it returns false, it has dropped or kept the message.
func (x *tails) takeLocked(tl *tail, topic event.Topic, p history.Position, body []byte, epoch uint64) bool {
	h := &tl.topics[topicIndex(topic)]
	if h.heard && epoch > h.epoch {
		x.beginLocked(tl, ReasonRedisLost)
	}
	if !h.heard && tl.state == tailLive && tl.readable && p.Compare(tl.position) > 0 {
		// What the other topic lost before this one was subscribed to may not be known yet, and comes before p.
		x.beginLocked(tl, "")
	}
	switch {
	case tl.state != tailLive:
		x.keepLocked(tl, waiting{topic, p, body})
	case p.IsZero():
		tl.plainAt = time.Now()
		return true
	case !tl.readable:
		tl.position = p
		return true
	case p.Compare(tl.position) > 0 && p.Compare(tl.replaced) <= 0:
		x.beginLocked(tl, "")
	case p.Compare(tl.position) > 0:
		tl.position = p
		tl.noteLocked(p)
		if len(tl.delivered)%probeSoon == 0 {
			x.hurry(tl)
		}
		return true
	case !h.heard || p.Compare(h.since) <= 0: // published while nobody held the topic: drop it
	case p.Compare(tl.repaired) > 0: // Redis has lost its data, its clock or, in a cluster, the order
		tl.lost = cmp.Or(tl.lost, ReasonMessageLost)
		x.beginLocked(tl, "")
	}
	return false
}

// keepLocked keeps a message until a repair ends, unless the repair will find it in the history.
func (x *tails) keepLocked(tl *tail, w waiting) {
	if w.position.IsZero() {
		tl.plainAt = time.Now()
	} else if tl.readable && w.position.Compare(tl.replaced) <= 0 {
		tl.again = true
		return
	} else if tl.readable || tl.state == tailFresh {
		if w.position.Compare(tl.wanted) > 0 {
			tl.wanted = w.position
		}
		return
	}
	tl.waiting = append(tl.waiting, w)
	tl.bytes += w.size()
	tl.queue.waiting += w.size()
	for len(tl.waiting) > 1 && (tl.bytes > maxWaiting || tl.queue.waiting > maxWaitingQueue) {
		tl.lost = cmp.Or(tl.lost, ReasonOverflow)
		tl.nextLocked()
	}
}

// nextLocked removes and returns the oldest message that waits.
func (tl *tail) nextLocked() waiting {
	w := tl.waiting[0]
	tl.waiting[0] = waiting{}
	tl.waiting = tl.waiting[1:]
	if len(tl.waiting) == 0 {
		tl.waiting = nil
	}
	tl.bytes -= w.size()
	tl.queue.waiting -= w.size()
	return w
}

// noteLocked records for the next probe that the event at p was passed on.
func (tl *tail) noteLocked(p history.Position) {
	if len(tl.delivered) == maxDelivered {
		tl.verified = tl.delivered[maxDelivered/2-1]
		tl.delivered = append(tl.delivered[:0], tl.delivered[maxDelivered/2:]...)
	}
	tl.delivered = append(tl.delivered, p)
}

// unreadableLocked notes that a history can't be read. From now on the guild's durable events are passed on like plain
// ones.
func (x *tails) unreadableLocked(tl *tail, err error) {
	tl.readable, tl.endSeen = false, false
	if x.lines.Allow("unreadable") {
		x.log.Warn("history can't be read: nothing that is missed will be repaired", "guild_id", tl.guild, "err", err)
	}
}

func (q *tailQueue) all() []*tail {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := make([]*tail, 0, len(q.guilds))
	for _, tl := range q.guilds {
		all = append(all, tl)
	}
	slices.SortFunc(all, func(a, b *tail) int { return cmp.Compare(a.guild, b.guild) })
	return all
}

// tell counts guilds as unrecoverable, and calls OnMissed.
func (x *tails) tell(guilds []string, reason string) {
	x.mu.Lock()
	x.unrecoverable[reason] += uint64(len(guilds))
	x.mu.Unlock()
	x.missed(guilds, reason)
}

// gone reports whether err says that a history can't be read at all, rather than only for the moment.
func gone(err error) bool { return errors.Is(err, history.ErrUnreadable) }
