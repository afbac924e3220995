package node

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/golang-jwt/jwt/v5"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/internal/redisurl"
	"github.com/architus/guildcast/internal/test/race"
	"github.com/architus/guildcast/internal/test/simnet"
	"github.com/architus/guildcast/internal/test/sioclient"
	"github.com/architus/guildcast/permissions"
	"github.com/architus/guildcast/token"
)

var (
	simSeeds = flag.Int("sim.seeds", race.Rounds(6, 3), "worlds that TestSimulation runs")
	simSeed  = flag.Uint64("sim.seed", 0, "the one world that TestSimulation runs; 0 draws others")
)

// TestSimulation runs whole clusters in virtual time, each drawn from a seed: three nodes, a Redis (miniredis), a
// publisher and clients, over a network in memory. Nodes are lost, drained and cut off, Redis goes away and comes back
// with its data, its clock jumps by an hour, connections stall, clients blink and read slowly. Each client must get the
// events of its guild's history that it may see, in order and once, and nobody is told of a loss.
//
//	go test ./node -run Simulation -sim.seeds 1000
//	go test ./node -run Simulation -sim.seed 42
//
// A seed repeats all choices and their times. Goroutines that are ready in the same instant may run in another order.
// Left out are the clocks of nodes: a bubble has one, which does not jump; TestClockJumpsAhead stands in for it. Left
// out, too, is what needs the system: the passing on of requests (an HTTP client of its own), TLS, files, a Redis with
// sharded channels, Sentinel or Cluster; the tests of package integration have those, in real time.
func TestSimulation(t *testing.T) {
	seeds := []uint64{*simSeed}
	if *simSeed == 0 {
		seeds = seeds[:0]
		for range *simSeeds {
			seeds = append(seeds, rand.Uint64N(1<<40)+1)
		}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { simulate(t, seed) })
			if t.Failed() {
				t.Logf("repeat it by: go test ./node -run TestSimulation -sim.seed %d", seed)
			}
		})
	}
}

const (
	simRedis  = "10.0.9.9:6379"
	simLength = 15 * time.Second
	simSecret = "a secret of the simulation, of 32 bytes"
)

var simGuilds = []string{"7400000000000000001", "7400000000000000002"}

// simKinds are kinds of events with what they require.
var simKinds = []struct {
	kind     string
	required permissions.Bits
}{
	{"guild", 0}, {"message", permissions.ViewPublicLogs}, {"moderation", permissions.ViewPrivateLogs},
	{"setting", permissions.ViewSettings}, {"administrator", permissions.Administrator},
}

// simWorld is a cluster.
type simWorld struct {
	t     *testing.T
	net   *simnet.Net
	redis *miniredis.Miniredis
	rng   *rand.Rand // of the faults

	mu    sync.Mutex
	nodes [3]*simNode // nil: away
}

// simNode is a running node.
type simNode struct {
	name string // of its side of the network
	addr string
	stop context.CancelFunc
	done chan error
}

func simulate(t *testing.T, seed uint64) {
	delays := rand.New(rand.NewPCG(seed, 1))
	w := &simWorld{t: t, redis: miniredis.NewMiniRedis(), rng: rand.New(rand.NewPCG(seed, 2))}
	w.net = &simnet.Net{
		Delay: func() time.Duration { return time.Duration(delays.IntN(3000)) * time.Microsecond },
		// A session that ends waits up to 10 s for its handlers and holds a mutex meanwhile, for which its reader must
		// not wait: in a bubble no time passes while somebody waits for a mutex.
		Linger: 11 * time.Second,
	}
	first, err := w.redis.Dial() // starts it
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	defer w.redis.Close()
	stopRedis := w.serveRedis()
	for i := range w.nodes {
		w.startNode(i)
	}
	client := w.connect("publisher")
	defer client.Close()
	publisher := history.NewPublisher(client.Client, history.PublisherOptions{
		MaxEntries: 100_000, MaxAge: 3 * time.Hour, // so that no jump of the clock makes all entries too old
	})
	for _, guild := range simGuilds { // of a guild without a history nobody knows whether its events are durable
		w.publishOne(publisher, event.Topic{Guild: guild}, simKinds[0].kind, -1)
	}
	var followers []*simFollower
	for i := range 8 {
		followers = append(followers, newSimFollower(w, i, rand.New(rand.NewPCG(seed, uint64(100+i)))))
	}
	clients, leave := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for _, f := range followers {
		running.Go(func() { f.run(clients) })
	}
	publishing, stop := context.WithCancel(t.Context())
	var others sync.WaitGroup
	others.Go(func() { w.publish(publishing, publisher, rand.New(rand.NewPCG(seed, 3))) })
	for begin := time.Now(); time.Since(begin) < simLength; {
		time.Sleep(time.Duration(w.rng.IntN(2000)) * time.Millisecond)
		stopRedis = w.fault(stopRedis)
	}
	stop()
	others.Wait()
	for _, f := range followers {
		f.settle()
	}
	reference := w.read(client)
	deadline := time.Now().Add(time.Minute) // virtual
	for _, f := range followers {
		for !f.has(reference[f.guild]) && time.Now().Before(deadline) {
			time.Sleep(50 * time.Millisecond)
		}
	}
	leave()
	running.Wait()
	for i := range w.nodes {
		w.stopNode(i)
	}
	stopRedis()
	for _, f := range followers {
		f.judge(t, reference[f.guild])
	}
}

// serveRedis accepts connections to Redis until the returned function is called.
func (w *simWorld) serveRedis() (stop func()) {
	l, err := w.net.Listen(simRedis)
	if err != nil {
		w.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			w.redis.Server().ServeConn(c)
		}
	}()
	return func() {
		l.Close()
		<-done
		w.net.Cut(simRedis)
	}
}

// connect returns a client of Redis for the side called name.
func (w *simWorld) connect(name string) *redisurl.Connection {
	c, err := w.through(name).connect("redis://" + simRedis)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *simWorld) through(name string) network {
	return network{
		listen: func(_, addr string) (net.Listener, error) { return w.net.Listen(addr) },
		connect: func(url string) (*redisurl.Connection, error) {
			return redisurl.ConnectThrough(url, func(ctx context.Context, _, addr string) (net.Conn, error) {
				return w.net.Dial(ctx, name, addr)
			})
		},
	}
}

func (w *simWorld) startNode(i int) {
	n := &simNode{name: fmt.Sprint("node", i), addr: fmt.Sprintf("10.0.0.%d:8080", i), done: make(chan error, 1)}
	listening := make(chan struct{})
	built, err := newNode(Config{
		Addr: n.addr, Redis: "redis://" + simRedis, Advertise: AdvertiseOff, Grace: time.Second,
		JWTSecrets: []token.Secret{{Key: []byte(simSecret)}}, Logger: slog.New(slog.NewTextHandler(w.log(), nil)),
		Listening: func(Info) { close(listening) },
	}, w.through(n.name))
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	n.stop = cancel
	go func() { n.done <- built.Run(ctx) }()
	<-listening
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes[i] = n
}

func (w *simWorld) log() io.Writer {
	if *simSeed != 0 {
		return w.t.Output()
	}
	return io.Discard
}

// away takes node i out of those that clients find.
func (w *simWorld) away(i int) *simNode {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.nodes[i]
	w.nodes[i] = nil
	return n
}

func (w *simWorld) stopNode(i int) {
	n := w.away(i)
	n.stop()
	if err := <-n.done; err != nil {
		w.t.Errorf("%s: %v", n.name, err)
	}
}

// addr returns that of some node that is there.
func (w *simWorld) addr(rng *rand.Rand) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := rng.IntN(len(w.nodes)); ; i = (i + 1) % len(w.nodes) {
		if w.nodes[i] != nil {
			return w.nodes[i].addr
		}
	}
}

// fault breaks something, and mends it.
func (w *simWorld) fault(stopRedis func()) func() {
	i := w.rng.IntN(len(w.nodes))
	w.mu.Lock()
	n := w.nodes[i]
	w.mu.Unlock()
	pause := func(most int) { time.Sleep(time.Duration(w.rng.IntN(most)) * time.Millisecond) }
	switch w.rng.IntN(7) {
	case 0: // lost: it ends, and nobody hears of it
		w.away(i)
		w.net.Stall(n.name)
		w.net.Cut(n.addr)
		n.stop()
		<-n.done
		w.net.Cut(n.name)
		w.net.Resume(n.name)
		w.startNode(i)
	case 1:
		w.stopNode(i)
		w.startNode(i)
	case 2: // the node is cut off from Redis
		w.net.Cut(n.name)
	case 3:
		w.net.Stall(n.name)
		pause(6000)
		w.net.Resume(n.name)
	case 4:
		stopRedis()
		pause(2000)
		return w.serveRedis()
	case 5:
		w.net.Stall(simRedis)
		pause(4000)
		w.net.Resume(simRedis)
	case 6: // the clock of Redis, which numbers events, jumps by an hour, stands still, and jumps back
		w.redis.SetTime(time.Now().Add([]time.Duration{-time.Hour, time.Hour}[w.rng.IntN(2)]))
		pause(4000)
		w.redis.SetTime(time.Time{})
	}
	return stopRedis
}

func (w *simWorld) publish(ctx context.Context, p *history.Publisher, rng *rand.Rand) {
	for i := 0; ctx.Err() == nil; i++ {
		time.Sleep(time.Duration(rng.IntN(200)) * time.Millisecond)
		kind := simKinds[rng.IntN(len(simKinds))].kind
		w.publishOne(p, event.Topic{Guild: simGuilds[rng.IntN(len(simGuilds))], Logs: rng.IntN(2) == 0}, kind, i)
	}
}

// publishOne publishes an event. Whether it came through if its answer is lost, the history says.
func (w *simWorld) publishOne(p *history.Publisher, topic event.Topic, kind string, i int) {
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Second)
	defer cancel()
	_, _ = p.Publish(ctx, topic, fmt.Appendf(nil, `{"kind":%q,"payload":{"i":%d}}`, kind, i))
}

// simEntry is what the history has of an event.
type simEntry struct {
	position history.Position
	logs     bool
	required permissions.Bits
}

func (w *simWorld) read(client *redisurl.Connection) map[string][]simEntry {
	all := map[string][]simEntry{}
	reader := history.NewReader(client.Client, history.ReaderOptions{})
	for _, guild := range simGuilds {
		at := history.Position{}
		for more := true; more; {
			page, err := reader.After(w.t.Context(), guild, at, 500)
			if err != nil {
				time.Sleep(100 * time.Millisecond) // the publisher's connections may have been cut
				continue
			}
			more = page.More
			for _, e := range page.Entries {
				at = e.Position
				var m struct{ Kind string }
				_ = json.Unmarshal(e.Message, &m)
				for _, k := range simKinds {
					if k.kind == m.Kind {
						all[guild] = append(all[guild], simEntry{at, e.Topic.Logs, k.required})
					}
				}
			}
		}
	}
	return all
}

// simFollower is a client that spectates a guild from its last position on, at one node after another.
type simFollower struct {
	w     *simWorld
	name  string // of its side of the network
	rng   *rand.Rand
	guild string
	bits  permissions.Bits
	logs  bool
	token string

	mu       sync.Mutex
	settled  bool // it stays where it is
	started  bool
	start    history.Position
	position history.Position
	got      []history.Position
	trouble  []string
}

func newSimFollower(w *simWorld, i int, rng *rand.Rand) *simFollower {
	rights := []permissions.Bits{
		0, permissions.ViewPublicLogs, permissions.ViewPublicLogs | permissions.ViewPrivateLogs,
		permissions.Administrator,
	}
	f := &simFollower{
		w: w, name: fmt.Sprintf("10.1.0.%d:5000", i), rng: rng, guild: simGuilds[i%2], bits: rights[i/2%len(rights)],
	}
	f.logs = f.bits != 0
	var err error
	f.token, err = jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"sub": fmt.Sprint(1000 + i), "exp": time.Now().Add(time.Hour).Unix(), "permissions": 0,
		"guilds": map[string]permissions.Bits{f.guild: f.bits},
	}).SignedString([]byte(simSecret))
	if err != nil {
		w.t.Fatal(err)
	}
	return f
}

func (f *simFollower) settle() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settled = true
}

func (f *simFollower) run(ctx context.Context) {
	for ctx.Err() == nil {
		f.visit(ctx)
		time.Sleep(time.Duration(50+f.rng.IntN(1000)) * time.Millisecond)
	}
}

// visit stays with one node for a while, and reads slowly at times.
func (f *simFollower) visit(ctx context.Context) {
	spectates, again := make(chan struct{}, 1), make(chan struct{}, 1)
	v := &simVisit{simFollower: f, spectates: spectates, again: again}
	c, err := sioclient.Dial(f.w.addr(f.rng), sioclient.Options{
		Auth: fmt.Sprintf(`{"token":%q}`, f.token), OnEvent: v.hear,
		Dial: func(ctx context.Context, addr string) (net.Conn, error) { return f.w.net.Dial(ctx, f.name, addr) },
	})
	if err != nil {
		return
	}
	defer func() {
		f.w.net.Resume(f.name)
		c.Close()
	}()
	f.spectate(c)
	leave := time.NewTimer(time.Duration(500+f.rng.IntN(8000)) * time.Millisecond)
	defer leave.Stop()
	slow := time.NewTimer(time.Duration(f.rng.IntN(10000)) * time.Millisecond)
	defer slow.Stop()
	silent := time.NewTimer(10 * time.Second) // for the first answer
	defer silent.Stop()
	for {
		select {
		case <-again:
			time.Sleep(200 * time.Millisecond)
			f.spectate(c)
		case <-spectates:
			silent.Stop()
		case <-silent.C:
			return // the node is frozen
		case <-slow.C:
			f.w.net.Stall(f.name)
			time.Sleep(time.Duration(f.rng.IntN(3000)) * time.Millisecond)
			f.w.net.Resume(f.name)
		case <-leave.C:
			f.mu.Lock()
			settled := f.settled
			f.mu.Unlock()
			if !settled {
				return
			}
		case <-c.Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

func (f *simFollower) spectate(c *sioclient.Conn) {
	payload := map[string]any{"guild_id": f.guild, "include_logs": f.logs, "positions": true, "token": f.token}
	f.mu.Lock()
	if f.started {
		payload["since"] = f.position.String()
	}
	f.mu.Unlock()
	b, err := json.Marshal([]any{"spectate", payload})
	if err != nil {
		panic(err)
	}
	_ = c.Send("42" + string(b))
}

// simVisit is one connection of a follower.
type simVisit struct {
	*simFollower
	spectates, again chan<- struct{}
}

func (v *simVisit) hear(p []byte) {
	var args []json.RawMessage
	var name string
	if json.Unmarshal(p, &args) != nil || len(args) < 2 || json.Unmarshal(args[0], &name) != nil {
		v.complain("strange event %s", p)
		return
	}
	switch name {
	case "request_elevation_return":
	case "spectate_return":
		v.returned(args[1])
		send(v.spectates)
	case "error": // Redis is away
		send(v.again)
	case "log_pool", "log_other":
		v.event(args)
	default:
		v.complain("%s", p)
	}
}

func (v *simVisit) returned(body json.RawMessage) {
	var a struct {
		Position  string
		Recovered bool
	}
	err := json.Unmarshal(body, &a)
	at, bad := history.ParsePosition(a.Position)
	if err != nil || bad != nil {
		v.complain("the answer is %s", body)
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.started {
		v.started, v.start, v.position = true, at, at
	} else if !a.Recovered {
		v.trouble = append(v.trouble, fmt.Sprintf("not recovered from %s: %s", v.position, body))
	}
}

func (v *simVisit) event(args []json.RawMessage) {
	var text string
	if len(args) != 3 || json.Unmarshal(args[2], &text) != nil {
		v.complain("no position: %s", args)
		return
	}
	at, err := history.ParsePosition(text)
	v.mu.Lock()
	defer v.mu.Unlock()
	if err != nil || at.Compare(v.position) <= 0 {
		v.trouble = append(v.trouble, fmt.Sprintf("%s after %s, %v", text, v.position, err))
	}
	v.position = at
	v.got = append(v.got, at)
}

func (f *simFollower) complain(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.trouble = append(f.trouble, fmt.Sprintf(format, args...))
}

func (f *simFollower) sees(e simEntry) bool {
	if e.logs && !f.logs {
		return false
	}
	return f.bits&permissions.Administrator != 0 || f.bits&e.required == e.required
}

// has reports whether the last event that the follower must get has come.
func (f *simFollower) has(reference []simEntry) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range slices.Backward(reference) {
		if f.sees(e) {
			return f.started && f.position.Compare(e.position) >= 0
		}
	}
	return f.started
}

func (f *simFollower) judge(t *testing.T, reference []simEntry) {
	var want []history.Position
	for _, e := range reference {
		if f.sees(e) && e.position.Compare(f.start) > 0 {
			want = append(want, e.position)
		}
	}
	if len(f.trouble) > 0 || !slices.Equal(f.got, want) {
		t.Errorf("%s (rights %d, logs %t) got %d events, want %d, from %s on: %q\n got %v\nwant %v", f.name, f.bits,
			f.logs,
			len(f.got), len(want), f.start, f.trouble, f.got, want)
	}
}

func send(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
