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
	// positions of a guild that no probe has verified yet; the older half is taken as verified
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

// tails are where a node stands in the histories of the guilds whose topics it holds. They see to it that durable
// events are passed on exactly once and in order, and that what was missed is read again before anything later is
// passed on.
//
// A tail has one goroutine at a time that passes on: while it is live, that of its queue, and while it is repaired, a
// worker.
type tails struct {
	// Static after construction.
	reader      historyReader
	epoch       func(event.Topic) (uint64, bool) // bus.Subscription.Epoch of the topic
	message     func(event.Topic, history.Position, []byte)
	missed      func(guilds []string, reason string)
	log         *slog.Logger
	plainMemory time.Duration
	probeEvery  time.Duration
	queues      []*tailQueue

	lines throttle.Minutely[string] // by message
	wake  wake.Signal               // of the workers: asked or behind has grown
	ended chan struct{}             // closed when no repair will be finished any more

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

// tailState is who passes on the messages of a guild.
type tailState uint8

const (
	tailFresh     tailState = iota // nobody: its end is not known yet
	tailLive                       // its queue
	tailRepairing                  // a worker
)

// tail is where a node stands in the history of a guild. It is guarded by the mutex of its queue.
type tail struct {
	// Static after construction.
	guild string
	queue *tailQueue

	state     tailState
	topics    [2]tailTopic // pool, logs
	readable  bool         // if not, durable events are passed on as they come, like plain ones
	forgotten bool         // by its queue

	// position is the last that was passed on or, if there was none since, a later one before which nothing is left
	// to pass on.
	position history.Position
	repaired history.Position // what comes up to here was read from the history: it is a double
	passing  bool             // the queue passes on a message
	idle     chan struct{}    // closed when it has; nil if nobody waits for that

	// What a probe compares with the history.
	verified  history.Position   // everything up to here was passed on, or need not be
	delivered []history.Position // passed on since, in order
	late      history.Position   // in the history, and not heard by the last probe; zero if none
	end       history.Position   // of an unreadable history, as the last probe saw it
	endSeen   bool
	plainAt   time.Time // when a plain event came last

	// The repair.
	reason    string           // of the loss that it repairs; "" if it was none
	lost      string           // why something can't be repaired; "" if nothing
	told      bool             // OnMissed was called
	again     bool             // something was lost since the history was read
	queued    bool             // a worker has it, or will
	tries     int              // reads that did not find what was wanted
	halfHeard time.Time        // since when Redis has confirmed one topic and not the other
	wanted    history.Position // heard meanwhile, and dropped: it is in the history
	waiting   []waiting        // heard meanwhile, and not in the history
	bytes     int              // of waiting
	done      chan struct{}    // closed when the tail is live again; nil if nobody waits
}

// tailTopic is one of the two topics of a guild.
type tailTopic struct {
	wanted    int              // subscriptions that are held or being made
	confirmed int              // of them
	heard     bool             // the tail is not before what the subscription delivers
	joining   chan struct{}    // closed when somebody who makes it heard is done; nil if nobody does
	epoch     uint64           // of the subscription
	since     history.Position // entries up to here were not to be heard
}

// waiting is a message that waits for a repair. Its position is zero if it is plain.
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
		x.message = func(event.Topic, history.Position, []byte) {}
	}
	for range queues {
		x.queues = append(x.queues, &tailQueue{guilds: map[string]*tail{}})
	}
	return x
}

// run starts what repairs and probes, until ctx ends.
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

// hold takes note that topic is being subscribed to once more.
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

// drop takes back one hold. It comes before the bus is told to unsubscribe; confirmed reports whether Redis had
// confirmed the subscription.
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

// forgetLocked removes a tail that nobody needs.
func (tl *tail) forgetLocked() {
	if tl.topics[0].wanted == 0 && tl.topics[1].wanted == 0 && !tl.queued && !tl.passing {
		tl.queue.waiting -= tl.bytes
		delete(tl.queue.guilds, tl.guild)
		tl.forgotten = true
	}
}

// position returns where a guild stands, and false if its history can't be read.
func (x *tails) position(q *tailQueue, guild string) (history.Position, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	tl := q.guilds[guild]
	if tl == nil || tl.state == tailFresh || !tl.readable {
		return history.Position{}, false
	}
	return tl.position, true
}

// passed returns where a guild stands once everything up to there has been passed on.
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

// idleLocked returns what is closed when the queue has passed on its message.
func (tl *tail) idleLocked() <-chan struct{} {
	if tl.idle == nil {
		tl.idle = make(chan struct{})
	}
	return tl.idle
}

// doneLocked returns what is closed when the tail is live again.
func (tl *tail) doneLocked() <-chan struct{} {
	if tl.done == nil {
		tl.done = make(chan struct{})
	}
	return tl.done
}

// receive takes a message of a topic in the order of its queue: it passes it on, drops it because it is or will be read
// from the history, or keeps it until a repair is over.
func (x *tails) receive(q *tailQueue, topic event.Topic, m bus.Message) {
	p, body, _, err := history.Cut(m.Payload)
	if err != nil || p.IsZero() {
		p, body = history.Position{}, m.Payload // plain, or refused as an event by who gets it
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
	x.message(topic, p, body)
	q.mu.Lock()
	defer q.mu.Unlock()
	tl.passing = false
	if tl.idle != nil {
		close(tl.idle)
		tl.idle = nil
	}
	tl.forgetLocked()
}

// takeLocked reports whether to pass on a message. If not, it was dropped or kept.
func (x *tails) takeLocked(tl *tail, topic event.Topic, p history.Position, body []byte, epoch uint64) bool {
	h := &tl.topics[topicIndex(topic)]
	if h.heard && epoch > h.epoch {
		x.beginLocked(tl, ReasonRedisLost)
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
	case p.Compare(tl.position) > 0:
		tl.position = p
		tl.noteLocked(p)
		if len(tl.delivered)%probeSoon == 0 {
			x.hurry(tl)
		}
		return true
	case !h.heard || p.Compare(h.since) <= 0: // it was passed over while nobody held the topic
	case p.Compare(tl.repaired) > 0: // Redis has lost its data, its clock or, in a cluster, the order
		tl.lost = cmp.Or(tl.lost, ReasonMessageLost)
		x.beginLocked(tl, "")
	}
	return false
}

// keepLocked keeps a message until a repair is over, unless the repair will find it in the history.
func (x *tails) keepLocked(tl *tail, w waiting) {
	if w.position.IsZero() {
		tl.plainAt = time.Now()
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

// noteLocked notes a position for the next probe.
func (tl *tail) noteLocked(p history.Position) {
	if len(tl.delivered) == maxDelivered {
		tl.verified = tl.delivered[maxDelivered/2-1]
		tl.delivered = append(tl.delivered[:0], tl.delivered[maxDelivered/2:]...)
	}
	tl.delivered = append(tl.delivered, p)
}

// join returns once the tail of topic's guild is not before what a subscription to topic that Redis has just confirmed
// delivers.
func (x *tails) join(ctx context.Context, q *tailQueue, topic event.Topic) error {
	q.mu.Lock()
	tl := q.guilds[topic.Guild] // which is there as long as it is held
	h := &tl.topics[topicIndex(topic)]
	h.confirmed++
	for !h.heard {
		if joining := h.joining; joining != nil {
			q.mu.Unlock()
			select {
			case <-joining:
			case <-ctx.Done():
				return ctx.Err()
			}
			q.mu.Lock()
			continue
		}
		h.joining = make(chan struct{})
		q.mu.Unlock()
		err := x.meet(ctx, tl, topic)
		q.mu.Lock()
		close(h.joining)
		h.joining = nil
		if err != nil {
			q.mu.Unlock()
			return err
		}
	}
	q.mu.Unlock()
	return nil
}

// meet makes a topic heard.
func (x *tails) meet(ctx context.Context, tl *tail, topic event.Topic) error {
	epoch, _ := x.epoch(topic)
	lasts, err := x.reader.Last(ctx, []string{tl.guild})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var last history.Position
	if err == nil {
		last, err = lasts[0].Position, lasts[0].Err
	}
	if wait := x.meetLocking(tl, topicIndex(topic), epoch, last, err); wait != nil {
		select {
		case <-wait:
		case <-x.ended:
			return ErrUnavailable
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	tl.queue.mu.Lock()
	defer tl.queue.mu.Unlock()
	h := &tl.topics[topicIndex(topic)]
	h.heard = true
	if now, ok := x.epoch(topic); !ok || now != h.epoch { // lost again since, and perhaps before it was heard
		x.beginLocked(tl, ReasonRedisLost)
	}
	return nil
}

// meetLocking does what meet does once the end of the history is known, or can't be. What it returns is closed when the
// tail has come to that end; it is nil if the tail is there.
func (x *tails) meetLocking(tl *tail, i int, epoch uint64, last history.Position, err error) <-chan struct{} {
	tl.queue.mu.Lock()
	defer tl.queue.mu.Unlock()
	h := &tl.topics[i]
	h.epoch = epoch
	if err != nil && (gone(err) || tl.state == tailFresh) {
		x.unreadableLocked(tl, err)
	}
	switch {
	case tl.state == tailFresh:
		tl.readable, tl.position, tl.verified, tl.repaired = err == nil, last, last, last
		x.openLocked(tl)
	case tl.readable && (err != nil || tl.state == tailRepairing || last.Compare(tl.position) > 0):
		// The other topic is live: what it has not delivered yet comes before what this one delivers.
		h.since = last
		x.beginLocked(tl, "")
		return tl.doneLocked()
	}
	h.since = tl.position
	return nil
}

// openLocked ends the state in which a tail begins.
func (x *tails) openLocked(tl *tail) {
	tl.state = tailLive
	if !tl.readable {
		tl.wanted = history.Position{} // nobody has acquired a topic yet
	}
	if len(tl.waiting) > 0 || tl.wanted.Compare(tl.position) > 0 {
		x.beginLocked(tl, "")
	}
}

// unreadableLocked has the durable events of a guild passed on as plain ones are.
func (x *tails) unreadableLocked(tl *tail, err error) {
	tl.readable, tl.endSeen = false, false
	if x.lines.Allow("unreadable") {
		x.log.Warn("history can't be read: nothing that is missed will be repaired", "guild_id", tl.guild, "err", err)
	}
}

// lose begins repairs: everything of these guilds may have been missed.
func (x *tails) lose(q *tailQueue, reason string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, tl := range q.guilds {
		x.beginLocked(tl, reason)
	}
}

// loseChanged begins repairs of the guilds whose topics are heard in another epoch than before.
func (x *tails) loseChanged(q *tailQueue, reason string) {
	for _, tl := range q.all() {
		for i := range tl.topics {
			q.mu.Lock()
			h := tl.topics[i]
			q.mu.Unlock()
			if !h.heard {
				continue
			}
			if now, ok := x.epoch(tl.topic(i)); !ok || now != h.epoch {
				q.mu.Lock()
				x.beginLocked(tl, reason)
				q.mu.Unlock()
			}
		}
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

// tell calls OnMissed, and counts.
func (x *tails) tell(guilds []string, reason string) {
	x.mu.Lock()
	x.unrecoverable[reason] += uint64(len(guilds))
	x.mu.Unlock()
	x.missed(guilds, reason)
}

// gone reports whether err says that a history can't be read at all, and not only now.
func gone(err error) bool { return errors.Is(err, history.ErrUnreadable) }
