//go:build integration

package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/internal/redisurl"
	"github.com/architus/guildcast/internal/test/lifecycle"
	"github.com/architus/guildcast/internal/test/redistest"
	"github.com/architus/guildcast/internal/test/wait"
	"github.com/architus/guildcast/redis"
)

const workerGuild = "607637793107345431"

// exampleWorkers are the commands of examples/workers, on the kits and plain. The plain ones and the kit for Python
// have the Redis client of the integration tests.
func exampleWorkers(t *testing.T) map[string][]string {
	t.Helper()
	const python = "python/.venv/bin/python"
	modules, err := filepath.Abs("nodejs/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]string{
		"node":         {"node", "../examples/workers/worker.js"},
		"python":       {"env", "PYTHONPATH=../clients/python/src", python, "../examples/workers/worker.py"},
		"plain node":   {"env", "NODE_PATH=" + modules, "node", "../examples/workers/plain/worker.js"},
		"plain python": {python, "../examples/workers/plain/worker.py"},
	}
}

// startExample runs an example worker and returns once it takes requests.
func startExample(t *testing.T, language, redisURL, pools string, env ...string) *process {
	t.Helper()
	command := exampleWorkers(t)[language]
	p := start(t, language+" worker", append([]string{"REDIS_URL=" + redisURL}, env...), nil, command[0],
		append(command[1:], pools)...)
	p.waitOutput(t, "worker is ready")
	return p
}

// startRequests is the node's side of requests.
func startRequests(t *testing.T, redisURL string, o redis.RequestsOptions) *redis.Requests {
	t.Helper()
	c, err := redisurl.Connect(redisURL)
	if err != nil {
		t.Fatal(err)
	}
	b := bus.New(c.Client, bus.Options{})
	r := redis.NewRequests(c.Client, b, o)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = b.Close(ctx)
		_ = c.Close()
	})
	lifecycle.Start(t, r.Run)
	return r
}

// writePools writes a pool file with n members of workerGuild.
func writePools(t *testing.T, n int) string {
	t.Helper()
	var members []map[string]string
	for i := range n {
		members = append(members, map[string]string{"id": fmt.Sprint(1000 + i), "name": fmt.Sprint("member ", i)})
	}
	data, err := json.Marshal(map[string]any{workerGuild: map[string]any{"member": members}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "pools.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// poolPart is one part of an answer of a worker.
type poolPart struct {
	Data []struct {
		ID string `json:"id"`
	} `json:"data"`
	Nonexistent []string `json:"nonexistent"`
}

// askPool returns the ids and the nonexistent ids of a whole answer.
func askPool(r *redis.Requests, method string, args map[string]any) (ids, nonexistent []string, err error) {
	args["type"], args["guild_id"] = "member", workerGuild
	data, err := json.Marshal(args)
	if err != nil {
		return nil, nil, err
	}
	err = r.Do(context.Background(), workerGuild, method, data, func(part []byte) error {
		var p poolPart
		if err := json.Unmarshal(part, &p); err != nil {
			return err
		}
		for _, e := range p.Data {
			ids = append(ids, e.ID)
		}
		nonexistent = append(nonexistent, p.Nonexistent...)
		return nil
	})
	return ids, nonexistent, err
}

func TestExampleWorkers(t *testing.T) {
	t.Parallel()
	for language := range exampleWorkers(t) {
		t.Run(language, func(t *testing.T) {
			r := startRedis(t)
			startExample(t, language, r.url, writePools(t, 25), "PART_SIZE=10")
			requests := startRequests(t, r.url, redis.RequestsOptions{Timeout: patience})

			if ids, _, err := askPool(requests, "all", map[string]any{}); err != nil || len(ids) != 25 ||
				!slices.IsSorted(ids) {
				t.Errorf("all: %v, %v", ids, err)
			}
			ids, nonexistent, err := askPool(requests, "fetch", map[string]any{"ids": []string{"1003", "7", "1001"}})
			if err != nil || !slices.Equal(ids, []string{"1001", "1003"}) || !slices.Equal(nonexistent, []string{"7"}) {
				t.Errorf("fetch: %v, %v, %v", ids, nonexistent, err)
			}
			if ids, _, err := askPool(requests, "search",
				map[string]any{"query": "MEMBER 2", "limit": 3}); err != nil || len(ids) != 3 {
				t.Errorf("search: %v, %v", ids, err)
			}
			_, _, err = askPool(requests, "nonsense", map[string]any{})
			var refused *redis.Error
			if !errors.As(err, &refused) || refused.Code() != 400 || refused.Word() != "unknown_method" {
				t.Errorf("nonsense: %v", err)
			}
			var said string
			err = requests.Do(context.Background(), "", "interpret",
				[]byte(`{"action":3001,"guild_id":4211,"message_id":2,"content":"hi"}`),
				func(part []byte) error { said = string(part); return nil })
			var got, want any
			_ = json.Unmarshal([]byte(said), &got)
			_ = json.Unmarshal([]byte(`{"guild_id":4211,"actions":[{"action":3001,"message_id":3,"content":"you said: hi"}]}`), &want)
			if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("interpret: %s, %v", said, err)
			}
		})
	}
}

// A worker is killed again and again while requests flow: every request ends, with the whole answer of one worker or an
// error that says so, and none is answered twice.
func TestWorkersAreKilled(t *testing.T) {
	t.Parallel()
	const (
		members = 35
		callers = 6
		kills   = 8
	)
	r := startRedis(t)
	pools := writePools(t, members)
	env := []string{"PART_SIZE=10", "DELAY_MS=10"}
	requests := startRequests(t, r.url, redis.RequestsOptions{Timeout: 15 * time.Second})
	workers := map[string]*process{}
	languages := []string{"node", "plain python", "python", "plain node"}
	for _, l := range languages {
		workers[l] = startExample(t, l, r.url, pools, env...)
	}

	var answered, timedOut atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				ids, _, err := askPool(requests, "all", map[string]any{})
				switch {
				case errors.Is(err, redis.ErrTimeout):
					timedOut.Add(1)
				case err != nil:
					t.Errorf("a request failed: %v", err)
				case len(ids) != members || !slices.IsSorted(ids) || len(slices.Compact(slices.Clone(ids))) != members:
					t.Errorf("an answer is not one worker's whole one: %v", ids)
				default:
					answered.Add(1)
				}
			}
		})
	}
	for i := range kills {
		l := languages[i%len(languages)]
		before := answered.Load()
		wait.Until(t, "answers between two kills", func() bool { return answered.Load() >= before+20 })
		if err := workers[l].cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-workers[l].done
		workers[l] = startExample(t, l, r.url, pools, env...)
	}
	close(stop)
	wg.Wait()
	s := requests.Stats()
	t.Logf("%d answered, %d timed out, %d late replies dropped", answered.Load(), timedOut.Load(), s.Late)
	if s.InFlight != 0 || s.Sent != s.Answered+s.Timeouts || s.Malformed != 0 {
		t.Errorf("stats %+v", s)
	}
	if timedOut.Load() > answered.Load()/20 {
		t.Errorf("%d of %d requests timed out though a worker was there", timedOut.Load(), s.Sent)
	}
	client := redisClient(t, r.url)
	wait.Until(t, "the stream to be empty", func() bool {
		n, err := client.XLen(context.Background(), "guildcast:requests:pool:0").Result()
		return err == nil && n == 0
	})
}

func redisClient(t *testing.T, url string) *goredis.Client {
	t.Helper()
	o, err := goredis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	o.ReadTimeout = patience // what is published again because the answer is late comes twice
	c := goredis.NewClient(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// The example workers take a request over behind others that the node has withdrawn, also from a Redis before 7.
func TestExampleWorkersTakeOver(t *testing.T) {
	t.Parallel()
	for language := range exampleWorkers(t) {
		t.Run(language, func(t *testing.T) {
			m, client := redistest.Mini(t)
			redistest.Before7(t, m)
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			const stream, withdrawn = "guildcast:requests:interpret", 30
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			must(client.XGroupCreateMkStream(ctx, stream, "workers", "0").Err())
			var ids []string
			for range withdrawn + 1 {
				ids = append(ids, client.XAdd(ctx, &goredis.XAddArgs{Stream: stream, Values: []string{
					"id", "left", "method", "interpret", "args",
					`{"action":3001,"guild_id":1,"message_id":2,"content":"hi"}`,
					"reply_to", "reply", "deadline", fmt.Sprint(time.Now().Add(patience).UnixMilli()),
				}}).Val())
			}
			must(client.XReadGroup(ctx, &goredis.XReadGroupArgs{
				Group: "workers", Consumer: "dead", Streams: []string{stream, ">"}, Count: withdrawn + 1,
			}).Err())
			must(client.XDel(ctx, stream, ids[:withdrawn]...).Err())
			replies := client.Subscribe(ctx, "reply")
			defer replies.Close()
			_, err := replies.Receive(ctx)
			must(err)
			startExample(t, language, "redis://"+m.Addr(), writePools(t, 1))
			reply, err := replies.ReceiveMessage(ctx)
			must(err)
			if !strings.Contains(reply.Payload, `"left"`) {
				t.Errorf("got %s", reply.Payload)
			}
			wait.Until(t, "nothing to be pending", func() bool {
				p, err := client.XPending(ctx, stream, "workers").Result()
				return err == nil && p.Count == 0
			})
		})
	}
}
