//go:build integration

package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
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
// data, frozen and cut off, its subscribers are killed again and again, and the connections to Redis and those of
// clients become late, narrow or half-open, or close late. Clients blink and come back to another node, read slowly,
// lose rights and are revoked, and the policy becomes stricter. What each of them has received must be what the history
// has for it, in order and once, and nobody is told of a loss. Each fault comes at least once.
// GUILDCAST_CHAOS_SEED repeats a run's choices, GUILDCAST_CHAOS_SECONDS makes it longer.
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
	left := w.shuffledFaults()
	for begin := time.Now(); time.Since(begin) < length || len(left) > 0; left = left[1:] {
		if len(left) == 0 {
			left = w.shuffledFaults()
		}
		w.fault(t, left[0])
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

	// Owned by the test's goroutine, by node.
	nodes   []*node
	proxies []*redistest.Proxy // to Redis
	doors   []*redistest.Proxy // to the node

	mu    sync.Mutex
	addrs []string // guarded by mu; of doors, "" while the node is away
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
		w.doors = append(w.doors, redistest.NewProxy(t, ""))
		w.startNode(t, i)
	}
	return w
}

func (w *durableWorld) startNode(t *testing.T, i int) {
	t.Helper()
	w.nodes[i] = startNode(t, fmt.Sprint("node ", i), "redis://"+w.proxies[i].Addr(), "GUILDCAST_GRACE=1s",
		"GUILDCAST_POLICY="+w.policy,
		"GUILDCAST_LIMIT_SOCKET_RATE=-1", "GUILDCAST_LIMIT_USER_RATE=-1", "GUILDCAST_LIMIT_ADDRESS_RATE=-1")
	w.doors[i].Retarget(strings.TrimPrefix(w.nodes[i].url, "http://"))
	w.setAddr(i, w.doors[i].Addr())
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

// addr returns where node i is found, or the other if that is away.
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

// durableFaults are those of TestChaosDurable. The last ones have a place, toRedis or toClients.
var durableFaults = []string{
	"kill -9", "SIGTERM", "frozen node", "restart of Redis", "frozen Redis", "refused", "cut", "black hole",
	late + toRedis, narrow + toRedis, slowClose + toRedis, halfOpen + toRedis,
	late + toClients, narrow + toClients, slowClose + toClients, halfOpen + toClients,
}

const (
	late      = "latency, "
	narrow    = "low bandwidth, "
	slowClose = "slow close, "
	halfOpen  = "half-open, "

	toRedis   = "node to Redis"
	toClients = "client to node"
)

var spoils = map[string]redistest.Spoil{
	late:      {Latency: 200 * time.Millisecond, Jitter: 300 * time.Millisecond},
	narrow:    {Rate: 10_000},
	slowClose: {Closing: 2 * time.Second},
}

// shuffledFaults returns every fault once.
func (w *durableWorld) shuffledFaults() []string {
	kinds := slices.Clone(durableFaults)
	w.rng.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	return kinds
}

// fault breaks something, of a node drawn at random, and mends it.
func (w *durableWorld) fault(t *testing.T, kind string) {
	i := w.rng.IntN(len(w.nodes))
	pause := func(most int) { <-time.After(time.Duration(w.rng.IntN(most)) * time.Millisecond) }
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
	case halfOpen + toRedis:
		toTarget, toClient := w.direction()
		w.proxies[i].Forget(toTarget, toClient) // for good: the node must notice
	case halfOpen + toClients:
		toTarget, toClient := w.direction()
		end := w.doors[i].Forget(toTarget, toClient)
		pause(3000)
		end()
	default:
		w.spoil(i, kind, pause)
	}
	pause(1000)
}

// direction draws which ways are lost, at least one.
func (w *durableWorld) direction() (toTarget, toClient bool) {
	bits := 1 + w.rng.IntN(3)
	return bits&1 != 0, bits&2 != 0
}

// spoil applies one of spoils to a place of node i for a while.
func (w *durableWorld) spoil(i int, kind string, pause func(int)) {
	proxy, name := w.doors[i], strings.TrimSuffix(kind, toClients)
	if strings.HasSuffix(kind, toRedis) {
		proxy, name = w.proxies[i], strings.TrimSuffix(kind, toRedis)
	}
	proxy.Spoil(spoils[name])
	if kind == slowClose+toRedis { // clients close of themselves
		for _, of := range []string{"normal", "pubsub"} {
			w.redis.ClientKillByFilter(context.Background(), "TYPE", of, "SKIPME", "yes")
		}
	}
	pause(3000)
	proxy.Spoil(redistest.Spoil{})
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
