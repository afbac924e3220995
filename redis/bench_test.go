package redis

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/architus/guildcast/bus"
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
