package handlers_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/handlers"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/internal/redisurl"
	"github.com/architus/guildcast/internal/test/lifecycle"
	"github.com/architus/guildcast/internal/test/wait"
	"github.com/architus/guildcast/redis"
	"github.com/architus/guildcast/worker"
)

// withRedis runs a node on the real parts and a Redis in this process.
func withRedis(t *testing.T) (*node, *redisurl.Connection) {
	t.Helper()
	return withRedisAt(t, "embedded", patience)
}

// withRedisAt is withRedis with a Redis elsewhere, and another time for a backend to answer in.
func withRedisAt(t *testing.T, url string, timeout time.Duration) (*node, *redisurl.Connection) {
	t.Helper()
	conn, err := redisurl.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	b := bus.New(conn.Client, bus.Options{})
	var n *node
	topics := redis.NewTopics(b, redis.TopicsOptions{
		Linger: -1,
		OnMessage: func(topic event.Topic, p history.Position, data []byte, at time.Time) {
			n.gateway.Receive(topic, p, data, at)
		},
		OnMissed: func(topics []event.Topic, reason string) { n.gateway.Resync(topics, reason) },
	})
	requests := redis.NewRequests(conn.Client, b, redis.RequestsOptions{Timeout: timeout})
	t.Cleanup(func() { // after the node's own
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := b.Close(ctx); err != nil {
			t.Error(err)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	lifecycle.Start(t, topics.Run)
	lifecycle.Start(t, requests.Run)
	n = start(t, func(_ *handlers.Config, p *handlers.Parts) {
		p.Topics, p.Backend, p.Pools = topics, requests, redis.NewEntities(conn.Client, nil)
	})
	return n, conn
}

// What is published after the answer arrives is delivered, however fast a client changes what it spectates.
func TestPublishedAfterTheAnswerIsDelivered(t *testing.T) {
	n, conn := withRedis(t)
	tok := mint(t, map[string]any{"guilds": map[string]any{guildA: 6, guildB: 6}})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			c := elevated(t, n, tok)
			for i := range 50 {
				guild := []string{guildA, guildB}[i%2]
				c.emit("spectate", map[string]any{"guild_id": guild, "include_logs": true, "token": tok, "_id": i})
				for c.next().event != "spectate_return" { // what the others publish comes too
				}
				mark := fmt.Sprintf("%s-%d", c.sid, i)
				data := fmt.Sprintf(`{"kind":"message","payload":{"mark":%q}}`, mark)
				if err := conn.Client.Publish(t.Context(), guild+"_logs", data).Err(); err != nil {
					t.Error(err)
					return
				}
				for !strings.Contains(string(c.next().arg), mark) {
				}
			}
			c.close()
		})
	}
	clients.Wait()
	wait.Until(t, "the topics to be given up", func() bool {
		channels := []string{guildA, guildA + "_logs", guildB, guildB + "_logs"}
		subscribed, err := conn.Client.PubSubNumSub(t.Context(), channels...).Result()
		if err != nil {
			t.Fatal(err)
		}
		for _, count := range subscribed {
			if count != 0 {
				return false
			}
		}
		return true
	})
}

// backend is a worker's handler that knows the even ids.
type backend struct{}

func (backend) Handle(_ context.Context, method string, args []byte, reply func([]byte, bool) error) error {
	if method != "fetch" {
		return workerError{404, "unknown_method"}
	}
	if strings.Contains(string(args), `"20"`) {
		return reply([]byte(`{"data":[{"id":"20"}],"nonexistent":[]}`), false)
	}
	return reply([]byte(`{"data":[],"nonexistent":[]}`), false)
}

func TestPoolThroughRedis(t *testing.T) {
	tok := mint(t, nil)
	fill := func(conn *redisurl.Connection) {
		key := "guildcast:pool:{" + guildA + "}:role"
		if err := conn.Client.HSet(t.Context(), key, "7", `{"id":"7"}`, "8", `nonsense`).Err(); err != nil {
			t.Fatal(err)
		}
	}
	query := map[string]any{"type": "role", "guild_id": guildA, "ids": []any{"7", "8", "20", "21"}, "token": tok,
		"_id": 1.0}

	idle, conn := withRedisAt(t, "embedded", 300*time.Millisecond) // nobody works there
	fill(conn)
	got, e := elevated(t, idle, tok).parts(query)
	wantParts(t, got, "role [7] -[] false")
	wantError(t, e, 504, "backend_timeout")

	n, conn := withRedis(t)
	fill(conn)
	c := elevated(t, n, tok)
	ctx, cancel := context.WithCancel(t.Context())
	w := worker.New(conn.Client, backend{}, worker.Options{})
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	got, e = c.parts(query)
	if e != nil {
		t.Fatal(e)
	}
	wantParts(t, got, "role [7] -[] false", "role [20] -[8 21] true")
	_, e = c.parts(map[string]any{"type": "channel", "guild_id": guildA, "token": tok, "_id": 2.0})
	wantError(t, e, 404, "unknown_method")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
