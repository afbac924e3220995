package redis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/internal/redisurl"
	"github.com/architus/guildcast/internal/test/lifecycle"
	"github.com/architus/guildcast/internal/test/redistest"
	"github.com/architus/guildcast/internal/test/wait"
	"github.com/architus/guildcast/worker"
)

// handlerFunc is a function that is a worker.Handler.
type handlerFunc func(ctx context.Context, method string, args []byte, reply func([]byte, bool) error) error

func (f handlerFunc) Handle(ctx context.Context, method string, args []byte, reply func([]byte, bool) error) error {
	return f(ctx, method, args, reply)
}

// codedErr is an error for the client.
type codedErr int

func (e codedErr) Error() string { return "no_such_thing" }
func (e codedErr) Code() int     { return int(e) }

// echo answers "all" with {"n"} in n parts, "fetch" with an error, and the rest with its args.
func echo(_ context.Context, method string, args []byte, reply func([]byte, bool) error) error {
	switch method {
	case "fetch":
		return codedErr(404)
	case "all":
		var a struct{ N int }
		if err := json.Unmarshal(args, &a); err != nil {
			return err
		}
		for i := range a.N {
			if err := reply(fmt.Append(nil, i), i < a.N-1); err != nil {
				return err
			}
		}
		return nil
	}
	return reply(args, false)
}

// startWorker runs a worker until the test ends or stop is called.
func startWorker(
	t *testing.T, client goredis.UniversalClient, h handlerFunc, o worker.Options,
) (w *worker.Worker, stop func()) {
	t.Helper()
	w = worker.New(client, h, o)
	return w, lifecycle.Start(t, w.Run)
}

func newRequests(t *testing.T, client goredis.UniversalClient, o RequestsOptions) *Requests {
	t.Helper()
	r := NewRequests(client, newBus(t, client), o)
	lifecycle.Start(t, r.Run)
	return r
}

func do(t *testing.T, r *Requests, guild, method, args string) (string, error) {
	t.Helper()
	var parts []string
	err := r.Do(within(t), guild, method, []byte(args), func(p []byte) error {
		parts = append(parts, string(p))
		return nil
	})
	return strings.Join(parts, " "), err
}

func TestRequests(t *testing.T) {
	redistest.Each(t, func(t *testing.T, client goredis.UniversalClient) {
		startWorker(t, client, echo, worker.Options{Services: []string{"interpret", "pool:0", "pool:1", "pool:2"}})
		r := newRequests(t, client, RequestsOptions{Shards: 3, Timeout: patience})
		var wg sync.WaitGroup
		for g := range 4 {
			wg.Go(func() {
				for i := range 25 {
					args := fmt.Sprintf(`{"g":%d,"i":%d}`, g, i)
					guild := []string{"", fmt.Sprint(i << 22)}[i%2]
					method := []string{"interpret", "search"}[i/2%2]
					if got, err := do(t, r, guild, method, args); err != nil || got != args {
						t.Errorf("got %s, %v", got, err)
					}
				}
			})
		}
		wg.Wait()
		if got, err := do(t, r, "1", "all", `{"n":12}`); err != nil || got != "0 1 2 3 4 5 6 7 8 9 10 11" {
			t.Errorf("got %s, %v", got, err)
		}
		_, err := do(t, r, "1", "fetch", `{}`)
		var e *Error
		if !errors.As(err, &e) || e.Code() != 404 || e.Word() != "no_such_thing" {
			t.Errorf("the worker's error: %v", err)
		}
		if s := r.Stats(); s != (RequestsStats{Sent: 102, Answered: 101, Refused: 1}) {
			t.Errorf("stats %+v", s)
		}
		for i := range 3 {
			wait.Until(t, "the streams are empty", func() bool {
				n, err := client.XLen(within(t), fmt.Sprint("guildcast:requests:pool:", i)).Result()
				return err == nil && n == 0
			})
		}
	})
}

func TestRequestsShards(t *testing.T) {
	_, client := redistest.Mini(t)
	r := newRequests(t, client, RequestsOptions{Shards: 7})
	for guild, want := range map[string]string{
		"607637793107345431":   fmt.Sprint("guildcast:requests:pool:", (607637793107345431>>22)%7),
		"0":                    "guildcast:requests:pool:0",
		"99999999999999999999": "guildcast:requests:pool:6", // more than 64 bits
	} {
		if got, err := r.stream(guild, "fetch"); err != nil || got != want {
			t.Errorf("%s: %s, %v", guild, got, err)
		}
	}
	for _, guild := range []string{"x", "-1", "+1", "999999999999999999999", " 1"} {
		if _, err := do(t, r, guild, "fetch", "{}"); err == nil || errors.Is(err, ErrTimeout) {
			t.Errorf("guild %q: %v", guild, err)
		}
	}
}

// Requests that concern no guild are shared among all shards, whatever other requests come between.
func TestRequestsOfNoGuild(t *testing.T) {
	_, client := redistest.Mini(t)
	for shard := range 2 {
		answer := fmt.Append(nil, shard)
		startWorker(t, client, func(_ context.Context, _ string, _ []byte, reply func([]byte, bool) error) error {
			return reply(answer, false)
		}, worker.Options{Services: []string{fmt.Sprint("pool:", shard)}})
	}
	r := newRequests(t, client, RequestsOptions{Shards: 2, Timeout: patience})
	for _, between := range []int{0, 1} {
		got := map[string]int{}
		for range 4 {
			shard, err := do(t, r, "", "search", `{}`)
			must(t, err)
			got[shard]++
			for range between {
				_, err := do(t, r, "1", "search", `{}`)
				must(t, err)
			}
		}
		if got["0"] != 2 || got["1"] != 2 {
			t.Errorf("asked %v with %d others between", got, between)
		}
	}
}

func TestRequestsTimeOut(t *testing.T) {
	redistest.Each(t, func(t *testing.T, client goredis.UniversalClient) {
		r := newRequests(t, client, RequestsOptions{Timeout: 1500 * time.Millisecond})
		must(t, r.ear.wait(within(t)))
		must(t, client.XLen(within(t), "guildcast:requests:pool:0").Err()) // connected
		if _, err := do(t, r, "1", "fetch", "{}"); !errors.Is(err, ErrTimeout) {
			t.Errorf("no worker: %v", err)
		}
		wait.Until(t, "the request is withdrawn", func() bool {
			n, err := client.XLen(within(t), "guildcast:requests:pool:0").Result()
			return err == nil && n == 0
		})
		if s := r.Stats(); s.Timeouts != 1 || s.InFlight != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestRequestsBounds(t *testing.T) {
	_, client := redistest.Mini(t)
	gate := make(chan struct{})
	startWorker(t, client, func(ctx context.Context, method string, _ []byte, reply func([]byte, bool) error) error {
		if method == "all" {
			if err := reply(make500(), true); err != nil {
				return err
			}
			return reply(make500(), false)
		}
		select {
		case <-gate:
		case <-ctx.Done():
		}
		return reply([]byte("1"), false)
	}, worker.Options{})
	r := newRequests(t, client, RequestsOptions{MaxInFlight: 1, MaxAnswerBytes: 400, Timeout: patience})
	if _, err := do(t, r, "1", "all", "{}"); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a large answer: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		err := r.Do(ctx, "1", "fetch", []byte("{}"), nil)
		if !errors.Is(err, context.Canceled) || errors.Is(err, ErrTimeout) || errors.Is(err, ErrUnavailable) {
			t.Errorf("cancelled: %v", err)
		}
	})
	wait.Until(t, "in flight", func() bool { s := r.Stats(); return s.InFlight == 1 && s.Sent == 2 })
	if _, err := do(t, r, "1", "fetch", "{}"); !errors.Is(err, ErrBusy) {
		t.Errorf("the second request: %v", err)
	}
	late := r.Stats().Late
	cancel()
	wg.Wait()
	close(gate)
	wait.Until(t, "the late answer is dropped", func() bool { return r.Stats().Late > late })
	if s := r.Stats(); s.Cancelled != 1 || s.Failed != 2 || s.InFlight != 0 || s.Bytes != 0 {
		t.Errorf("stats %+v", s)
	}
}

func make500() []byte { return []byte(`"` + strings.Repeat("x", 500) + `"`) }

func TestRequestsSurviveADeadWorker(t *testing.T) {
	redistest.Each(t, func(t *testing.T, client goredis.UniversalClient) {
		const stream = "guildcast:requests:pool:0"
		must(t, client.XGroupCreateMkStream(within(t), stream, "workers", "0").Err())
		r := newRequests(t, client, RequestsOptions{Timeout: patience})
		var wg sync.WaitGroup
		wg.Go(func() {
			if got, err := do(t, r, "1", "all", `{"n":3}`); err != nil || got != "0 1 2" {
				t.Errorf("got %s, %v", got, err)
			}
		})
		// This worker takes the request, sends one part, and is killed.
		res, err := client.XReadGroup(within(t), &goredis.XReadGroupArgs{
			Group: "workers", Consumer: "doomed", Streams: []string{stream, ">"}, Count: 1, Block: patience,
		}).Result()
		must(t, err)
		v := res[0].Messages[0].Values
		part := fmt.Sprintf(`{"id":%q,"ok":true,"result":"stale","more":true,"worker":"doomed","part":0}`, v["id"])
		must(t, client.Publish(within(t), v["reply_to"].(string), part).Err())
		w, _ := startWorker(t, client, echo, worker.Options{ClaimAfter: 200 * time.Millisecond})
		wg.Wait()
		wait.Until(t, "settled", func() bool { return w.Stats().Handling == 0 })
		if s := w.Stats(); s.Claimed != 1 || s.Answered != 1 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestRequestsOfASlowWorkerAreNotTakenOver(t *testing.T) {
	redistest.Each(t, func(t *testing.T, client goredis.UniversalClient) {
		t.Parallel() // it waits, each on a Redis of its own
		slow := func(ctx context.Context, _ string, args []byte, reply func([]byte, bool) error) error {
			select { // the handler takes this long
			case <-time.After(2500 * time.Millisecond):
			case <-ctx.Done():
			}
			return reply(args, false)
		}
		o := worker.Options{ClaimAfter: 1500 * time.Millisecond}
		w1, _ := startWorker(t, client, slow, o)
		w2, _ := startWorker(t, client, slow, o)
		r := newRequests(t, client, RequestsOptions{Timeout: patience})
		if got, err := do(t, r, "1", "fetch", `{"x":1}`); err != nil || got != `{"x":1}` {
			t.Errorf("got %s, %v", got, err)
		}
		wait.Until(t, "settled", func() bool { return w1.Stats().Handling+w2.Stats().Handling == 0 })
		if s1, s2 := w1.Stats(), w2.Stats(); s1.Claimed+s2.Claimed != 0 || s1.Answered+s2.Answered != 1 {
			t.Errorf("stats %+v %+v", s1, s2)
		}
	})
}

func TestRequestsAfterALoss(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	r := newRequests(t, client, RequestsOptions{Timeout: patience})
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := do(t, r, "1", "fetch", "{}"); !errors.Is(err, ErrUnavailable) {
			t.Errorf("in flight while Redis was lost: %v", err)
		}
	})
	wait.Until(t, "in flight", func() bool { return r.Stats().Sent == 1 })
	server.Stop()
	wg.Wait()
	begun := time.Now()
	_, err := do(t, r, "1", "fetch", "{}")
	if !errors.Is(err, ErrUnavailable) || time.Since(begun) > patience/2 { // long before the request would time out
		t.Errorf("without Redis: %v after %v", err, time.Since(begun))
	}
	startWorker(t, client, echo, worker.Options{}) // has to wait for Redis too
	server.Start()
	wait.Until(t, "answered again", func() bool {
		got, err := do(t, r, "1", "search", `{}`)
		return err == nil && got == "{}"
	})
}

func TestRequestsOfAHungRedis(t *testing.T) {
	server := redistest.Start(t)
	r := newRequests(t, server.Client(), RequestsOptions{Timeout: 500 * time.Millisecond})
	startWorker(t, server.Client(), echo, worker.Options{})
	wait.Until(t, "answered", func() bool { _, err := do(t, r, "1", "search", "{}"); return err == nil })
	server.Pause()
	defer server.Resume()
	_, err := do(t, r, "1", "search", "{}")
	if !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrTimeout) {
		t.Errorf("a hung Redis: %v", err)
	}
	server.Resume()
	wait.Until(t, "answered again", func() bool { _, err := do(t, r, "1", "search", "{}"); return err == nil })
}

// A right that is granted later is used without a restart.
func TestRequestsOnceTheyMayHear(t *testing.T) {
	server := redistest.Start(t)
	root := server.Client()
	user := func(rules ...any) {
		must(t, root.Do(within(t), append([]any{"ACL", "SETUSER", "u", "on", ">p", "+@all", "~*"}, rules...)...).Err())
	}
	user("resetchannels", "&socket.io-probe#*")
	c, err := redisurl.Connect("redis://u:p@" + server.Addr())
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	r := newRequests(t, c.Client, RequestsOptions{Timeout: time.Second})
	startWorker(t, root, echo, worker.Options{})
	if _, err := do(t, r, "1", "search", "{}"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("not allowed to hear: %v", err)
	}
	user("&*")
	wait.Until(t, "answered", func() bool { _, err := do(t, r, "1", "search", "{}"); return err == nil })
}

func TestRequestsIgnoreNonsense(t *testing.T) {
	_, client := redistest.Mini(t)
	r := NewRequests(client, newBus(t, client), RequestsOptions{Timeout: patience})
	end := lifecycle.Start(t, r.Run)
	must(t, r.ear.wait(within(t)))
	for _, s := range []string{"", "{}", "\xff", `{"id":"nobody","ok":true}`} {
		must(t, client.Publish(within(t), r.channel, s).Err())
	}
	wait.Until(t, "dropped", func() bool { s := r.Stats(); return s.Malformed == 3 && s.Late == 1 })
	startWorker(t, client, echo, worker.Options{})
	if got, err := do(t, r, "", "search", "{}"); err != nil || got != "{}" {
		t.Errorf("got %s, %v", got, err)
	}
	stop := errors.New("stop")
	if err := r.Do(within(t), "", "all", []byte(`{"n":3}`), func([]byte) error { return stop }); err != stop {
		t.Errorf("the caller's own error: %v", err)
	}
	end()
	if _, err := do(t, r, "", "search", "{}"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("after close: %v", err)
	}
}

func TestStreamsStayShort(t *testing.T) {
	redistest.Real(t, func(t *testing.T, client goredis.UniversalClient) {
		s := newStreams(client, 1000, newRequests(t, client, RequestsOptions{}).opts.Logger)
		for range 5000 {
			_, err := s.add(within(t), "guildcast:requests:x", []string{"id", "a"})
			must(t, err)
		}
		if n := client.XLen(within(t), "guildcast:requests:x").Val(); n > 1500 {
			t.Errorf("%d entries", n)
		}
	})
	if got := before("1526919030474-55", time.Minute); got != "1526918970474" {
		t.Errorf("a minute before: %s", got)
	}
	if before("x", time.Minute) != "" || before("5-1", time.Minute) != "" {
		t.Error("nonsense has a minute before it")
	}
}
