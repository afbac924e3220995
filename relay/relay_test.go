package relay_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/internal/redisurl"
	"github.com/architus/guildcast/internal/test/lifecycle"
	"github.com/architus/guildcast/internal/test/redistest"
	"github.com/architus/guildcast/internal/test/wait"
	"github.com/architus/guildcast/relay"
)

// asRelay makes the test binary be a relay of the Redis whose URL it holds.
const asRelay = "TEST_AS_RELAY"

func TestMain(m *testing.M) {
	if url := os.Getenv(asRelay); url != "" {
		beRelay(url)
		return
	}
	redistest.Main(m)
}

// beRelay relays until its standard input ends, and prints what it is, line by line.
func beRelay(url string) {
	connection, err := redisurl.Connect(url)
	if err != nil {
		panic(err)
	}
	b := bus.New(connection.Client, bus.Options{})
	r, err := relay.New(b, connection.Client, relay.Options{
		ToPrefix: "gc:", Lease: time.Second, MaxEntries: 1_000_000,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	go func() {
		for range time.Tick(20 * time.Millisecond) {
			s := r.Stats()
			fmt.Println(s.Leading, s.Ready)
		}
	}()
	if err := r.Run(ctx); err != nil {
		panic(err)
	}
}

const guild = "607637793107345431"

func topic(logs bool) event.Topic { return event.Topic{Guild: guild, Logs: logs} }

func name(logs bool) string {
	if logs {
		return "logs"
	}
	return "pool"
}

func message(n int) string { return fmt.Sprintf(`{"kind":"member", "payload":{"n":%d}}`, n) }

// start runs a relay in this process.
func start(t *testing.T, client goredis.UniversalClient, o relay.Options) (r *relay.Relay, stop func()) {
	t.Helper()
	o.ToPrefix = "gc:"
	b := bus.New(client, bus.Options{})
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	r, err := relay.New(b, client, o)
	if err != nil {
		t.Fatal(err)
	}
	return r, lifecycle.Start(t, r.Run)
}

// firstDifference says where two lists differ.
func firstDifference(got, want []string) string {
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			return fmt.Sprintf("from %d on it is %q, want %q", i, got[min(i, len(got)):min(i+5, len(got))],
				want[min(i, len(want)):min(i+5, len(want))])
		}
	}
	return "they are the same"
}

// ordered returns a client whose messages are heard in their order: the servers of a cluster keep none among them.
func ordered(t *testing.T, client goredis.UniversalClient) *goredis.Client {
	t.Helper()
	switch c := client.(type) {
	case *goredis.Client:
		return c
	case *goredis.ClusterClient:
		one, err := c.MasterForKey(t.Context(), "any")
		if err != nil {
			t.Fatal(err)
		}
		return one
	}
	t.Fatalf("a client of type %T", client)
	return nil
}

// heardEverywhere subscribes to the guild's topic on each server. The returned function waits until each has brought a
// message: the servers of a cluster pass a message on among them after the publisher has its answer.
func heardEverywhere(t *testing.T, client goredis.UniversalClient) (wait func()) {
	t.Helper()
	var mu sync.Mutex // ForEachMaster runs in parallel
	var subscriptions []*goredis.PubSub
	subscribe := func(ctx context.Context, c *goredis.Client) error {
		s := c.Subscribe(ctx, guild)
		mu.Lock()
		subscriptions = append(subscriptions, s)
		mu.Unlock()
		_, err := s.Receive(ctx)
		return err
	}
	var err error
	if c, ok := client.(*goredis.ClusterClient); ok {
		err = c.ForEachMaster(t.Context(), subscribe)
	} else {
		err = subscribe(t.Context(), client.(*goredis.Client))
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		for _, s := range subscriptions {
			if _, err := s.ReceiveMessage(t.Context()); err != nil {
				t.Fatal(err)
			}
			_ = s.Close()
		}
	}
}

// kept returns what the history of a guild holds.
func kept(t *testing.T, client goredis.UniversalClient, guild string) (messages []string) {
	t.Helper()
	entries, err := client.XRange(t.Context(), "guildcast:history:{"+guild+"}", "-", "+").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		messages = append(messages, fmt.Sprint(e.Values["t"], " ", e.Values["m"]))
	}
	return messages
}

func TestRelayPublishesDurably(t *testing.T) {
	redistest.Each(t, func(t *testing.T, client goredis.UniversalClient) {
		r, _ := start(t, client, relay.Options{})
		wait.Until(t, "the relay leads", func() bool { return r.Stats().Leading })
		sub := client.Subscribe(t.Context(), "gc:"+guild)
		defer sub.Close()
		if _, err := sub.Receive(t.Context()); err != nil {
			t.Fatal(err)
		}
		var want []string
		for i := range 300 {
			logs := i%3 == 0
			if err := ordered(t, client).Publish(t.Context(), topic(logs).Channel(""), message(i%7)).Err(); err != nil {
				t.Fatal(err)
			}
			want = append(want, name(logs)+" "+message(i%7))
		}
		for _, other := range []string{"x", "gc:" + guild, "5 "} { // no topics of guilds under the prefix
			if err := ordered(t, client).Publish(t.Context(), other, message(1)).Err(); err != nil {
				t.Fatal(err)
			}
		}
		if err := ordered(t, client).Publish(t.Context(), guild, "nonsense").Err(); err != nil {
			t.Fatal(err)
		}
		wait.Until(t, "all is published", func() bool { return r.Stats().Published == 300 && r.Stats().Pending == 0 })
		if got := kept(t, client, guild); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("the history is %d events: %s", len(got), firstDifference(got, want))
		}
		m, err := sub.ReceiveMessage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for m.Payload == message(1) { // the test's own
			m, err = sub.ReceiveMessage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
		}
		_, body, durable, err := history.Cut([]byte(m.Payload))
		if err != nil || !durable || string(body) != message(1) {
			t.Errorf("nodes heard %q", m.Payload)
		}
		wait.Until(t, "the malformed one is counted", func() bool { return r.Stats().Malformed == 1 })
	})
}

func TestRelayThatHearsItself(t *testing.T) {
	_, client := redistest.Mini(t)
	for from, to := range map[string]string{"": "", "a": "a", "b": "b5", "c": "c55"} {
		if _, err := relay.New(nil, client, relay.Options{FromPrefix: from, ToPrefix: to}); err == nil {
			t.Errorf("from %q to %q", from, to)
		}
	}
	for from, to := range map[string]string{"": "gc:", "a": "", "b": "b:", "c5": "c"} {
		if _, err := relay.New(nil, client, relay.Options{FromPrefix: from, ToPrefix: to}); err != nil {
			t.Errorf("from %q to %q: %v", from, to, err)
		}
	}
}

// TestStandbyGoesOn ends the leader in the middle of events, orderly.
func TestStandbyGoesOn(t *testing.T) {
	redistest.Each(t, func(t *testing.T, client goredis.UniversalClient) {
		o := relay.Options{Lease: time.Second}
		first, stop := start(t, client, o)
		wait.Until(t, "the first leads", func() bool { return first.Stats().Leading })
		second, _ := start(t, client, o)
		wait.Until(t, "the second is ready", func() bool { return second.Stats().Ready })
		var want []string
		for i := range 200 {
			if i == 100 {
				stop()
			}
			if err := ordered(t, client).Publish(t.Context(), guild, message(i%3)).Err(); err != nil {
				t.Fatal(err)
			}
			want = append(want, "pool "+message(i%3))
		}
		wait.Until(t, "the second has published the rest", func() bool {
			return second.Stats().Leading && len(kept(t, client, guild)) >= 200 && second.Stats().Pending == 0
		})
		if got := kept(t, client, guild); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("the history is %d events: %s", len(got), firstDifference(got, want))
		}
	})
}

// TestNobodyStoodBy has events published while no relay runs: the next one can't know them, and says so.
func TestNobodyStoodBy(t *testing.T) {
	redistest.Each(t, func(t *testing.T, client goredis.UniversalClient) {
		first, stop := start(t, client, relay.Options{Lease: time.Second})
		wait.Until(t, "the first leads", func() bool { return first.Stats().Leading })
		publish := func(n int) {
			if err := ordered(t, client).Publish(t.Context(), guild, message(n)).Err(); err != nil {
				t.Fatal(err)
			}
		}
		publish(1)
		wait.Until(t, "it is published", func() bool { return first.Stats().Published == 1 })
		stop()
		missed := heardEverywhere(t, client)
		publish(2)
		missed() // or the second would hear it
		second, _ := start(t, client, relay.Options{Lease: time.Second})
		wait.Until(t, "the second has published a marker", func() bool { return second.Stats().Markers == 1 })
		publish(3)
		wait.Until(t, "it goes on", func() bool { return second.Stats().Published == 1 })
		want := []string{"pool " + message(1), "pool " + string(history.Marker(relay.Reason)), "pool " + message(3)}
		if got := kept(t, client, guild); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("the history is %q", got)
		}
	})
}

// TestRedisIsLost restarts Redis with its data: no relay knows what was published meanwhile.
func TestRedisIsLost(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	client := server.Client()
	o := relay.Options{Lease: time.Second}
	first, _ := start(t, client, o)
	wait.Until(t, "the first leads", func() bool { return first.Stats().Leading })
	second, _ := start(t, client, o)
	wait.Until(t, "the second is ready", func() bool { return second.Stats().Ready })
	publish := func(guild string, n int) {
		wait.Until(t, "redis takes it", func() bool {
			return client.Publish(t.Context(), guild, message(n)).Err() == nil
		})
	}
	settled := func() bool {
		a, b := first.Stats(), second.Stats()
		return a.Ready && b.Ready && a.Leading != b.Leading && a.Pending+b.Pending == 0
	}
	guilds := []string{"100", "101"}
	for _, guild := range guilds {
		publish(guild, 1)
	}
	wait.Until(t, "both are kept", func() bool { return len(kept(t, client, "100"))+len(kept(t, client, "101")) == 2 })
	server.Stop()
	server.Start()
	wait.Until(t, "the markers are there", func() bool { return first.Stats().Markers+second.Stats().Markers == 2 })
	wait.Until(t, "one leads and one stands by", settled)
	for _, guild := range guilds {
		publish(guild, 2)
	}
	marker := "pool " + string(history.Marker(relay.Reason))
	for _, guild := range guilds {
		want := []string{"pool " + message(1), marker, "pool " + message(2)}
		wait.Until(t, "it goes on", func() bool { return len(kept(t, client, guild)) >= len(want) })
		if got := kept(t, client, guild); !slices.Equal(got, want) {
			t.Errorf("the history of %s is %q", guild, got)
		}
	}
	// What is not known is told.
	page, err := history.NewReader(client, history.ReaderOptions{}).After(t.Context(), "100", history.Position{}, 10)
	if err != nil || !slices.ContainsFunc(page.Entries, func(e history.Entry) bool {
		_, marker := history.ParseMarker(e.Message)
		return marker
	}) {
		t.Errorf("the history shows no marker: %+v, %v", page, err)
	}
	// Without its data there is nothing to go on with, and nothing to tell.
	if err := client.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	wait.Until(t, "one leads and one stands by again", settled)
	publish("100", 3)
	wait.Until(t, "it goes on", func() bool { return len(kept(t, client, "100")) == 1 })
}

// TestStandbyThatMissedMessages loses the connection of a standby alone: it asks the leader, and is sure again.
func TestStandbyThatMissedMessages(t *testing.T) {
	redistest.Each(t, func(t *testing.T, client goredis.UniversalClient) {
		o := relay.Options{Lease: time.Second}
		first, stop := start(t, client, o)
		wait.Until(t, "the first leads", func() bool { return first.Stats().Leading })
		second, _ := start(t, client, o)
		wait.Until(t, "the second is ready", func() bool { return second.Stats().Ready })
		one := ordered(t, client)
		publish := func(from, to int) {
			for n := from; n < to; n++ {
				if err := one.Publish(t.Context(), guild, message(n%3)).Err(); err != nil {
					t.Fatal(err)
				}
			}
		}
		publish(0, 50)
		second.Forget()
		publish(50, 100)
		wait.Until(t, "the second is ready again", func() bool { return second.Stats().Ready })
		stop()
		publish(100, 150)
		wait.Until(t, "all are kept", func() bool { return len(kept(t, client, guild)) >= 150 })
		var want []string
		for n := range 150 {
			want = append(want, "pool "+message(n%3))
		}
		if got := kept(t, client, guild); !slices.Equal(got, want) {
			t.Errorf("the history is %d events: %s", len(got), firstDifference(got, want))
		}
	})
}

// TestShardedTopics publishes for nodes that hear sharded topics, events and a marker.
func TestShardedTopics(t *testing.T) {
	redistest.Real(t, func(t *testing.T, client goredis.UniversalClient) {
		o := relay.Options{Lease: time.Second, Sharded: true}
		sub := client.SSubscribe(t.Context(), "gc:{"+guild+"}")
		defer sub.Close()
		if _, err := sub.Receive(t.Context()); err != nil {
			t.Fatal(err)
		}
		heard := func(want string) {
			t.Helper()
			m, err := sub.ReceiveMessage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, body, durable, err := history.Cut([]byte(m.Payload)); err != nil || !durable || string(body) != want {
				t.Errorf("heard %q, want %q", m.Payload, want)
			}
		}
		first, stop := start(t, client, o)
		wait.Until(t, "the relay leads", func() bool { return first.Stats().Leading })
		stop()
		start(t, client, o)
		heard(string(history.Marker(relay.Reason))) // there is no history yet, but somebody listens
		if err := ordered(t, client).Publish(t.Context(), guild, message(1)).Err(); err != nil {
			t.Fatal(err)
		}
		heard(message(1))
	})
}

// TestRights runs a relay as the user of docs/reference/redis.md.
func TestRights(t *testing.T) {
	server := redistest.Start(t)
	admin := server.Client()
	page, err := os.ReadFile("../docs/reference/redis.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rules, _ := strings.Cut(string(page), "ACL SETUSER relay ")
	rules, _, found := strings.Cut(rules, "```")
	if !found {
		t.Fatal("the page has no user for relays")
	}
	args := []any{"ACL", "SETUSER", "relay"}
	for _, rule := range strings.Fields(strings.ReplaceAll(rules, "\\\n", " ")) {
		args = append(args, rule)
	}
	if err := admin.Do(t.Context(), args...).Err(); err != nil {
		t.Fatal(err)
	}
	connection, err := redisurl.Connect("redis://relay:password@" + server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	log := &bytes.Buffer{}
	o := relay.Options{Lease: time.Second, Logger: slog.New(slog.NewTextHandler(log, nil)), MaxAge: time.Millisecond}
	var probe = bus.Options{ProbePrefix: "guildcast:relay:probe:"}
	for round := range 2 {
		b := bus.New(connection.Client, probe)
		o.ToPrefix = "gc:"
		r, err := relay.New(b, connection.Client, o)
		if err != nil {
			t.Fatal(err)
		}
		stop := lifecycle.Start(t, r.Run)
		wait.Until(t, "it leads", func() bool { return r.Stats().Leading })
		for n := range 20 {
			if err := admin.Publish(t.Context(), guild, large(n)).Err(); err != nil {
				t.Fatal(err)
			}
			wait.Until(t, "it is published", func() bool { return r.Stats().Published == uint64(n+1) })
		}
		if s := r.Stats(); s.Refused > 0 || s.Markers != uint64(round) {
			t.Errorf("%+v\n%s", s, log)
		}
		stop()
		if err := b.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// large is an event of 1 MiB.
func large(n int) string {
	return fmt.Sprintf(`{"payload":{"n":%d,"x":%q}}`, n, strings.Repeat("x", 1<<20))
}

// TestBoundIsReached lets a guild be refused until its line is full.
func TestBoundIsReached(t *testing.T) {
	redistest.Each(t, func(t *testing.T, client goredis.UniversalClient) {
		r, _ := start(t, client, relay.Options{MaxGuildEntries: 5})
		wait.Until(t, "the relay leads", func() bool { return r.Stats().Leading })
		key := "guildcast:history:{" + guild + "}"
		if err := client.Set(t.Context(), key, "x", 0).Err(); err != nil {
			t.Fatal(err)
		}
		for i := range 8 {
			if err := ordered(t, client).Publish(t.Context(), guild, message(i)).Err(); err != nil {
				t.Fatal(err)
			}
		}
		if err := ordered(t, client).Publish(t.Context(), "1", message(9)).Err(); err != nil {
			t.Fatal(err)
		}
		wait.Until(t, "the other guild does not suffer", func() bool { return len(kept(t, client, "1")) == 1 })
		wait.Until(t, "some are dropped", func() bool { return r.Stats().Overflowed == 5 })
		if err := client.Del(t.Context(), key).Err(); err != nil {
			t.Fatal(err)
		}
		wait.Until(t, "the rest is published", func() bool { return len(kept(t, client, guild)) == 4 })
		want := []string{"pool " + string(history.Marker(relay.Reason)), "pool " + message(5), "pool " + message(6),
			"pool " + message(7)}
		if got := kept(t, client, guild); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("the history is %q", got)
		}
	})
}

// process is a relay of its own.
type process struct {
	cmd *exec.Cmd
	in  io.Closer

	mu             sync.Mutex
	leading, ready bool
}

func startProcess(t *testing.T, url string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asRelay+"="+url)
	cmd.Stderr = &logs{t: t, pid: func() int { return cmd.Process.Pid }}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd, in: in}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.mu.Lock()
			_, _ = fmt.Sscan(lines.Text(), &p.leading, &p.ready)
			p.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		p.kill()
		<-done
	})
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // a stopped process, too
	_ = p.cmd.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leading, p.ready = false, false
}

func (p *process) state() (leading, ready bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.leading, p.ready
}

// logs writes what a process logs to the test's log.
type logs struct {
	t   *testing.T
	pid func() int
}

func (l *logs) Write(p []byte) (int, error) {
	l.t.Logf("%d: %s", l.pid(), strings.TrimSpace(string(p)))
	return len(p), nil
}

// TestRelaysUnderFire kills and freezes relays, and freezes Redis, while events come. As long as one stands by nothing
// is lost and nothing comes twice.
func TestRelaysUnderFire(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	relays := make([]*process, 3)
	for i := range relays {
		relays[i] = startProcess(t, server.URL())
	}
	settled := func() bool {
		leading, ready := 0, 0
		for _, p := range relays {
			l, r := p.state()
			leading, ready = leading+btoi(l), ready+btoi(r)
		}
		return leading == 1 && ready == 3
	}
	wait.Until(t, "one leads and two stand by", settled)
	reference, stop := publishAll(t, server.Client())
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 12 {
		leader := slices.IndexFunc(relays, func(p *process) bool { l, _ := p.state(); return l })
		other := (leader + 1 + rng.IntN(2)) % 3
		switch round % 6 {
		case 0, 3:
			relays[leader].kill()
			relays[leader] = startProcess(t, server.URL())
		case 1:
			relays[leader].freeze(t, time.Duration(1500+rng.IntN(1000))*time.Millisecond)
		case 2:
			server.Pause()
			pause(t, time.Duration(rng.IntN(1500))*time.Millisecond)
			server.Resume()
		case 4:
			relays[other].freeze(t, time.Duration(rng.IntN(2000))*time.Millisecond)
			relays[leader].kill()
			relays[leader] = startProcess(t, server.URL())
		case 5:
			relays[other].kill()
			relays[other] = startProcess(t, server.URL())
		}
		wait.Until(t, "one leads and two stand by again", settled)
	}
	stop()
	want := reference()
	for guild, want := range want {
		wait.Until(t, "all is published", func() bool { return len(kept(t, client, guild)) >= len(want) })
		if got := kept(t, client, guild); !slices.Equal(got, want) {
			t.Errorf("guild %s has %d events of %d: %s", guild, len(got), len(want), firstDifference(got, want))
		}
		t.Logf("guild %s: %d events", guild, len(want))
	}
}

// publishAll publishes events of some guilds until stop is called. reference returns what the histories must be.
func publishAll(t *testing.T, client *goredis.Client) (reference func() map[string][]string, stop func()) {
	t.Helper()
	want := map[string][]string{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; ctx.Err() == nil; n++ {
			topic := event.Topic{Guild: fmt.Sprint(100 + n%3), Logs: n%5 == 0}
			text := message(n)
			if n%2 == 0 {
				text = message(n % 6) // many are the same
			}
			if err := client.Publish(context.Background(), topic.Channel(""), text).Err(); err != nil {
				t.Errorf("publish: %v", err)
				return
			}
			want[topic.Guild] = append(want[topic.Guild], name(topic.Logs)+" "+text)
			select {
			case <-ctx.Done():
			case <-time.After(300 * time.Microsecond):
			}
		}
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return func() map[string][]string { return want }, stop
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// freeze stops a process for a while.
func (p *process) freeze(t *testing.T, d time.Duration) {
	t.Helper()
	p.signal(t, sigStop)
	p.mu.Lock()
	p.leading, p.ready = false, false // until it says otherwise
	p.mu.Unlock()
	pause(t, d)
	p.signal(t, sigCont)
}

func (p *process) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// pause lets time pass: it is what is tested, and not a wait for something.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}
