package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/internal/botwire"
	"github.com/architus/guildcast/internal/redisurl"
	"github.com/architus/guildcast/internal/test/lifecycle"
	"github.com/architus/guildcast/internal/test/redistest"
	"github.com/architus/guildcast/internal/test/wait"
)

// durable is a node's topics, and a publisher of durable events for them.
type durable struct {
	*Topics
	t         *testing.T
	bus       *bus.Bus
	publisher *history.Publisher
	gate      chan struct{} // if not nil, each event takes one

	mu        sync.Mutex
	published map[string][]history.Position // by guild
	heard     map[string][]history.Position
	plain     []string
	told      map[string][]string // reasons, by guild
}

// newDurable makes the topics of a node that uses client. Publishers use another.
func newDurable(t *testing.T, client, publisher goredis.UniversalClient, bo bus.Options, o TopicsOptions) *durable {
	t.Helper()
	bo.BackoffMax, bo.HealthInterval, bo.ProbePrefix = 200*time.Millisecond, time.Second, "socket.io-probe#"
	b := bus.New(client, bo)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = b.Close(ctx)
	})
	d := &durable{
		t: t, bus: b, publisher: history.NewPublisher(publisher, history.PublisherOptions{
			MaxEntries: 100_000, Sharded: o.Sharded,
		}),
		published: map[string][]history.Position{}, heard: map[string][]history.Position{}, told: map[string][]string{},
	}
	o.History = history.NewReader(client, history.ReaderOptions{Timeout: 2 * time.Second})
	o.OnMessage, o.OnMissed, o.Linger = d.message, d.missed, -1
	d.Topics = NewTopics(b, o)
	lifecycle.Start(t, d.Run)
	return d
}

func (d *durable) message(topic event.Topic, p history.Position, payload []byte, _ time.Time) {
	if d.gate != nil {
		<-d.gate
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if p.IsZero() {
		d.plain = append(d.plain, string(payload))
		return
	}
	d.heard[topic.Guild] = append(d.heard[topic.Guild], p)
}

func (d *durable) missed(topics []event.Topic, reason string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, topic := range topics {
		if !topic.Logs {
			d.told[topic.Guild] = append(d.told[topic.Guild], reason)
		}
	}
}

// acquire acquires both topics of guilds.
func (d *durable) acquire(guilds ...string) {
	d.t.Helper()
	for _, guild := range guilds {
		acquire(d.t, d.Topics, event.Topic{Guild: guild})
		acquire(d.t, d.Topics, event.Topic{Guild: guild, Logs: true})
	}
}

// publish publishes n events of each guild, on both topics in turn. What Redis refuses is published again.
func (d *durable) publish(n int, guilds ...string) {
	d.t.Helper()
	ctx := within(d.t)
	for i := range n {
		for _, guild := range guilds {
			for {
				p, err := d.publisher.Publish(ctx, event.Topic{Guild: guild, Logs: i%2 == 1},
					fmt.Appendf(nil, `{"kind":"member","payload":{"seq":%d}}`, i))
				if ctx.Err() != nil {
					d.t.Errorf("publish: %v", err)
					return
				}
				if err == nil {
					d.mu.Lock()
					d.published[guild] = append(d.published[guild], p)
					d.mu.Unlock()
					break
				}
			}
		}
	}
}

// settled waits until the guilds' last events are heard.
func (d *durable) settled(guilds ...string) {
	d.t.Helper()
	wait.Until(d.t, "the last events are heard", func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return !slices.ContainsFunc(guilds, func(guild string) bool {
			p, h := d.published[guild], d.heard[guild]
			return len(h) == 0 || h[len(h)-1].Compare(p[len(p)-1]) < 0
		})
	})
}

// complete expects every event once and in order, and that nobody was told.
func (d *durable) complete(guilds ...string) {
	d.t.Helper()
	d.settled(guilds...)
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, guild := range guilds {
		entries := d.published[guild]
		heard := slices.DeleteFunc(slices.Clone(d.heard[guild]), func(p history.Position) bool {
			return !slices.Contains(entries, p) // published, and the answer was lost
		})
		if !slices.IsSortedFunc(d.heard[guild], history.Position.Compare) || !slices.Equal(heard, entries) {
			d.t.Errorf("guild %s: heard %d of %d events", guild, len(heard), len(entries))
		}
	}
	if len(d.told) > 0 {
		d.t.Errorf("told: %v", d.told)
	}
	d.t.Logf("%+v", d.HistoryStats())
}

// awaitTold waits until the spectators of a guild are told.
func (d *durable) awaitTold(guild, reason string) {
	d.t.Helper()
	wait.Until(d.t, "told "+reason, func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return slices.Contains(d.told[guild], reason)
	})
}

var threeGuilds = []string{"1", "2", "3"}

func TestRepairAfterKilledSubscriptions(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	d := newDurable(t, server.Client(), server.Client(), bus.Options{}, TopicsOptions{})
	d.acquire(threeGuilds...)
	client := server.Client()
	published := make(chan struct{})
	go func() {
		defer close(published)
		d.publish(1500, threeGuilds...)
	}()
	kills := 0
	for done := false; !done; {
		kills++
		if err := client.ClientKillByFilter(within(t), "TYPE", "pubsub").Err(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-published:
			done = true
		case <-time.After(50 * time.Millisecond):
		}
	}
	t.Logf("%d kills", kills)
	d.complete(threeGuilds...)
	if s := d.HistoryStats(); s.Repaired == 0 {
		t.Error("nothing was repaired: this proves little")
	}
}

func TestRepairAfterARestart(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	d := newDurable(t, server.Client(), server.Client(), bus.Options{}, TopicsOptions{})
	d.acquire(threeGuilds...)
	d.publish(20, threeGuilds...)
	published := make(chan struct{})
	go func() {
		defer close(published)
		d.publish(500, threeGuilds...)
	}()
	for range 2 {
		server.Stop()
		server.Start()
	}
	<-published
	d.complete(threeGuilds...)
}

func TestRepairAfterAPause(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	d := newDurable(t, server.Client(), server.Client(), bus.Options{}, TopicsOptions{})
	d.acquire("1")
	d.publish(10, "1")
	server.Pause()
	wait.Until(t, "not heard", func() bool { return !d.bus.State().Hearing })
	server.Resume()
	d.publish(10, "1")
	d.complete("1")
}

func TestRepairAfterAnOverflow(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	d := newDurable(t, server.Client(), server.Client(), bus.Options{
		ReceiveQueueBytes: 2000, ReceiveStall: time.Millisecond,
	}, TopicsOptions{Queues: 1})
	d.gate = make(chan struct{})
	d.acquire(threeGuilds...)
	d.publish(100, threeGuilds...)
	wait.Until(t, "messages are dropped", func() bool { return d.bus.Stats().ReceiveDropped > 0 })
	close(d.gate)
	d.publish(1, threeGuilds...)
	d.complete(threeGuilds...)
}

// TestLostData has Redis lose everything while nobody's connection is lost.
func TestLostData(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]int{"silence": 0, "events": 5, "events before a probe": 5} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			client := server.Client()
			d := newDurable(t, server.Client(), client, bus.Options{}, TopicsOptions{})
			d.acquire("1", "2")
			d.publish(10, "1")
			d.settled("1")
			if !strings.Contains(name, "before") {
				wait.Until(t, "verified", func() bool { return d.verified("1") })
			}
			if err := client.FlushAll(within(t)).Err(); err != nil {
				t.Fatal(err)
			}
			now := time.Now().UnixMilli() // in which new events would have the positions of lost ones
			wait.Until(t, "the next millisecond", func() bool { return time.Now().UnixMilli() > now })
			d.publish(after, "1")
			d.awaitTold("1", ReasonHistoryLost)
			if len(d.told["2"]) > 0 {
				t.Errorf("guild 2, of which nothing was lost, was told %v", d.told["2"])
			}
			d.publish(5, "1")
			d.settled("1")
		})
	}
}

// verified reports whether a probe has compared everything that was passed on.
func (d *durable) verified(guild string) bool {
	q := d.tails.queues[d.index(guild)]
	q.mu.Lock()
	defer q.mu.Unlock()
	tl := q.guilds[guild]
	return tl.state == tailLive && tl.verified == tl.position && !tl.position.IsZero()
}

func TestLostDataWithRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	d := newDurable(t, server.Client(), server.Client(), bus.Options{}, TopicsOptions{})
	d.acquire("1")
	d.publish(10, "1")
	d.settled("1")
	server.Stop()
	server.Start()
	d.awaitTold("1", ReasonHistoryLost)
	d.publish(10, "1")
	d.settled("1")
}

// TestLostMessage has pub/sub lose messages by itself: the stream has them, and nobody heard them.
func TestLostMessage(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client()
	d := newDurable(t, server.Client(), client, bus.Options{}, TopicsOptions{})
	d.acquire("1", "2")
	d.publish(3, "1", "2")
	add := func(guild string) {
		t.Helper()
		id, err := client.XAdd(within(t), &goredis.XAddArgs{
			Stream: botwire.HistoryKey(guild), Values: []string{"t", "pool", "m", `{"kind":"member","payload":{}}`},
		}).Result()
		if err != nil {
			t.Fatal(err)
		}
		p, err := history.ParsePosition(id)
		if err != nil {
			t.Fatal(err)
		}
		d.mu.Lock()
		d.published[guild] = append(d.published[guild], p)
		d.mu.Unlock()
	}
	add("1") // the last
	add("2") // in the middle
	d.publish(1, "2")
	d.settled("1", "2")
	d.awaitTold("2", ReasonMessageLost)
	if len(d.told["1"]) > 0 {
		t.Errorf("told %v of a message that was repaired", d.told["1"])
	}
}

// TestPlainEventsAreTold has a plain event come by before a loss: another may have been missed.
func TestPlainEventsAreTold(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client()
	d := newDurable(t, server.Client(), client, bus.Options{}, TopicsOptions{})
	d.acquire("1", "2", "3")
	d.publish(1, "1", "2") // guild 3 has no history at all
	if err := client.Publish(within(t), "1", `{"kind":"member","payload":{}}`).Err(); err != nil {
		t.Fatal(err)
	}
	d.settled("1", "2")
	wait.Until(t, "the plain event is heard", func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return len(d.plain) == 1
	})
	if err := client.ClientKillByFilter(within(t), "TYPE", "pubsub").Err(); err != nil {
		t.Fatal(err)
	}
	d.awaitTold("1", ReasonRedisLost)
	d.awaitTold("3", ReasonRedisLost)
	d.publish(1, "2")
	d.settled("2")
	if len(d.told["2"]) > 0 {
		t.Errorf("guild 2, of which nothing was lost, was told %v", d.told["2"])
	}
}

func TestUnreadableHistory(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client()
	d := newDurable(t, server.Client(), client, bus.Options{}, TopicsOptions{})
	key := botwire.HistoryKey("1")
	if err := client.Set(within(t), key, "no stream", 0).Err(); err != nil {
		t.Fatal(err)
	}
	d.acquire("1")
	if p, ok := d.Position("1"); ok {
		t.Errorf("position %v", p)
	}
	for _, m := range []string{`{"plain":1}`, `1-1 {"durable":1}`, `1-1x {}`, `0-0 {}`} {
		if err := client.Publish(within(t), "1", m).Err(); err != nil {
			t.Fatal(err)
		}
	}
	wait.Until(t, "all are heard", func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return slices.Equal(d.plain, []string{`{"plain":1}`, `1-1x {}`, `0-0 {}`}) && len(d.heard["1"]) == 1
	})
	if err := client.Del(within(t), key).Err(); err != nil {
		t.Fatal(err)
	}
	d.publish(1, "1")
	d.settled("1")
	wait.Until(t, "the history is read again", func() bool {
		p, ok := d.Position("1")
		return ok && p == d.published["1"][0]
	})
}

func TestHistoryWithoutRights(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	root := server.Client()
	if err := root.Do(within(t), "ACL", "SETUSER", "node", "reset", "on", ">password", "allchannels", "+@all",
		"~other").Err(); err != nil {
		t.Fatal(err)
	}
	node := goredis.NewClient(&goredis.Options{Addr: server.Addr(), Username: "node", Password: "password"})
	t.Cleanup(func() { _ = node.Close() })
	d := newDurable(t, node, root, bus.Options{}, TopicsOptions{})
	d.acquire("1")
	if _, ok := d.Position("1"); ok {
		t.Error("a position without rights")
	}
	d.publish(10, "1")
	d.complete("1")
}

// TestRepairByAcquisition acquires the second topic of a guild while events of both come: what the first has not
// delivered yet comes before what the second delivers.
func TestRepairByAcquisition(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, client goredis.UniversalClient) {
		d := newDurable(t, client, client, bus.Options{}, TopicsOptions{})
		acquire(t, d.Topics, event.Topic{Guild: "1"})
		published := make(chan struct{})
		go func() {
			defer close(published)
			d.publish(400, "1")
		}()
		for range 20 {
			release := acquire(t, d.Topics, event.Topic{Guild: "1", Logs: true})
			p, ok := d.Position("1")
			lasts, err := history.NewReader(client, history.ReaderOptions{}).Last(within(t), []string{"1"})
			if err != nil || !ok || p.Compare(lasts[0].Position) > 0 {
				t.Errorf("position %v (%v), while the history ends with %+v (%v)", p, ok, lasts, err)
			}
			release()
		}
		acquire(t, d.Topics, event.Topic{Guild: "1", Logs: true})
		<-published
		d.settled("1")
		d.mu.Lock()
		defer d.mu.Unlock()
		if !slices.IsSortedFunc(d.heard["1"], history.Position.Compare) || len(d.told) > 0 {
			t.Errorf("in order: %v, told %v", d.heard["1"], d.told)
		}
	})
}

func TestRepairAfterFailover(t *testing.T) {
	t.Parallel()
	primary := redistest.Start(t)
	redistest.StartReplica(t, primary)
	sentinels := redistest.StartSentinels(t, primary, 1, 1)
	connect := func() *redisurl.Connection {
		c, err := redisurl.Connect("redis+sentinel://" + sentinels[0].Addr() + "/main")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	node := connect()
	d := newDurable(t, node.Client, connect().Client, bus.Options{OnMoved: node.Renew}, TopicsOptions{})
	d.acquire(threeGuilds...)
	d.publish(20, threeGuilds...)
	client := primary.Client()
	if err := client.Do(within(t), "WAIT", 1, 0).Err(); err != nil {
		t.Fatal(err)
	}
	sentinel := goredis.NewSentinelClient(&goredis.Options{Addr: sentinels[0].Addr()})
	defer sentinel.Close()
	primary.Stop()
	d.publish(20, threeGuilds...)
	d.complete(threeGuilds...)
}

func TestRepairAfterAMovedSlot(t *testing.T) {
	t.Parallel()
	for name, sharded := range map[string]bool{"plain": false, "sharded": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := redistest.StartCluster(t)
			d := newDurable(t, c.Client(), c.Client(), bus.Options{}, TopicsOptions{Sharded: sharded})
			d.acquire(threeGuilds...)
			published := make(chan struct{})
			go func() {
				defer close(published)
				d.publish(300, threeGuilds...)
			}()
			wait.Until(t, "events come", func() bool {
				d.mu.Lock()
				defer d.mu.Unlock()
				return len(d.heard["1"]) > 10
			})
			for range 3 {
				c.MoveSlot(botwire.HistoryKey("1"))
			}
			<-published
			if sharded {
				d.complete(threeGuilds...)
				return
			}
			// What the former server of a slot publishes goes other ways through the cluster than what the new one
			// does.
			d.settled(threeGuilds...)
			d.mu.Lock()
			defer d.mu.Unlock()
			for _, guild := range threeGuilds {
				if heard := d.heard[guild]; !slices.IsSortedFunc(heard, history.Position.Compare) ||
					len(heard) < len(d.published[guild]) && len(d.told[guild]) == 0 {
					t.Errorf("guild %s: heard %d of %d, told %v", guild, len(heard), len(d.published[guild]),
						d.told[guild])
				}
			}
		})
	}
}

// TestAcquireWithoutHistory verifies that an acquisition whose context ends leaves nothing behind.
func TestAcquireWithoutHistory(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	d := newDurable(t, server.Client(), server.Client(), bus.Options{}, TopicsOptions{})
	server.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := d.Acquire(ctx, event.Topic{Guild: "1"}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("acquired without Redis: %v", err)
	}
	for _, q := range d.tails.queues {
		if len(q.all()) != 0 {
			t.Error("a tail is left")
		}
	}
}
