package redis

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/internal/test/race"
)

// model is a Redis with histories and pub/sub, the bus's hearing of it, and what a node made of it. Time is that of
// synctest.
type model struct {
	t    *testing.T
	x    *tails
	keep int // entries of a guild

	// All below is guarded by mu.
	mu        sync.Mutex
	rng       *rand.Rand // not the test's, which draws without mu
	away      error      // what Redis answers
	guilds    map[string]*modelGuild
	confirmed map[event.Topic]bool
	epochs    map[event.Topic]uint64
	epoch     uint64
	connected bool
	losing    int // messages that the queue drops
	missed    int // messages dropped before the next
	lost      int // messages that pub/sub loses
	queue     []modelMessage
	arrived   sync.Cond
	closed    bool
}

type modelGuild struct {
	entries   []history.Entry
	trimmed   bool
	trimmedTo history.Position
	published int
	durable   []string // messages that were published durably
	passed    []string // of them
	plain     int      // plain messages that were passed on
	told      []string
}

type modelMessage struct {
	topic event.Topic
	m     bus.Message
}

func newModel(t *testing.T, rng *rand.Rand, keep int) *model {
	m := &model{
		t: t, rng: rand.New(rand.NewPCG(rng.Uint64(), 1)), keep: keep, connected: true,
		guilds:    map[string]*modelGuild{},
		confirmed: map[event.Topic]bool{}, epochs: map[event.Topic]uint64{},
	}
	m.arrived.L = &m.mu
	m.x = newTails(m, 1, TopicsOptions{
		Logger: slog.New(slog.DiscardHandler), OnMessage: m.pass,
	})
	m.x.missed, m.x.epoch = m.tell, m.heard
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	m.x.run(ctx, &running)
	running.Go(m.work)
	t.Cleanup(func() {
		cancel()
		m.mu.Lock()
		m.closed = true
		m.arrived.Broadcast()
		m.mu.Unlock()
		running.Wait()
	})
	return m
}

// pause takes a time of up to d.
func (m *model) pause(d time.Duration) {
	m.mu.Lock()
	n := time.Duration(m.rng.Int64N(int64(d)))
	m.mu.Unlock()
	time.Sleep(n)
}

func (m *model) guild(id string) *modelGuild {
	g := m.guilds[id]
	if g == nil {
		g = &modelGuild{}
		m.guilds[id] = g
	}
	return g
}

// work is the queue of the bus.
func (m *model) work() {
	for {
		m.mu.Lock()
		for len(m.queue) == 0 && !m.closed {
			m.arrived.Wait()
		}
		if m.closed {
			m.mu.Unlock()
			return
		}
		next := m.queue[0]
		m.queue = m.queue[1:]
		m.mu.Unlock()
		if next.m.Missed > 0 {
			m.x.lose(m.x.queues[0], ReasonOverflow)
		}
		m.x.receive(m.x.queues[0], next.topic, next.m)
	}
}

func (m *model) pass(topic event.Topic, p history.Position, body []byte, _ time.Time) {
	m.pause(time.Millisecond)
	m.mu.Lock()
	slow := m.rng.IntN(20) == 0
	m.mu.Unlock()
	if slow { // longer than a repair takes
		m.pause(50 * time.Millisecond)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	g := m.guild(topic.Guild)
	if p.IsZero() {
		g.plain++
	} else {
		g.passed = append(g.passed, string(body))
	}
}

func (m *model) tell(guilds []string, reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range guilds {
		g := m.guild(id)
		g.told = append(g.told, reason)
	}
}

func (m *model) heard(topic event.Topic) (uint64, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.epochs[topic], m.connected && m.confirmed[topic]
}

// publish publishes an event durably, or plainly.
func (m *model) publish(topic event.Topic, durable bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	g := m.guild(topic.Guild)
	body := fmt.Sprintf("{%d}", g.published)
	g.published++
	payload := body
	if durable {
		g.durable = append(g.durable, body)
		p := history.Position{Time: uint64(time.Now().UnixMilli())}
		if k := len(g.entries); k > 0 && g.entries[k-1].Position.Time >= p.Time {
			p = g.entries[k-1].Position
			p.Seq++
		}
		g.entries = append(g.entries, history.Entry{Position: p, Topic: topic, Message: []byte(body)})
		if len(g.entries) > m.keep {
			g.trimmed, g.trimmedTo = true, g.entries[len(g.entries)-m.keep-1].Position
			g.entries = slices.Clone(g.entries[len(g.entries)-m.keep:])
		}
		payload = p.String() + " " + body
	}
	switch {
	case !m.connected || !m.confirmed[topic]:
	case m.lost > 0 && durable: // nobody would find out about a plain one
		m.lost--
	case m.losing > 0:
		m.losing--
		m.missed++
	default:
		m.queue = append(m.queue, modelMessage{topic, bus.Message{
			Payload: []byte(payload), Missed: m.missed, Epoch: m.epochs[topic],
		}})
		m.missed = 0
		m.arrived.Broadcast()
	}
}

// deliver has pub/sub deliver a durable event.
func (m *model) deliver(topic event.Topic, p history.Position, body string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queue = append(m.queue, modelMessage{topic, bus.Message{
		Payload: []byte(p.String() + " " + body), Epoch: m.epochs[topic],
	}})
	m.arrived.Broadcast()
}

// cut loses the connection, and brings it back after a while.
func (m *model) cut(down time.Duration) {
	m.mu.Lock()
	m.connected = false
	m.mu.Unlock()
	m.pause(down)
	m.mu.Lock()
	doubted := m.epoch
	for _, topic := range sortedTopics(m.confirmed) {
		m.epoch++
		m.epochs[topic] = m.epoch
	}
	m.connected = true
	m.mu.Unlock()
	m.pause(20 * time.Millisecond) // the watchers may learn of it late
	m.x.loseDoubted(m.x.queues[0], ReasonRedisLost, doubted)
	m.x.unpark(true)
}

// leave has Redis answer with err, or as it should if that is nil.
func (m *model) leave(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away = err
}

func sortedTopics(m map[event.Topic]bool) (all []event.Topic) {
	for topic := range m {
		all = append(all, topic)
	}
	slices.SortFunc(all, func(a, b event.Topic) int { return strings.Compare(a.Channel(""), b.Channel("")) })
	return all
}

func (m *model) acquire(topic event.Topic) {
	m.t.Helper()
	q := m.x.queues[0]
	m.x.hold(q, topic)
	m.mu.Lock()
	m.epoch++
	m.epochs[topic], m.confirmed[topic] = m.epoch, true
	m.mu.Unlock()
	if err := m.x.join(m.t.Context(), q, topic); err != nil {
		m.t.Fatal(err)
	}
}

func (m *model) After(_ context.Context, guild string, p history.Position, limit int) (history.Page, error) {
	m.pause(3 * time.Millisecond)
	defer m.pause(3 * time.Millisecond)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.away != nil {
		return history.Page{}, m.away
	}
	g := m.guild(guild)
	limit = min(limit, 1+m.rng.IntN(5))
	page := history.Page{Whole: p.IsZero() && !g.trimmed || g.trimmed && g.trimmedTo == p}
	for _, e := range g.entries {
		switch e.Position.Compare(p) {
		case 0:
			page.Whole = true
		case 1:
			if len(page.Entries) == limit {
				page.More = true
				return page, nil
			}
			page.Entries = append(page.Entries, e)
		}
	}
	return page, nil
}

func (m *model) Last(_ context.Context, guilds []string) ([]history.Last, error) {
	m.pause(3 * time.Millisecond)
	defer m.pause(3 * time.Millisecond)
	m.mu.Lock()
	defer m.mu.Unlock()
	lasts := make([]history.Last, len(guilds))
	for i, guild := range guilds {
		if n := len(m.guild(guild).entries); n > 0 {
			lasts[i].Position = m.guild(guild).entries[n-1].Position
		}
		lasts[i].Err = m.away
	}
	return lasts, m.away
}

func (m *model) Marks(ctx context.Context, guild string, p history.Position, limit int) (history.Marks, error) {
	page, err := m.After(ctx, guild, p, limit)
	if err != nil {
		return history.Marks{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	marks := history.Marks{Whole: page.Whole, More: page.More}
	for _, e := range page.Entries {
		marks.Marks = append(marks.Marks, history.Mark{Position: e.Position, Topic: e.Topic, Event: e.Message != nil})
	}
	if n := len(m.guild(guild).entries); n > 0 {
		marks.Last = m.guild(guild).entries[n-1].Position
	}
	return marks, nil
}

// settle lets everything end that goes on, and the probe find what is left.
func (m *model) settle() {
	time.Sleep(time.Minute)
	synctest.Wait()
}

// toldOnce settles, and verifies that one loss of Redis was told of a guild.
func (m *model) toldOnce(guild string) {
	m.t.Helper()
	m.settle()
	m.mu.Lock()
	defer m.mu.Unlock()
	if told := m.guild(guild).told; !slices.Equal(told, []string{ReasonRedisLost}) {
		m.t.Fatalf("told %q", told)
	}
}

// check verifies the order, and that nothing is missing of which nobody was told.
func (m *model) check(mayTell bool) {
	m.t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, g := range m.guilds {
		last := -1
		for _, body := range g.passed {
			n, err := strconv.Atoi(strings.Trim(body, "{}"))
			if err != nil || n <= last {
				m.t.Fatalf("guild %s: %s after {%d} (told %v)", id, body, last, g.told)
			}
			last = n
		}
		if !mayTell && len(g.told) > 0 {
			m.t.Fatalf("guild %s: told %v", id, g.told)
		}
		if len(g.told) == 0 && !slices.Equal(g.passed, g.durable) {
			m.t.Fatalf("guild %s: passed %d of %d and not told", id, len(g.passed), len(g.durable))
		}
	}
}

func eachSeed(t *testing.T, seeds int, test func(t *testing.T, rng *rand.Rand)) {
	for seed := range race.Rounds(seeds, seeds/4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, rand.New(rand.NewPCG(uint64(seed), 1))) })
		})
	}
}

// start acquires both topics of some guilds, after an event each.
func (m *model) start(guilds int) (topics []event.Topic) {
	for i := range guilds {
		topic := event.Topic{Guild: fmt.Sprint(i + 1)}
		logs := event.Topic{Guild: topic.Guild, Logs: true}
		m.acquire(topic)
		m.acquire(logs)
		m.publish(topic, true)
		topics = append(topics, topic, logs)
	}
	return topics
}

// TestTailsKeepOrder has everything happen that loses no data: nothing is missed, and nobody is told.
func TestTailsKeepOrder(t *testing.T) {
	eachSeed(t, 60, func(t *testing.T, rng *rand.Rand) {
		m := newModel(t, rng, 1<<20)
		topics := m.start(3)
		var cutting sync.WaitGroup
		var busy atomic.Bool
		beside := func(f func()) { // while events are published
			if busy.CompareAndSwap(false, true) {
				cutting.Go(func() {
					defer busy.Store(false)
					f()
				})
			}
		}
		for range 400 {
			switch rng.IntN(40) {
			case 0:
				beside(func() { m.cut(100 * time.Millisecond) })
			case 1:
				m.mu.Lock()
				m.losing = rng.IntN(5)
				m.mu.Unlock()
			case 2: // nothing at all is lost, but the bus can't know
				m.mu.Lock()
				doubted := m.epoch
				m.mu.Unlock()
				m.x.loseDoubted(m.x.queues[0], ReasonRedisLost, doubted)
			case 3:
				beside(func() {
					m.leave(history.ErrUnavailable)
					m.pause(300 * time.Millisecond)
					m.leave(nil)
				})
			}
			m.publish(topics[rng.IntN(len(topics))], true)
			m.pause(5 * time.Millisecond)
		}
		cutting.Wait()
		m.mu.Lock()
		m.losing = 0
		m.mu.Unlock()
		for _, topic := range topics { // what was dropped last is announced with the next
			m.publish(topic, true)
		}
		m.settle()
		m.check(false)
	})
}

// TestOneLossIsToldOnce has a plain message with the new epoch come before the news of the loss, or after it.
func TestOneLossIsToldOnce(t *testing.T) {
	eachSeed(t, 100, func(t *testing.T, rng *rand.Rand) {
		m := newModel(t, rng, 1000)
		topics := m.start(1)
		m.publish(topics[0], false)
		m.settle()
		var publishing sync.WaitGroup
		publishing.Go(func() {
			for range 200 {
				m.publish(topics[0], false)
				m.pause(time.Millisecond)
			}
		})
		m.cut(30 * time.Millisecond)
		publishing.Wait()
		m.toldOnce(topics[0].Guild)
	})
}

// TestLossBehindAnotherRepairIsTold has a repair for another reason find the new epoch before the news of the loss.
func TestLossBehindAnotherRepairIsTold(t *testing.T) {
	eachSeed(t, 10, func(t *testing.T, rng *rand.Rand) {
		m := newModel(t, rng, 1000)
		topics := m.start(1)
		m.publish(topics[0], false)
		m.settle()
		m.mu.Lock()
		m.connected = false
		m.mu.Unlock()
		m.publish(topics[0], false)
		m.publish(topics[0], true)
		m.mu.Lock()
		doubted := m.epoch
		m.epoch++
		m.epochs[topics[0]], m.epochs[topics[1]], m.connected = m.epoch, m.epoch, true
		m.mu.Unlock()
		m.release(topics[1])
		m.acquire(topics[1]) // reads the durable event
		m.settle()
		m.x.loseDoubted(m.x.queues[0], ReasonRedisLost, doubted)
		m.toldOnce(topics[0].Guild)
	})
}

// TestTailsJoin has the log topic of a guild acquired and released while events come on both: each acquisition stands
// behind what was published before it, and nothing of the other topic is missed or moved.
func TestTailsJoin(t *testing.T) {
	eachSeed(t, 60, func(t *testing.T, rng *rand.Rand) {
		m := newModel(t, rng, 1<<20)
		pool, logs := event.Topic{Guild: "1"}, event.Topic{Guild: "1", Logs: true}
		m.acquire(pool)
		m.publish(pool, true) // a loss before there is a history is told
		var cutting sync.WaitGroup
		for range 60 {
			before := m.end("1")
			m.acquire(logs)
			if p, ok := m.x.position(m.x.queues[0], "1"); !ok || p.Compare(before) < 0 {
				t.Fatalf("acquired at %v (%v), with the history at %v before", p, ok, before)
			}
			if rng.IntN(10) == 0 {
				cutting.Go(func() { m.cut(50 * time.Millisecond) })
			}
			for range rng.IntN(10) {
				m.publish([]event.Topic{pool, logs}[rng.IntN(2)], true)
				m.pause(3 * time.Millisecond)
			}
			m.release(logs)
			for range rng.IntN(10) {
				m.publish([]event.Topic{pool, logs}[rng.IntN(2)], true)
				m.pause(3 * time.Millisecond)
			}
			cutting.Wait()
		}
		m.settle()
		m.mu.Lock()
		g := m.guild("1")
		g.durable = slices.DeleteFunc(g.durable, func(body string) bool { return !slices.Contains(g.of(pool), body) })
		g.passed = slices.DeleteFunc(g.passed, func(body string) bool { return slices.Contains(g.of(logs), body) })
		m.mu.Unlock()
		m.check(false)
	})
}

// end returns where the history of a guild ends.
func (m *model) end(guild string) (p history.Position) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if g := m.guild(guild); len(g.entries) > 0 {
		p = g.entries[len(g.entries)-1].Position
	}
	return p
}

// of returns the messages of a topic in the history.
func (g *modelGuild) of(topic event.Topic) (bodies []string) {
	for _, e := range g.entries {
		if e.Topic == topic {
			bodies = append(bodies, string(e.Message))
		}
	}
	return bodies
}

func (m *model) release(topic event.Topic) {
	m.x.drop(m.x.queues[0], topic, true)
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.confirmed, topic)
}

// TestTailsMissOrTell has pub/sub lose messages, histories be trimmed and lost, and plain events come between.
func TestTailsMissOrTell(t *testing.T) {
	told := 0
	eachSeed(t, 60, func(t *testing.T, rng *rand.Rand) {
		m := newModel(t, rng, 300)
		topics := m.start(3)
		var cutting sync.WaitGroup
		for range 400 {
			switch rng.IntN(60) {
			case 0:
				cutting.Wait()
				cutting.Go(func() { m.cut(200 * time.Millisecond) })
			case 1:
				m.mu.Lock()
				m.losing = rng.IntN(5)
				m.mu.Unlock()
			case 2:
				m.mu.Lock()
				m.lost = rng.IntN(3)
				m.mu.Unlock()
			case 3:
				m.pause(3 * time.Second)
			case 4: // more than is kept, while nobody hears it
				cutting.Wait()
				m.mu.Lock()
				m.connected = false
				m.mu.Unlock()
				for range rng.IntN(600) {
					m.publish(topics[0], true)
				}
				m.cut(10 * time.Millisecond)
			case 5:
				m.mu.Lock()
				for _, g := range m.guilds {
					if rng.IntN(4) == 0 {
						g.entries, g.trimmed, g.trimmedTo = nil, false, history.Position{}
					}
				}
				m.mu.Unlock()
			}
			m.publish(topics[rng.IntN(len(topics))], rng.IntN(100) > 0)
			m.pause(5 * time.Millisecond)
		}
		cutting.Wait()
		m.mu.Lock()
		m.losing, m.lost = 0, 0
		m.mu.Unlock()
		for _, topic := range topics {
			m.publish(topic, true)
		}
		m.settle()
		m.check(true)
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, g := range m.guilds {
			told += len(g.told)
		}
	})
	if told == 0 {
		t.Error("nobody was ever told: this proves little")
	}
}

// A history is lost after a repair has passed on an entry, and before pub/sub delivers that: it is not passed on again.
// A new history with an earlier clock is passed on, though its positions were there before.
func TestLateMessageOfALostHistory(t *testing.T) {
	eachSeed(t, 20, func(t *testing.T, rng *rand.Rand) {
		m := newModel(t, rng, 1000)
		topic := m.start(1)[0]
		m.settle()
		m.mu.Lock()
		m.lost = 1
		m.mu.Unlock()
		m.publish(topic, true)
		m.settle()
		m.mu.Lock()
		g := m.guild(topic.Guild)
		late := g.entries[len(g.entries)-1]
		g.entries = nil
		m.mu.Unlock()
		if rng.IntN(2) == 0 {
			m.pause(20 * time.Millisecond)
		} else {
			m.settle()
		}
		m.deliver(topic, late.Position, string(late.Message))
		m.settle()
		for n := range uint64(3) {
			body := fmt.Sprintf("{%d}", g.published)
			p := history.Position{Time: 1, Seq: n}
			m.mu.Lock()
			g.published++
			g.durable = append(g.durable, body)
			g.entries = append(g.entries, history.Entry{Position: p, Topic: topic, Message: []byte(body)})
			m.mu.Unlock()
			m.deliver(topic, p, body)
			m.pause(20 * time.Millisecond)
		}
		m.settle()
		m.check(true)
		if !slices.Equal(g.passed, g.durable) || !slices.Equal(g.told, []string{ReasonHistoryLost}) {
			t.Errorf("passed %v of %v, told %v", g.passed, g.durable, g.told)
		}
	})
}

// A probe sees log entries in the history that nobody wants, and a message of one comes late: no loss, unless it was
// wanted.
func TestUnwantedMessageIsNoLoss(t *testing.T) {
	for _, tt := range []struct {
		name  string
		logs  tailTopic
		state tailState
	}{
		{"not heard", tailTopic{}, tailLive},
		{"heard since", tailTopic{heard: true, since: history.Position{Time: 8}}, tailLive},
		{"heard before", tailTopic{heard: true, since: history.Position{Time: 7}}, tailRepairing},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newTails(nil, 1, TopicsOptions{Logger: slog.New(slog.DiscardHandler)})
			tl := &tail{
				guild: "1", queue: x.queues[0], state: tailLive, readable: true, position: history.Position{Time: 9},
				topics: [2]tailTopic{{heard: true}, tt.logs},
			}
			if x.takeLocked(tl, event.Topic{Guild: "1", Logs: true}, history.Position{Time: 8}, nil, 0) {
				t.Error("it was passed on")
			}
			if tl.state != tt.state || (tl.lost != "") != (tt.state == tailRepairing) {
				t.Errorf("state %d, lost %q", tl.state, tl.lost)
			}
		})
	}
}

func TestPassed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTails(nil, 1, TopicsOptions{})
		q := x.queues[0]
		if _, known := x.passed(t.Context(), q, "1"); known {
			t.Error("a guild that nobody holds is known")
		}
		tl := &tail{guild: "1", queue: q, state: tailRepairing, readable: true, position: history.Position{Time: 9}}
		q.guilds["1"] = tl
		tl.passing = true
		returned := false
		go func() {
			if p, known := x.passed(t.Context(), q, "1"); !known || p != (history.Position{Time: 9}) {
				t.Errorf("%v, %t", p, known)
			}
			returned = true
		}()
		synctest.Wait()
		q.mu.Lock()
		close(tl.done)
		tl.state, tl.done, tl.position = tailLive, nil, history.Position{Time: 10}
		q.mu.Unlock()
		synctest.Wait()
		if returned {
			t.Error("it did not wait for the queue")
		}
		q.mu.Lock()
		close(tl.idle)
		tl.passing, tl.idle = false, nil
		q.mu.Unlock()
		synctest.Wait()
		if !returned {
			t.Error("it waits for ever")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		tl.passing = true
		if _, known := x.passed(ctx, q, "1"); known {
			t.Error("it did not see the end of the context")
		}
	})
}
