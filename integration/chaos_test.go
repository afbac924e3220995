//go:build integration

package integration

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/architus/guildcast/internal/test/sioclient"
)

// chaosNode is a node and its witness.
type chaosNode struct {
	*node
	witness *witness
	conns   []*sioclient.Conn

	dead   atomic.Bool
	lostAt atomic.Pointer[map[string]int] // where it was when Redis was stopped; nil before
}

// TestChaos: three nodes, 300 clients with random claims who spectate, switch, refresh, are demoted, expire and are
// revoked, 20,000 random events, one node is killed, and Redis is stopped and started again. Every client must have
// received exactly what the reference allows, but for the messages that crossed a change on their way, for those
// between the loss of Redis and the resync that the client was sent, and for those on their way when its node was
// killed or the test ended; nothing twice, nothing out of order.
// GUILDCAST_CHAOS_SEED repeats a run's choices, GUILDCAST_CHAOS_EVENTS changes its length.
func TestChaos(t *testing.T) {
	beside(t)
	seed := envNumber("GUILDCAST_CHAOS_SEED", time.Now().UnixNano())
	events := envNumber("GUILDCAST_CHAOS_EVENTS", 20_000)
	clients := envNumber("GUILDCAST_CHAOS_CLIENTS", 300)
	t.Logf("GUILDCAST_CHAOS_SEED=%d", seed)
	redis := startRedis(t)
	w := newWorld(t, redis.url)
	sign := func(c jwt.MapClaims) string { return mint(t, c) }

	var nodes []*chaosNode
	for i := range 3 {
		n := &chaosNode{node: startNode(t, fmt.Sprint("node ", i), redis.url,
			// All clients come from one address; the limits are not this test's subject.
			"GUILDCAST_LIMIT_SOCKET_RATE=-1", "GUILDCAST_LIMIT_USER_RATE=-1", "GUILDCAST_LIMIT_ADDRESS_RATE=-1"),
			witness: &witness{seen: map[string]int{}}}
		n.watch(t)
		nodes = append(nodes, n)
	}
	rng := rand.New(rand.NewPCG(uint64(seed), 1))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var running sync.WaitGroup
	var dashboards []*dashboard
	for i := range int(clients) {
		d := &dashboard{name: fmt.Sprint("d", i), world: w, node: nodes[i%len(nodes)],
			rng:  rand.New(rand.NewPCG(uint64(seed), uint64(i+2))),
			sign: sign, text: i%3 == 0, got: map[string]map[int]bool{}, last: map[string]int{}}
		if err := d.connect(); err != nil {
			t.Fatal(err)
		}
		dashboards = append(dashboards, d)
		running.Go(func() { d.run(ctx) })
	}

	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for i := range int(events) {
		if i%5 == 0 { // a thousand a second
			<-tick.C
		}
		if err := w.publish(rng); err != nil {
			t.Fatal(err)
		}
		switch i {
		case int(events) / 2:
			nodes[2].kill()
		case int(events) * 3 / 4:
			w.lose(t, redis, nodes[:2], rng)
		}
	}
	cancel()
	running.Wait()
	for _, n := range nodes[:2] {
		n.drain(t)
	}

	total, told := 0, 0
	for _, d := range dashboards {
		for _, s := range d.trouble {
			t.Errorf("%s on %s: %s", d.name, d.node.name, s)
		}
		d.gaps = append(d.gaps, gap{lo: d.certain()})
		for topic, messages := range w.topics {
			if err := judge(topic, messages, d.changes, d.gaps, d.got[topic]); err != nil {
				t.Errorf("%s on %s: %v", d.name, d.node.name, err)
			}
			total += len(d.got[topic])
		}
		if d.told {
			told++
		}
	}
	t.Logf("%d events published, %d deliveries judged, %d clients were told of a gap", events, total, told)
	if told < len(dashboards)/10 {
		t.Errorf("only %d clients were told that Redis was lost", told)
	}
	if total < int(events) {
		t.Errorf("only %d deliveries: the test has judged next to nothing", total)
	}
}

// kill ends the node without a word.
func (n *chaosNode) kill() {
	n.dead.Store(true)
	_ = n.cmd.Process.Kill()
}

// watch connects the witness: an admin who spectates each guild with logs.
func (n *chaosNode) watch(t *testing.T) {
	token := mint(t, jwt.MapClaims{"sub": "1", "architus_admin": true})
	for _, g := range chaosGuilds {
		confirmed := make(chan struct{})
		c, err := sioclient.Dial(strings.TrimPrefix(n.url, "http://"), sioclient.Options{
			Auth: fmt.Sprintf(`{"token":%q}`, token),
			OnEvent: func(p []byte) {
				var args []json.RawMessage
				if json.Unmarshal(p, &args) != nil || len(args) < 2 {
					return
				}
				switch string(args[0]) {
				case `"spectate_return"`:
					close(confirmed)
				case `"log_pool"`, `"log_other"`:
					if topic, i, err := chaosPayload(args[1]); err == nil {
						n.witness.hear(topic, i)
					}
				}
			}})
		if err != nil {
			t.Fatal(err)
		}
		n.conns = append(n.conns, c)
		t.Cleanup(c.Close)
		if err := c.Send(fmt.Sprintf(`42["spectate",{"guild_id":%q,"include_logs":true,"token":%q}]`, g,
			token)); err != nil {
			t.Fatal(err)
		}
		select {
		case <-confirmed:
		case <-time.After(patience):
			t.Fatalf("the witness of %s was not confirmed", n.name)
		}
	}
}

func decodeClaims(token string, v any) error {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return errors.New("not a token")
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

func envNumber(name string, otherwise int64) int64 {
	if n, err := strconv.ParseInt(os.Getenv(name), 10, 64); err == nil {
		return n
	}
	return otherwise
}
