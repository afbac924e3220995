package worker

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

	"github.com/architus/guildcast/internal/service"
	"github.com/architus/guildcast/internal/test/redistest"
	"github.com/architus/guildcast/internal/test/wait"
)

func TestMain(m *testing.M) { redistest.Main(m) }

const (
	patience = time.Minute
	stream   = "guildcast:requests:pool:0"
)

// answer is a message to the node as the documentation has it, independent of the code under test.
type answer struct {
	ID     string          `json:"id"`
	OK     bool            `json:"ok"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
	More   bool   `json:"more"`
	Worker string `json:"worker"`
	Part   int    `json:"part"`
}

type coded struct{}

func (coded) Error() string { return "no_such_guild" }
func (coded) Code() int     { return 404 }

// worded is coded with a text for people.
type worded struct{ coded }

func (worded) Error() string { return "no_such_guild: 4242 is not one of the bot's" }
func (worded) Word() string  { return "no_such_guild" }

type handlerFunc func(ctx context.Context, method string, args []byte, reply func([]byte, bool) error) error

func (f handlerFunc) Handle(ctx context.Context, method string, args []byte, reply func([]byte, bool) error) error {
	return f(ctx, method, args, reply)
}

// behave does what the method says.
func behave(ctx context.Context, method string, args []byte, reply func([]byte, bool) error) error {
	switch method {
	case "parts":
		return errors.Join(reply([]byte("1"), true), reply([]byte("2"), false))
	case "coded":
		return fmt.Errorf("wrapped: %w", coded{})
	case "worded":
		return worded{}
	case "error":
		return errors.New("secret: the database's password is hunter2")
	case "panic":
		panic("secret")
	case "nothing":
		return nil
	case "half":
		_ = reply([]byte("1"), true)
		return coded{}
	case "twice":
		_ = reply([]byte("1"), false)
		if reply([]byte("2"), false) == nil {
			return errors.New("a second answer was taken")
		}
		return nil
	case "garbage":
		return reply([]byte("{"), false)
	case "slow":
		<-ctx.Done()
		return ctx.Err()
	}
	return reply(args, false)
}

// fixture is a worker and a subscription to its answers.
type fixture struct {
	t       *testing.T
	client  goredis.UniversalClient
	worker  *Worker
	answers <-chan *goredis.Message
	stop    func()
}

func newFixture(t *testing.T, client goredis.UniversalClient, o Options) *fixture {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	sub := client.Subscribe(ctx, "reply")
	if _, err := sub.Receive(ctx); err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, client: client, worker: New(client, handlerFunc(behave), o), answers: sub.Channel()}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := f.worker.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	f.stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(func() { f.stop(); _ = sub.Close() })
	return f
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func (f *fixture) send(method, args string, ttl time.Duration) {
	f.t.Helper()
	f.sendFields("id", "i-"+method, "method", method, "args", args, "reply_to", "reply",
		"deadline", fmt.Sprint(time.Now().Add(ttl).UnixMilli()))
}

func (f *fixture) sendFields(fields ...string) {
	f.t.Helper()
	if err := f.client.XAdd(within(f.t), &goredis.XAddArgs{Stream: stream, Values: fields}).Err(); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) receive() (a answer) {
	f.t.Helper()
	select {
	case m := <-f.answers:
		if err := json.Unmarshal([]byte(m.Payload), &a); err != nil {
			f.t.Fatal(err)
		}
	case <-time.After(patience):
		f.t.Fatal("no answer")
	}
	return a
}

// receiveAll receives the parts of one answer. A cluster may deliver them out of order.
func (f *fixture) receiveAll() (parts []answer) {
	f.t.Helper()
	for missing := 1; missing > 0; missing-- {
		a := f.receive()
		for len(parts) <= a.Part {
			parts = append(parts, answer{})
			missing++
		}
		if parts[a.Part] = a; !a.More {
			missing--
		}
	}
	return parts
}

func (f *fixture) settled() {
	f.t.Helper()
	wait.Until(f.t, "the stream is empty", func() bool {
		n, err := f.client.XLen(within(f.t), stream).Result()
		return err == nil && n == 0
	})
	wait.Until(f.t, "nothing is pending", func() bool {
		p, err := f.client.XPending(within(f.t), stream, f.worker.opts.Group).Result()
		return err == nil && p.Count == 0
	})
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, client goredis.UniversalClient) {
		f := newFixture(t, client, Options{})
		for method, want := range map[string]string{
			"echo": `{"x":[1]}`, "parts": "1+ 2", "half": "1+ no_such_guild 404", "twice": "1",
			"coded": "no_such_guild 404", "worded": "no_such_guild 404",
			"error": "internal 500", "panic": "internal 500", "nothing": "internal 500", "garbage": "internal 500",
		} {
			f.send(method, `{"x":[1]}`, patience)
			var got []string
			for i, a := range f.receiveAll() {
				if a.ID != "i-"+method || a.Worker == "" || a.Part != i || a.OK == (a.Error != nil) {
					t.Errorf("%s: answer %+v", method, a)
				}
				switch {
				case a.Error != nil:
					got = append(got, fmt.Sprint(a.Error.Message, " ", a.Error.Code))
				case a.More:
					got = append(got, string(a.Result)+"+")
				default:
					got = append(got, string(a.Result))
				}
			}
			if s := strings.Join(got, " "); s != want {
				t.Errorf("%s: %s, not %s", method, s, want)
			}
		}
		f.settled()
		f.stop()
		if c, err := client.XInfoConsumers(within(t), stream, "workers").Result(); err != nil || len(c) != 0 {
			t.Errorf("left behind: %v, %v", c, err)
		}
		if s := f.worker.Stats(); s != (Stats{Answered: 3, Refused: 7}) {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestDropsWhatCannotBeAnswered(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, client goredis.UniversalClient) {
		f := newFixture(t, client, Options{})
		f.send("echo", "1", -time.Second)
		f.sendFields("x", "y")
		f.sendFields("id", "a", "method", "echo", "args", "{", "reply_to", "reply", "deadline", "99999999999999")
		f.sendFields("id", "a", "method", "echo", "args", "1", "reply_to", "reply", "deadline", "soon")
		f.send("slow", "1", 300*time.Millisecond)
		f.send("echo", `"ok"`, patience)
		if a := f.receive(); string(a.Result) != `"ok"` {
			t.Errorf("got %+v", a)
		}
		f.settled()
		if s := f.worker.Stats(); s.Expired != 2 || s.Malformed != 3 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestAnswersWhatCameBeforeIt(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, client goredis.UniversalClient) {
		early := &fixture{t: t, client: client}
		early.send("echo", `"early"`, patience)
		f := newFixture(t, client, Options{})
		if a := f.receive(); string(a.Result) != `"early"` {
			t.Errorf("got %+v", a)
		}
	})
}

func TestComesBackAfterALoss(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := newFixture(t, server.Client(), Options{})
	f.send("echo", "1", patience)
	f.receive()
	server.Stop()
	server.Start() // with neither stream nor group
	wait.Until(t, "the ear is back", func() bool {
		n, err := f.client.PubSubNumSub(within(t), "reply").Result()
		return err == nil && n["reply"] == 1
	})
	f.send("echo", "2", patience)
	if a := f.receive(); string(a.Result) != "2" {
		t.Errorf("got %+v", a)
	}
}

func TestFinishesWhatItHas(t *testing.T) {
	_, client := redistest.Mini(t)
	f := newFixture(t, client, Options{Concurrency: 1})
	f.send("slow", "1", 3*time.Second)
	wait.Until(t, "begun", func() bool { return f.worker.Stats().Handling == 1 })
	if err := f.worker.Run(within(t)); !errors.Is(err, service.ErrRunTwice) {
		t.Errorf("a second Run: %v", err)
	}
	f.stop()
	if s := f.worker.Stats(); s != (Stats{Expired: 1}) {
		t.Errorf("stats %+v", s)
	}
	f.settled()
}

func TestBoundsWhatItTakes(t *testing.T) {
	_, client := redistest.Mini(t)
	f := newFixture(t, client, Options{Concurrency: 2})
	for range 5 {
		f.send("slow", "1", 4*time.Second)
	}
	wait.Until(t, "two are taken", func() bool { return f.worker.Stats().Handling == 2 })
	if p, err := client.XPending(within(t), stream, "workers").Result(); err != nil || p.Count > 2 {
		t.Errorf("pending %+v, %v", p, err)
	}
	f.settled()
}

func FuzzParse(f *testing.F) {
	f.Add("id", "method", "{}", "reply", "1790000000000")
	f.Fuzz(func(t *testing.T, id, method, args, replyTo, deadline string) {
		r, err := parse(map[string]any{
			"id": id, "method": method, "args": args, "reply_to": replyTo, "deadline": deadline,
		})
		if err == nil && (r.id == "" || r.method == "" || r.replyTo == "" || !json.Valid(r.args)) {
			t.Fatalf("taken: %+v", r)
		}
	})
}
