package redis

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/internal/botwire"
	"github.com/architus/guildcast/internal/test/lifecycle"
	"github.com/architus/guildcast/internal/test/redistest"
	"github.com/architus/guildcast/worker"
)

// BenchmarkRequests sends requests to a worker in this process over a real Redis. It measures both sides.
func BenchmarkRequests(b *testing.B) {
	client := redistest.Start(b).Client()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = worker.New(client, handlerFunc(echo), worker.Options{}).Run(ctx)
	}()
	hub := bus.New(client, bus.Options{})
	r := NewRequests(client, hub, RequestsOptions{})
	stop := lifecycle.Start(b, r.Run)
	b.ReportAllocs()
	for b.Loop() {
		if err := r.Do(ctx, "1", "search", []byte(`{"query":"x"}`), func([]byte) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
	stop()
	cancel()
	<-done
	leaving, left := context.WithTimeout(context.Background(), time.Second)
	defer left()
	_ = hub.Close(leaving)
}

// BenchmarkEntitiesAll reads a pool of 100,000 members of some 200 bytes.
func BenchmarkEntitiesAll(b *testing.B) {
	client := redistest.Start(b).Client()
	ctx := context.Background()
	const n, step = 100_000, 5000
	for i := 0; i < n; i += step {
		var pairs []any
		for j := range step {
			id := fmt.Sprint(100000000000000000 + i + j)
			pairs = append(pairs, id, fmt.Sprintf(`{"id":%q,"name":"member %d","discriminator":"0001",`+
				`"joined_at":"2020-02-11T09:30:00Z","nick":null,`+
				`"roles":["607637793107345431","607637793107345432"],"color":"#3498db"}`, id, i+j))
		}
		if err := client.HSet(ctx, "guildcast:pool:{1}:member", pairs...).Err(); err != nil {
			b.Fatal(err)
		}
	}
	e := NewEntities(client, nil)
	b.ReportAllocs()
	for b.Loop() {
		got := 0
		count := func(ids []string, _ [][]byte) error { got += len(ids); return nil }
		if err := e.All(ctx, "1", "member", count); err != nil || got < n {
			b.Fatal(got, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/entity")
}

// BenchmarkTopicsMessage passes messages of a guild on to a handler that does nothing: plain ones without and with the
// histories of guilds, and durable ones.
func BenchmarkTopicsMessage(b *testing.B) {
	_, client := redistest.Mini(b)
	body := []byte(`{"kind":"member","payload":{"guild_id":"1","pad":"` + strings.Repeat("x", 300) + `"}}`)
	for name, c := range map[string]struct{ history, durable bool }{
		"without history": {}, "plain": {history: true}, "durable": {history: true, durable: true},
	} {
		b.Run(name, func(b *testing.B) {
			hub := bus.New(client, bus.Options{})
			o := TopicsOptions{
				Queues: 1, OnMessage: func(event.Topic, history.Position, []byte, time.Time) {},
				ProbeInterval: time.Hour,
			}
			if c.history {
				o.History = history.NewReader(client, history.ReaderOptions{})
			}
			topics := NewTopics(hub, o)
			if _, err := topics.Acquire(b.Context(), event.Topic{Guild: "1"}); err != nil {
				b.Fatal(err)
			}
			epoch, _ := topics.subs[0].Epoch(bus.Channel, "1")
			m := bus.Message{Channel: "1", Payload: body, Epoch: epoch}
			buf := make([]byte, 0, len(body)+64)
			p := history.Position{Time: uint64(time.Now().UnixMilli())}
			b.ReportAllocs()
			for b.Loop() {
				if c.durable {
					p.Seq++
					m.Payload = append(append(p.Append(buf), ' '), body...)
				}
				topics.handle(0, m)
			}
			leaving, left := context.WithTimeout(context.Background(), time.Second)
			defer left()
			_ = hub.Close(leaving)
		})
	}
}

// BenchmarkResubscribe loses the connection on which 100,000 guilds are heard that have a history, and measures until
// they are heard again and until all are compared with their histories.
func BenchmarkResubscribe(b *testing.B) {
	server := redistest.Start(b)
	client := server.Client()
	const guilds = 100_000
	ctx := context.Background()
	pipe := client.Pipeline()
	for i := range guilds {
		pipe.XAdd(ctx, &goredis.XAddArgs{
			Stream: botwire.HistoryKey(fmt.Sprint(i)), Values: []string{"t", "pool", "m", "{}"},
		})
	}
	if _, err := pipe.Exec(ctx); err != nil {
		b.Fatal(err)
	}
	hub := bus.New(server.Client(), bus.Options{})
	topics := NewTopics(hub, TopicsOptions{
		History: history.NewReader(server.Client(), history.ReaderOptions{}), Linger: -1, ProbeInterval: time.Hour,
		OnMissed: func([]event.Topic, string) { b.Error("something could not be repaired") },
	})
	stop := lifecycle.Start(b, topics.Run)
	var acquiring sync.WaitGroup
	for w := range 100 {
		acquiring.Go(func() {
			for i := w; i < guilds; i += 100 {
				if _, err := topics.Acquire(ctx, event.Topic{Guild: fmt.Sprint(i)}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	acquiring.Wait()
	var hearing, live time.Duration
	var rounds uint64
	b.ReportAllocs()
	for b.Loop() {
		began, losses := time.Now(), hub.Stats().Losses
		if err := client.ClientKillByFilter(ctx, "TYPE", "pubsub").Err(); err != nil {
			b.Fatal(err)
		}
		for hub.Stats().Losses == losses || !hub.State().Hearing {
			time.Sleep(time.Millisecond)
		}
		hearing += time.Since(began)
		rounds++
		for topics.HistoryStats().Repairs < guilds*rounds || !allLive(topics) {
			time.Sleep(time.Millisecond)
		}
		live += time.Since(began)
	}
	b.ReportMetric(float64(hearing.Milliseconds())/float64(b.N), "ms/heard")
	b.ReportMetric(float64(live.Milliseconds())/float64(b.N), "ms/live")
	stop()
	leaving, left := context.WithTimeout(ctx, time.Second)
	defer left()
	_ = hub.Close(leaving)
}

func allLive(t *Topics) bool {
	for _, q := range t.tails.queues {
		for _, tl := range q.all() {
			q.mu.Lock()
			live := tl.state == tailLive
			q.mu.Unlock()
			if !live {
				return false
			}
		}
	}
	return true
}
