//go:build integration

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/internal/test/wait"
)

// The world of TestChaos: what was published, and how far each node has certainly come.

var chaosGuilds = []string{"1000000000000000001", "1000000000000000002", "1000000000000000003", "1000000000000000004"}

// world publishes events with numbers that count up per topic.
type world struct {
	redis *goredis.Client

	mu     sync.Mutex
	topics map[string][][]byte // guarded by mu; the messages of each topic, in order

	lost, back atomic.Bool  // Redis was stopped; all nodes have it again
	revoking   sync.RWMutex // read-locked while a revocation is on its way, which must not get lost
}

func newWorld(t *testing.T, redisURL string) *world {
	opts, err := goredis.ParseURL(redisURL)
	if err != nil {
		t.Fatal(err)
	}
	opts.ReadTimeout = patience // what is published again because the answer is late comes twice
	w := &world{redis: goredis.NewClient(opts), topics: map[string][][]byte{}}
	t.Cleanup(func() { w.redis.Close() })
	return w
}

// published returns how many messages each topic has; a message that is being published counts.
func (w *world) published() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := map[string]int{}
	for topic, ms := range w.topics {
		n[topic] = len(ms)
	}
	return n
}

var chaosKinds = []string{"guild", "channel", "role", "emoji", "member", "user", "auto_response", "setting", "message",
	"reaction",
	"invite", "webhook", "integration", "interaction", "moderation", "administrator", "internal", "unheard_of"}

// publish makes and publishes one random event. Only one goroutine publishes.
func (w *world) publish(rng *rand.Rand) error {
	topic := chaosGuilds[rng.IntN(len(chaosGuilds))]
	if rng.IntN(2) == 0 {
		topic += "_logs"
	}
	return w.publishTo(rng, topic, chaosKinds[rng.IntN(len(chaosKinds))])
}

func (w *world) publishTo(rng *rand.Rand, topic, kind string) error {
	w.mu.Lock()
	payload := map[string]any{"t": topic, "i": len(w.topics[topic])}
	m := map[string]any{"kind": kind, "payload": payload}
	if rng.IntN(3) == 0 {
		m["private"] = true
	}
	switch rng.IntN(8) {
	case 0:
		m["requires"] = []string{"VIEW_SETTINGS", "MANAGE_SETTINGS"}[rng.IntN(2):]
	case 1:
		m["requires"] = rng.IntN(8)
	case 2:
		if rng.IntN(4) == 0 {
			m["requires"] = []string{"FLY"}
		}
	}
	text, _ := json.Marshal(m)
	w.topics[topic] = append(w.topics[topic], text)
	w.mu.Unlock()
	return w.redis.Publish(context.Background(), topic, text).Err()
}

// lose stops Redis for some seconds, in which the clients go on, and goes on publishing while the nodes find it again.
func (w *world) lose(t *testing.T, redis *realRedis, nodes []*chaosNode, rng *rand.Rand) {
	w.revoking.Lock()
	defer w.revoking.Unlock()
	for _, n := range nodes {
		at := n.witness.bounds()
		n.lostAt.Store(&at)
	}
	w.lost.Store(true)
	redis.stop(t)
	for _, n := range nodes {
		n.waitStatus(t, "/readyz", http.StatusServiceUnavailable)
	}
	time.Sleep(2 * time.Second) // the clients do what they do
	redis.start(t)
	for _, n := range nodes {
		wait.Until(t, n.name+" to be ready", func() bool {
			if err := w.publish(rng); err != nil {
				t.Fatal(err)
			}
			status, _ := get(n.url + "/readyz")
			return status == http.StatusOK
		})
	}
	w.back.Store(true)
}

// state is what decides about a viewer's events.
type state struct {
	elevated bool
	claims   viewer
	guild    string // "" spectates nothing
	logs     bool
}

// sees tells whether a viewer in this state gets message of topic.
func (s state) sees(topic string, message []byte) bool {
	guild, logs := guildOf(topic), strings.HasSuffix(topic, "_logs")
	if !s.elevated || s.guild != guild || logs && !s.logs {
		return false
	}
	_, _, ok := s.claims.sees(guild, logs, message)
	return ok
}

func guildOf(topic string) string { return strings.TrimSuffix(topic, "_logs") }

// gap are messages that a client may have missed: those of guild, or of all where it is "", from lo on and before hi,
// by topic; a nil hi is the end.
type gap struct {
	guild  string
	lo, hi map[string]int
}

func (g gap) covers(topic string, i int) bool {
	return (g.guild == "" || g.guild == guildOf(topic)) && g.lo[topic] <= i && (g.hi == nil || i < g.hi[topic])
}

// change is a step from one state to the next. Messages before lo were certainly handled in the old state, those from
// hi on are certainly handled in the new one; between them either may hold.
type change struct {
	lo, hi map[string]int // by topic; a topic that is absent from hi has no messages yet: 0
	after  state
}

// judge compares what was received of topic with what the states allow.
func judge(topic string, messages [][]byte, changes []change, gaps []gap, got map[int]bool) error {
	var missing, forbidden []int
	for i, m := range messages {
		possible := []state{{}}
		for _, c := range changes {
			if i < c.lo[topic] {
				break
			}
			if i >= c.hi[topic] {
				possible = possible[:0]
			}
			possible = append(possible, c.after)
		}
		must, may := true, false
		for _, s := range possible {
			ok := s.sees(topic, m)
			must, may = must && ok, may || ok
		}
		if must && !got[i] && !slices.ContainsFunc(gaps, func(g gap) bool { return g.covers(topic, i) }) {
			missing = append(missing, i)
		}
		if !may && got[i] {
			forbidden = append(forbidden, i)
		}
	}
	if len(forbidden) > 0 {
		return fmt.Errorf("%s: FORBIDDEN messages %v, the first %s", topic, forbidden, messages[forbidden[0]])
	}
	if len(missing) > 0 {
		return fmt.Errorf("%s: missing messages %v, the first %s", topic, missing, messages[missing[0]])
	}
	return nil
}

// witness is an architus_admin who spectates all: what it has received, the node has delivered.
type witness struct {
	mu   sync.Mutex
	seen map[string]int // guarded by mu; by topic, the number of the last message
}

func (w *witness) hear(topic string, i int) {
	w.mu.Lock()
	w.seen[topic] = i
	w.mu.Unlock()
}

// bounds returns, by topic, the first message that the node may still be at.
func (w *witness) bounds() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := map[string]int{}
	for topic, i := range w.seen {
		b[topic] = i
	}
	return b
}

// chaosPayload reads the payload of an event in either form.
func chaosPayload(arg json.RawMessage) (topic string, i int, err error) {
	var p struct {
		T string `json:"t"`
		I int    `json:"i"`
	}
	err = decodeEither(arg, &p)
	return p.T, p.I, err
}

// decodeEither decodes a payload that may be a string.
func decodeEither(arg json.RawMessage, v any) error {
	if len(arg) > 0 && arg[0] == '"' {
		var text string
		if err := json.Unmarshal(arg, &text); err != nil {
			return err
		}
		arg = json.RawMessage(text)
	}
	return json.Unmarshal(arg, v)
}
