package redis

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/internal/test/lifecycle"
	"github.com/architus/guildcast/internal/test/redistest"
	"github.com/architus/guildcast/internal/test/wait"
)

// patience bounds every wait of the tests.
const patience = time.Minute

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func newBus(t *testing.T, client goredis.UniversalClient) *bus.Bus {
	t.Helper()
	b := bus.New(client, bus.Options{
		BackoffMax: 200 * time.Millisecond, HealthInterval: time.Second, ProbePrefix: "socket.io-probe#",
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = b.Close(ctx)
	})
	return b
}

// record records the callbacks of a Topics.
type record struct {
	mu       sync.Mutex
	messages []string
	missed   map[event.Topic]string
	losses   int // how often something was missed
}

func (r *record) message(topic event.Topic, _ history.Position, payload []byte, _ time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = append(r.messages, topic.Channel("")+" "+string(payload))
}

func (r *record) miss(topics []event.Topic, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.missed == nil {
		r.missed = map[event.Topic]string{}
	}
	for _, topic := range topics {
		r.missed[topic] = reason
	}
	r.losses++
}

func (r *record) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.messages)
}

func newTopics(t *testing.T, b *bus.Bus, linger time.Duration) (*Topics, *record) {
	t.Helper()
	r := &record{}
	topics := NewTopics(b, TopicsOptions{Prefix: "p:", Linger: linger, OnMessage: r.message, OnMissed: r.miss})
	lifecycle.Start(t, topics.Run)
	return topics, r
}

func acquire(t *testing.T, topics *Topics, topic event.Topic) func() {
	t.Helper()
	release, err := topics.Acquire(within(t), topic)
	if err != nil {
		t.Fatal(err)
	}
	return release
}

func TestTopics(t *testing.T) {
	for name, test := range map[string]func(*testing.T, goredis.UniversalClient){
		"in order over both topics of a guild": testTopicsOrder,
		"confirmed means heard":                testTopicsConfirmed,
		"subscribed only while needed":         testTopicsNeeded,
		"lingers":                              testTopicsLinger,
		"churn":                                testTopicsChurn,
	} {
		t.Run(name, func(t *testing.T) { redistest.Each(t, test) })
	}
}

func testTopicsOrder(t *testing.T, client goredis.UniversalClient) {
	b := newBus(t, client)
	topics, r := newTopics(t, b, -1)
	acquire(t, topics, event.Topic{Guild: "1"})
	acquire(t, topics, event.Topic{Guild: "1", Logs: true})
	const n = 1000
	for i := range n {
		if err := b.Publish(bus.Channel, []string{"p:1", "p:1_logs"}[i%2], fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	wait.Until(t, "all messages", func() bool { return r.len() == n })
	for i, m := range r.messages {
		if want := fmt.Sprintf("%s %d", []string{"1", "1_logs"}[i%2], i); m != want {
			t.Fatalf("message %d is %q, not %q", i, m, want)
		}
	}
}

func testTopicsConfirmed(t *testing.T, client goredis.UniversalClient) {
	topics, r := newTopics(t, newBus(t, client), -1)
	for i := range 30 {
		release := acquire(t, topics, event.Topic{Guild: fmt.Sprint(i)})
		if err := client.Publish(within(t), fmt.Sprint("p:", i), "x").Err(); err != nil {
			t.Fatal(err)
		}
		wait.Until(t, "heard", func() bool { return r.len() == i+1 })
		release()
	}
}

func testTopicsNeeded(t *testing.T, client goredis.UniversalClient) {
	b := newBus(t, client)
	topics, _ := newTopics(t, b, -1)
	first := acquire(t, topics, event.Topic{Guild: "7"})
	second := acquire(t, topics, event.Topic{Guild: "7"})
	if s := topics.Stats(); s.Acquired != 1 {
		t.Errorf("stats %+v", s)
	}
	first()
	first() // counts once
	if n, err := b.NumSub(within(t), bus.Channel, "p:7"); err != nil || n != 1 {
		t.Errorf("%d subscribers, %v, with one socket left", n, err)
	}
	second()
	wait.Until(t, "unsubscribed", func() bool {
		n, err := b.NumSub(within(t), bus.Channel, "p:7")
		return err == nil && n == 0
	})
	if s := topics.Stats(); s != (TopicsStats{}) {
		t.Errorf("stats %+v", s)
	}
}

func testTopicsLinger(t *testing.T, client goredis.UniversalClient) {
	t.Parallel() // it waits, each on a Redis of its own
	b := newBus(t, client)
	topics, r := newTopics(t, b, 2*time.Second)
	acquire(t, topics, event.Topic{Guild: "7"})()
	if s := topics.Stats(); s.Lingering != 1 || s.Acquired != 0 {
		t.Errorf("stats %+v", s)
	}
	release := acquire(t, topics, event.Topic{Guild: "7"})
	wait.Until(t, "linger over", func() bool { return topics.Stats().Lingering == 0 })
	if err := client.Publish(within(t), "p:7", "x").Err(); err != nil {
		t.Fatal(err)
	}
	wait.Until(t, "still heard", func() bool { return r.len() == 1 })
	release()
	wait.Until(t, "unsubscribed", func() bool {
		n, err := b.NumSub(within(t), bus.Channel, "p:7")
		return err == nil && n == 0
	})
}

func testTopicsChurn(t *testing.T, client goredis.UniversalClient) {
	b := newBus(t, client)
	topics, r := newTopics(t, b, time.Millisecond)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 40 {
				release, err := topics.Acquire(within(t), event.Topic{Guild: fmt.Sprint((g + i) % 3)})
				if err != nil {
					t.Error(err)
					return
				}
				release()
			}
		})
	}
	wg.Wait()
	wait.Until(t, "nothing held", func() bool {
		return topics.Stats() == TopicsStats{} && b.Stats().Subscriptions == 0
	})
	acquire(t, topics, event.Topic{Guild: "1"})
	if err := client.Publish(within(t), "p:1", "x").Err(); err != nil {
		t.Fatal(err)
	}
	wait.Until(t, "heard", func() bool { return r.len() == 1 })
}

func TestTopicsAfterALoss(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	topics, r := newTopics(t, newBus(t, client), time.Hour)
	held, lingering := event.Topic{Guild: "1"}, event.Topic{Guild: "2", Logs: true}
	acquire(t, topics, held)
	acquire(t, topics, event.Topic{Guild: "1", Logs: true})
	acquire(t, topics, lingering)()
	server.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, err := topics.Acquire(ctx, event.Topic{Guild: "3"}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("acquired without Redis: %v", err)
	}
	server.Start()
	wait.Until(t, "the gap is reported", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.missed[held] == ReasonRedisLost
	})
	if len(r.missed) != 2 || r.losses != 1 {
		t.Errorf("reported: %v, %d times", r.missed, r.losses)
	}
	if err := client.Publish(within(t), "p:1", "x").Err(); err != nil {
		t.Fatal(err)
	}
	wait.Until(t, "heard again", func() bool { return r.len() == 1 })
}

func TestTopicsOverflow(t *testing.T) {
	_, client := redistest.Mini(t)
	b := bus.New(client, bus.Options{ReceiveQueueBytes: 1000, ReceiveStall: time.Millisecond})
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	r, gate := &record{}, make(chan struct{})
	topics := NewTopics(b, TopicsOptions{
		Queues: 1, OnMissed: r.miss,
		OnMessage: func(topic event.Topic, p history.Position, payload []byte, at time.Time) {
			<-gate
			r.message(topic, p, payload, at)
		},
	})
	lifecycle.Start(t, topics.Run)
	acquire(t, topics, event.Topic{Guild: "1"})
	for range 100 {
		if err := b.Publish(bus.Channel, "1", make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
	}
	wait.Until(t, "messages are dropped", func() bool { s := b.Stats(); return s.ReceiveDropped+s.Received == 100 })
	close(gate)
	wait.Until(t, "queue empty", func() bool { return r.len() == int(b.Stats().Received) })
	if err := b.Publish(bus.Channel, "1", []byte("next")); err != nil { // tells about those before it
		t.Fatal(err)
	}
	wait.Until(t, "the overflow is reported", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.missed[event.Topic{Guild: "1"}] == ReasonOverflow
	})
}

func TestTopicsRefuse(t *testing.T) {
	_, client := redistest.Mini(t)
	topics := NewTopics(newBus(t, client), TopicsOptions{})
	stop := lifecycle.Start(t, topics.Run)
	for _, id := range []string{"", "x", "1*", "123456789012345678901"} {
		if _, err := topics.Acquire(within(t), event.Topic{Guild: id}); err == nil {
			t.Errorf("%q was acquired", id)
		}
	}
	stop()
	if _, err := topics.Acquire(within(t), event.Topic{Guild: "1"}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("acquire after close: %v", err)
	}
}
