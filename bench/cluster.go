//go:build linux

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/tinylib/msgp/msgp"

	"github.com/architus/guildcast/internal/test/sioclient"
)

func clusterCases() []benchCase {
	received := func(clients, n int, burst bool) func(*server, string) (float64, error) {
		return func(s *server, addr string) (float64, error) { return fromRedis(s, addr, clients, n, burst) }
	}
	return []benchCase{
		{
			name: "adapter: received, 0 clients", unit: "µs", target: "(as small as can be)", redis: true,
			run: received(0, 20_000, true),
		},
		{
			name: "adapter: received, 1 client", unit: "µs", target: "<= 0.333", redis: true,
			run: received(1, 20_000, true), ok: atMost(1.0 / 3),
		},
		{
			name: "adapter: received, 100 clients", unit: "µs", target: "<= 0.125", redis: true,
			run: received(100, 3_000, true), ok: atMost(1.0 / 8),
		},
		{name: "adapter: publish", unit: "µs", target: "<= 0.6", redis: true,
			run: func(s *server, addr string) (float64, error) { return toRedis(s, addr, 20_000) }, ok: atMost(0.6)},
		{name: "adapter: latency p99", unit: "ms", target: "<= 1.0", redis: true,
			run: func(s *server, addr string) (float64, error) {
				return latency(s, addr, 1500, 3*time.Millisecond)
			}, ok: atMost(1)},
	}
}

// broadcast is what @socket.io/redis-adapter publishes for io.to(room).emit("m", i, pad).
func broadcast(room string, i int, pad string) []byte {
	b := msgp.AppendArrayHeader(nil, 3)
	b = msgp.AppendString(b, "bench1")
	b = msgp.AppendMapHeader(b, 3)
	b = msgp.AppendInt(msgp.AppendString(b, "type"), 2)
	b = msgp.AppendArrayHeader(msgp.AppendString(b, "data"), 3)
	b = msgp.AppendString(msgp.AppendInt(msgp.AppendString(b, "m"), i), pad)
	b = msgp.AppendString(msgp.AppendString(b, "nsp"), "/")
	b = msgp.AppendMapHeader(b, 3)
	b = msgp.AppendString(msgp.AppendArrayHeader(msgp.AppendString(b, "rooms"), 1), room)
	b = msgp.AppendArrayHeader(msgp.AppendString(b, "except"), 0)
	return msgp.AppendMapHeader(msgp.AppendString(b, "flags"), 0)
}

// fromRedis: CPU per message received from Redis (clients 0 or 1), or per delivery (more clients). With no client the
// messages go to a room of others, and the end is seen by a last one to a room of ours.
func fromRedis(s *server, addr string, clients, n int, _ bool) (float64, error) {
	a, err := gather(s, max(clients, 1), "", clients > 0, func(int) string { return "room" })
	if err != nil {
		return 0, err
	}
	defer sioclient.CloseAll(a.conns)
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	room, pad, ctx := "room", strings.Repeat("x", 200), context.Background()
	want := clients * n
	if clients == 0 {
		room, want = "elsewhere", 1
	}
	a.expect(want)
	cpu, err := s.cpu(func() error {
		for i := 0; i < n; {
			pipe := client.Pipeline()
			for range min(100, n-i) {
				pipe.Publish(ctx, "socket.io#/#"+room+"#", broadcast(room, i, pad))
				i++
			}
			if _, err := pipe.Exec(ctx); err != nil {
				return err
			}
		}
		if clients == 0 {
			if err := client.Publish(ctx, "socket.io#/#room#", broadcast("room", 0, pad)).Err(); err != nil {
				return err
			}
		}
		return a.wait()
	})
	return cpu / float64(max(want, n)), err
}

// toRedis: CPU per broadcast to a room that has no member here.
func toRedis(s *server, addr string, n int) (float64, error) {
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	ctx := context.Background()
	ps := client.PSubscribe(ctx, "socket.io#/#*")
	defer ps.Close()
	if _, err := ps.Receive(ctx); err != nil {
		return 0, err
	}
	var got atomic.Int64
	done := make(chan struct{})
	go func() {
		for {
			if _, err := ps.ReceiveMessage(ctx); err != nil {
				return
			}
			if got.Add(1) == int64(n) {
				close(done)
			}
		}
	}()
	control, err := sioclient.Dial(s.addr, sioclient.Options{})
	if err != nil {
		return 0, err
	}
	defer control.Close()
	cpu, err := s.cpu(func() error {
		if err := control.Send(fmt.Sprintf(`42["burst","elsewhere",%d,200]`, n)); err != nil {
			return err
		}
		return waitAll(done, func() string { return fmt.Sprintf("%d of %d", got.Load(), n) })
	})
	return cpu / float64(n), err
}

// latency: 99th percentile, in ms, from PUBLISH to the client, one message at a time.
func latency(s *server, addr string, n int, every time.Duration) (float64, error) {
	arrived := make(chan time.Time, 1)
	c, err := sioclient.Dial(s.addr, sioclient.Options{OnEvent: func(p []byte) {
		if number(p, `["m",`) >= 0 {
			arrived <- time.Now()
		}
	}})
	if err != nil {
		return 0, err
	}
	defer c.Close()
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	pad, ctx := strings.Repeat("x", 200), context.Background()
	var ds []time.Duration
	for i := range n {
		begin := time.Now()
		if err := client.Publish(ctx, "socket.io#/#"+c.SID()+"#", broadcast(c.SID(), i, pad)).Err(); err != nil {
			return 0, err
		}
		select {
		case at := <-arrived:
			ds = append(ds, at.Sub(begin))
		case <-time.After(10 * time.Second):
			return 0, errTimeout
		}
		time.Sleep(every - time.Since(begin))
	}
	slices.Sort(ds)
	return float64(ds[len(ds)*99/100].Microseconds()) / 1000, nil
}
