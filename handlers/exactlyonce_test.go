package handlers

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/internal/test/race"
)

// relayNode is a node that hears of the durable events of a guild some time after they were published, in order.
type relayNode struct {
	*bench
	mu    sync.Mutex
	at    history.Position
	queue chan history.Entry
	ears  sync.Map // of *wanderer, by connection
}

func newRelayNode(t *testing.T, past *archive, rng *rand.Rand) *relayNode {
	n := &relayNode{bench: newBench(t, Config{
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Limits: Limits{SocketRate: -1, UserRate: -1, AddressRate: -1},
	})}
	n.queue = make(chan history.Entry, 10_000)
	n.g.history = past
	n.streams.position = func(string) (history.Position, bool) {
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.at, true
	}
	n.hook = func(c any, args []byte, _ time.Time) {
		if w, ok := n.ears.Load(c); ok {
			w.(*wanderer).hear(c.(*engine.Conn), args)
		}
	}
	n.sheds = func(c *engine.Conn, _ []byte) bool {
		w, ok := n.ears.Load(c)
		return ok && w.(*wanderer).slow()
	}
	n.resumes = func(c *engine.Conn) bool {
		w, ok := n.ears.Load(c)
		return !ok || !w.(*wanderer).slow()
	}
	go func() {
		for e := range n.queue {
			time.Sleep(time.Duration(rng.IntN(3000)) * time.Microsecond)
			n.mu.Lock()
			n.at = e.Position
			n.mu.Unlock()
			n.g.Message(e.Topic, e.Position, e.Message)
		}
	}()
	return n
}

// wanderer is a client that drops its connection and comes back, to this node or the other.
type wanderer struct {
	t     *testing.T
	id    string
	rng   *rand.Rand // where it goes
	token string
	logs  bool

	mu       sync.Mutex
	moods    *rand.Rand
	conn     *engine.Conn // it listens to; nil while it is away
	behind   time.Time    // until when it reads slowly
	position string       // of the last event that it has, or of the answer before
	got      []int
	answers  int
	lost     int // answers that said that something is missing
	resyncs  int
}

func (w *wanderer) slow() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if !now.Before(w.behind) && w.moods.IntN(60) == 0 {
		w.behind = now.Add(time.Duration(w.moods.IntN(100_000)) * time.Microsecond)
	}
	return now.Before(w.behind)
}

func (w *wanderer) hear(c *engine.Conn, args []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conn != c {
		return // on its way when the connection broke
	}
	var list []json.RawMessage
	var name, position string
	var body struct {
		Seq       int
		Position  *string
		Recovered *bool
	}
	if json.Unmarshal(args, &list) != nil || json.Unmarshal(list[0], &name) != nil ||
		json.Unmarshal(list[1], &body) != nil {
		panic("no event: " + string(args))
	}
	switch name {
	case "log_pool", "log_other":
		if w.answers == 0 {
			w.t.Errorf("%s got an event before the answer", w.id)
		}
		if len(list) != 3 || json.Unmarshal(list[2], &position) != nil {
			w.t.Errorf("%s has no position", args)
			return
		}
		w.got, w.position = append(w.got, body.Seq), position
	case "spectate_return":
		w.answers++
		if w.position != "" && !*body.Recovered {
			w.lost++
			w.got = append(w.got, -1)
		}
		if w.position == "" || !*body.Recovered {
			w.position = *body.Position
		}
	case "resync":
		w.resyncs++
		w.got = append(w.got, -1)
	case "request_elevation_return":
	default:
		w.t.Errorf("unexpected %s", args)
	}
}

// visit connects to a node and stays for a while.
func (w *wanderer) visit(n *relayNode, visit int, stay time.Duration) {
	s := n.socket(fmt.Sprintf("%s-%d", w.id, visit))
	w.mu.Lock()
	w.conn, w.answers, w.behind = s.conn(), 0, time.Time{}
	body := m{"guild_id": "1", "token": w.token, "include_logs": w.logs, "positions": true}
	if w.position != "" {
		body["since"] = w.position
	}
	w.mu.Unlock()
	n.ears.Store(s.conn(), w)
	s.send("request_elevation", m{"token": w.token})
	s.send("spectate", body)
	time.Sleep(stay)
	w.mu.Lock()
	w.conn = nil
	w.mu.Unlock()
	n.g.disconnected(s)
	n.ears.Delete(s.conn())
}

// Clients blink, read slowly and change nodes; the nodes hear at different times. Each client gets every event that it
// may see, once and in order, from its first spectate on, as long as the history keeps them; else it is told.
func TestEachEventComesOnceAndInOrder(t *testing.T) {
	for seed := range race.Rounds[uint64](4, 2) {
		for _, keep := range []int{100_000, 60} {
			t.Run(fmt.Sprintf("%d keeps %d", seed, keep), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { wander(t, seed, keep) })
			})
		}
	}
}

func wander(t *testing.T, seed uint64, keep int) {
	past := newArchive()
	past.pause = 700 * time.Microsecond
	rng := rand.New(rand.NewPCG(seed, 7))
	nodes := []*relayNode{
		newRelayNode(t, past, rand.New(rand.NewPCG(seed, 8))), newRelayNode(t, past, rand.New(rand.NewPCG(seed, 9))),
	}
	var clients sync.WaitGroup
	var all []*wanderer
	stop := make(chan struct{})
	var seqs [2][]int // of the events for those without and with logs
	var publisher sync.WaitGroup
	publisher.Go(func() {
		for seq := 0; ; seq++ {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(rng.IntN(4000)) * time.Microsecond):
			}
			topic := event.Topic{Guild: "1", Logs: seq%3 == 0}
			message := fmt.Appendf(nil, `{"kind":"member","payload":{"seq":%d}}`, seq)
			p := past.add(topic, message)
			past.trim("1", keep)
			for _, n := range nodes {
				n.queue <- history.Entry{Position: p, Topic: topic, Message: message}
			}
			seqs[1] = append(seqs[1], seq)
			if !topic.Logs {
				seqs[0] = append(seqs[0], seq)
			}
		}
	})
	for i := range 10 {
		w := &wanderer{t: t, id: fmt.Sprint(i), rng: rand.New(rand.NewPCG(seed, 100+uint64(i))),
			moods: rand.New(rand.NewPCG(seed, 200+uint64(i))), logs: i%2 == 0,
			token: claims(fmt.Sprint(i), time.Now(), time.Hour, `{"1":2}`)}
		all = append(all, w)
		clients.Go(func() {
			for visit := range 15 {
				n := nodes[w.rng.IntN(2)]
				w.visit(n, visit, time.Duration(w.rng.IntN(100_000))*time.Microsecond)
				time.Sleep(time.Duration(w.rng.IntN(60_000)) * time.Microsecond)
			}
		})
	}
	clients.Wait()
	close(stop)
	publisher.Wait()
	for i, w := range all { // once more, with time to catch up
		clients.Go(func() { w.visit(nodes[i%2], 100, 20*time.Second) })
	}
	clients.Wait()
	total, lost := 0, 0
	for _, w := range all {
		want := seqs[0]
		if w.logs {
			want = seqs[1]
		}
		total += w.check(t, want, keep > 1000)
		lost += w.lost + w.resyncs
	}
	t.Logf("%d events, %d losses told", total, lost)
	if total < 1000 {
		t.Error("this proves little")
	}
	for _, n := range nodes {
		close(n.queue)
		if len(n.g.streams.guilds) > 0 || n.g.streams.windows.used.Load() != 0 || n.g.replays.used.Load() != 0 {
			t.Errorf("%d streams with %d bytes are left", len(n.g.streams.guilds), n.g.streams.windows.used.Load())
		}
	}
}

// check compares what came with what was published. A -1 is a loss that was told.
func (w *wanderer) check(t *testing.T, want []int, whole bool) int {
	t.Helper()
	if whole && (w.lost > 0 || w.resyncs > 0) {
		t.Errorf("client %s was told of %d losses and %d resyncs, and nothing was lost", w.id, w.lost, w.resyncs)
	}
	next := -1 // index in want; -1: anywhere
	count := 0
	for i, seq := range w.got {
		if seq < 0 {
			next = -1
			continue
		}
		at, found := slices.BinarySearch(want, seq)
		switch {
		case !found:
			t.Fatalf("client %s got %d, which is not for it", w.id, seq)
		case count > 0 && next < 0 && i > 0 && w.got[i-1] < 0 && i > 1 && seq <= lastBefore(w.got[:i]):
			t.Fatalf("client %s got %d again, at the end of %v", w.id, seq, w.got[max(0, i-12):i+1])
		case next >= 0 && at != next:
			t.Fatalf("client %s got %d and not %d, at the end of %v", w.id, seq, want[next], w.got[max(0, i-12):i+1])
		}
		next = at + 1
		count++
	}
	if next >= 0 && next != len(want) {
		t.Errorf("client %s: the end is missing, from %d of %d", w.id, next, len(want))
	}
	return count
}

// lastBefore returns the last event of a sequence.
func lastBefore(got []int) int {
	for _, seq := range slices.Backward(got) {
		if seq >= 0 {
			return seq
		}
	}
	return -1
}
