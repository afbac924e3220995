//go:build integration

package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/internal/test/redistest"
	"github.com/architus/guildcast/internal/test/wait"
)

// TestChaosDurable: events are published durably while nodes are killed and restarted, Redis is restarted with its
// data, frozen and cut off, and its subscribers are killed again and again. Clients blink and come back to another
// node, read slowly, lose rights and are revoked, and the policy becomes stricter. What each of them has received must
// be what the history has for it, in order and once, and nobody is told of a loss. GUILDCAST_CHAOS_SEED repeats a run's
// choices, GUILDCAST_CHAOS_SECONDS changes its length.
func TestChaosDurable(t *testing.T) {
	beside(t)
	seeds, length := 1, 15*time.Second
	if strict {
		seeds, length = 3, time.Minute
	}
	length = time.Duration(envNumber("GUILDCAST_CHAOS_SECONDS", int64(length/time.Second))) * time.Second
	for range seeds {
		seed := envNumber("GUILDCAST_CHAOS_SEED", time.Now().UnixNano())
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { chaosDurable(t, seed, length) })
	}
}

func chaosDurable(t *testing.T, seed int64, length time.Duration) {
	w := newDurableWorld(t, seed)
	var viewers []*follower
	for i := range 24 {
		viewers = append(viewers, w.newFollower(t, i))
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var running, others sync.WaitGroup
	for _, f := range viewers {
		running.Go(func() { f.run(ctx) })
	}
	w.awaitAll(t, "spectate", viewers, func(f *follower) bool { return f.spectates() })
	publishing, stop := context.WithCancel(ctx)
	others.Go(func() { w.publish(publishing) })
	others.Go(func() { w.killSubscribers(publishing) })
	// A guild without any history is told of a loss: nobody knows whether its events are durable.
	w.awaitAll(t, "hear", viewers, func(f *follower) bool { return f.heard() })
	for begin := time.Now(); time.Since(begin) < length; {
		w.fault(t)
		if time.Since(begin) > length/2 && !w.restricted.Load() {
			w.restrict(t)
		}
	}
	stop()
	others.Wait()
	w.final.Store(true)
	reference := w.read(t)
	w.awaitAll(t, "have everything", viewers, func(f *follower) bool { return f.complete(reference) })
	cancel()
	running.Wait()
	for _, n := range w.nodes {
		n.drain(t)
	}
	events, total := 0, 0
	for _, list := range reference {
		events += len(list)
	}
	for _, f := range viewers {
		for _, s := range f.trouble {
			t.Errorf("%s: %s", f, s)
		}
		if err := f.judge(reference); err != nil {
			t.Errorf("%s: %v", f, err)
		}
		total += len(f.got)
	}
	t.Logf("%d events, %d deliveries, %d visits, %d resumed, faults: %v", events, total, w.visits.Load(),
		w.resumed.Load(), w.faults)
	if total < events || w.resumed.Load() < int64(len(viewers)) {
		t.Error("this proves little")
	}
}

var durableGuilds = []string{"7200000000000000001", "7200000000000000002", "7200000000000000003"}

// loudGuild has large events, so that slow readers fall behind.
const loudGuild = 2

// durableWorld is what TestChaosDurable breaks.
type durableWorld struct {
	server *redistest.Server
	redis  *goredis.Client
	rng    *rand.Rand // of the faults
	seed   int64
	sign   func(jwt.MapClaims) string
	faults map[string]int

	policy          string      // a file
	restricted      atomic.Bool // the stricter policy is in force
	final           atomic.Bool // no more faults, and nobody blinks
	visits, resumed atomic.Int64

	nodes   []*node // owned by the test's goroutine
	proxies []*redistest.Proxy
	mu      sync.Mutex
	addrs   []string // guarded by mu; of nodes, "" while one is away
}

func newDurableWorld(t *testing.T, seed int64) *durableWorld {
	w := &durableWorld{
		server: redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always"), seed: seed,
		rng: rand.New(rand.NewPCG(uint64(seed), 1)), faults: map[string]int{},
		sign:   func(c jwt.MapClaims) string { return mint(t, c) },
		policy: filepath.Join(t.TempDir(), "policy.json"),
	}
	w.writePolicy(t, "membership")
	w.redis = w.server.Client()
	w.nodes, w.addrs = make([]*node, 2), make([]string, 2)
	for i := range w.nodes {
		w.proxies = append(w.proxies, redistest.NewProxy(t, w.server.Addr()))
		w.startNode(t, i)
	}
	return w
}

func (w *durableWorld) startNode(t *testing.T, i int) {
	t.Helper()
	w.nodes[i] = startNode(t, fmt.Sprint("node ", i), "redis://"+w.proxies[i].Addr(), "GUILDCAST_GRACE=1s",
		"GUILDCAST_POLICY="+w.policy,
		"GUILDCAST_LIMIT_SOCKET_RATE=-1", "GUILDCAST_LIMIT_USER_RATE=-1", "GUILDCAST_LIMIT_ADDRESS_RATE=-1")
	w.setAddr(i, strings.TrimPrefix(w.nodes[i].url, "http://"))
}

// restrictedKind is the kind of events that restrict leaves to administrators.
const restrictedKind = "emoji"

func (w *durableWorld) writePolicy(t *testing.T, required string) {
	t.Helper()
	if err := os.WriteFile(w.policy, []byte(mustJSON(map[string]any{
		"kinds": map[string]string{restrictedKind: required},
	})), 0o600); err != nil {
		t.Fatal(err)
	}
}

// restrict makes the policy stricter on all nodes.
func (w *durableWorld) restrict(t *testing.T) {
	t.Helper()
	w.writePolicy(t, "ADMINISTRATOR")
	for _, n := range w.nodes {
		_ = n.cmd.Process.Signal(syscall.SIGHUP)
		n.waitOutput(t, "configuration reloaded")
	}
	w.restricted.Store(true)
}

func (w *durableWorld) setAddr(i int, addr string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.addrs[i] = addr
}

// addr returns the address of node i, or of the other if that is away.
func (w *durableWorld) addr(i int) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.addrs[i] == "" {
		i = 1 - i
	}
	return w.addrs[i]
}

// awaitAll waits until all viewers have come to something.
func (w *durableWorld) awaitAll(t *testing.T, what string, viewers []*follower, done func(*follower) bool) {
	t.Helper()
	for _, f := range viewers {
		deadline := time.Now().Add(patience)
		for !done(f) {
			if time.Now().After(deadline) {
				t.Errorf("%s does not %s", f, what)
				return
			}
			<-time.After(20 * time.Millisecond)
		}
	}
}

// publish publishes random events until ctx ends. Whether those came through whose answer was lost, the history says.
func (w *durableWorld) publish(ctx context.Context) {
	publisher := history.NewPublisher(w.redis, history.PublisherOptions{MaxEntries: 1_000_000})
	rng := rand.New(rand.NewPCG(uint64(w.seed), 2))
	padding := strings.Repeat("x", 8<<10)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for i, loud := 0, 0; ; i++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		g := rng.IntN(len(durableGuilds))
		payload := map[string]any{"i": i}
		if g == loudGuild && loud < 1000 { // the history must keep them all
			loud++
			payload["padding"] = padding
		}
		m := map[string]any{"kind": chaosKinds[rng.IntN(len(chaosKinds))], "payload": payload}
		if rng.IntN(3) == 0 {
			m["private"] = true
		}
		if rng.IntN(8) == 0 {
			m["requires"] = rng.IntN(8)
		}
		topic := event.Topic{Guild: durableGuilds[g], Logs: rng.IntN(2) == 0}
		publishing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		_, _ = publisher.Publish(publishing, topic, []byte(mustJSON(m)))
		cancel()
	}
}

func (w *durableWorld) killSubscribers(ctx context.Context) {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			w.redis.ClientKillByFilter(ctx, "TYPE", "pubsub")
		case <-ctx.Done():
			return
		}
	}
}

// fault breaks something at random, and mends it.
func (w *durableWorld) fault(t *testing.T) {
	i := w.rng.IntN(len(w.nodes))
	pause := func(most int) { <-time.After(time.Duration(w.rng.IntN(most)) * time.Millisecond) }
	kinds := []string{"kill -9", "SIGTERM", "restart of Redis", "frozen Redis", "cut", "refused", "black hole",
		"frozen node"}
	kind := kinds[w.rng.IntN(len(kinds))]
	w.faults[kind]++
	t.Logf("%s %s %d", time.Now().Format("15:04:05.000"), kind, i)
	switch kind {
	case "kill -9":
		w.setAddr(i, "")
		_ = w.nodes[i].cmd.Process.Kill()
		<-w.nodes[i].done
		w.startNode(t, i)
	case "SIGTERM":
		w.setAddr(i, "")
		w.nodes[i].drain(t)
		w.startNode(t, i)
	case "restart of Redis":
		w.server.Stop()
		pause(1500)
		w.server.Start()
	case "frozen Redis":
		w.server.Pause()
		pause(3000)
		w.server.Resume()
	case "cut":
		w.proxies[i].Cut()
	case "refused":
		w.proxies[i].Refuse(true)
		w.proxies[i].Cut()
		pause(1500)
		w.proxies[i].Refuse(false)
	case "black hole":
		w.proxies[i].Stall(true)
		pause(5000)
		w.proxies[i].Stall(false)
	case "frozen node":
		_ = w.nodes[i].cmd.Process.Signal(syscall.SIGSTOP)
		pause(3000)
		_ = w.nodes[i].cmd.Process.Signal(syscall.SIGCONT)
	}
	pause(1000)
}

// entry is one of the reference.
type entry struct {
	position history.Position
	topic    string // name of its channel
	message  []byte
}

// read returns the histories, by guild.
func (w *durableWorld) read(t *testing.T) map[string][]entry {
	t.Helper()
	all := map[string][]entry{}
	reader := history.NewReader(w.redis, history.ReaderOptions{})
	for _, guild := range durableGuilds {
		at, whole := history.Position{}, true
		for more := true; more; {
			var page history.Page
			wait.Until(t, "the history", func() bool {
				var err error
				page, err = reader.After(t.Context(), guild, at, 500)
				return err == nil
			})
			more, whole = page.More, whole && page.Whole
			for _, e := range page.Entries {
				at = e.Position
				all[guild] = append(all[guild], entry{at, e.Topic.Channel(""), e.Message})
			}
		}
		if !whole {
			t.Errorf("the history of %s was trimmed: run for a shorter time", guild)
		}
	}
	return all
}

var errAway = errors.New("no answer")
