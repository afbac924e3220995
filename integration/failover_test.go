//go:build integration

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/internal/test/redistest"
	"github.com/architus/guildcast/internal/test/sioclient"
	"github.com/architus/guildcast/internal/test/wait"
)

// movable is a Redis that a primary can be taken from.
type movable struct {
	url  string
	find func(t *testing.T) // sets the rest, once the node hears

	primary *redistest.Server              // that the node hears from
	publish func() goredis.UniversalClient // of a server that is a primary and stays one, or that replaces primary
	manual  func(t *testing.T)             // has the replica of primary take its place
}

// TestChaosFailover kills, freezes and replaces the primary that a node hears from, while events are published. Each
// spectator gets every event in order, or one resync after the last that it has missed was sent; who spectates nothing
// gets none. With GUILDCAST_STRICT_TIMES=1 (make chaos) the node may be ready for no more than 3 s while it is deaf.
func TestChaosFailover(t *testing.T) {
	beside(t)
	for kind, begin := range map[string]func(*testing.T) *movable{"sentinel": beginSentinel, "cluster": beginCluster} {
		for event, happens := range map[string]func(*testing.T, *movable){
			"kill":   func(_ *testing.T, m *movable) { m.primary.Stop() },
			"manual": func(t *testing.T, m *movable) { m.manual(t) },
			"freeze": func(_ *testing.T, m *movable) {
				m.primary.Pause()
				<-time.After(4 * time.Second)
				m.primary.Resume()
			},
		} {
			t.Run(kind+" "+event, func(t *testing.T) {
				beside(t)
				m := begin(t)
				failOver(t, m, func() { happens(t, m) })
			})
		}
	}
}

// failOver has a node hear from m while happens does something to it, and judges.
func failOver(t *testing.T, m *movable, happens func()) {
	deafMax := 20 * time.Second
	if strict {
		deafMax = 3 * time.Second
	}
	n := startNode(t, "node", m.url, "GUILDCAST_LIMIT_ADDRESS_RATE=-1")
	var spectators []*listener
	for i := range 30 {
		spectators = append(spectators, joinListener(t, n, i%10 != 0))
	}
	m.find(t)
	p := &publisher{sending: map[int]time.Time{}, accepted: map[int]time.Time{}}
	unready := make(chan time.Time, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var others sync.WaitGroup
	defer others.Wait()
	others.Go(func() { p.run(ctx, m) })
	others.Go(func() { n.watchReady(ctx, unready) })
	heardBy := func(i int) func() bool {
		return func() bool {
			return !slices.ContainsFunc(spectators, func(s *listener) bool { return s.watches && !s.heardSince(i) })
		}
	}
	wait.Until(t, "all to hear", heardBy(50))
	happens()
	<-time.After(10 * time.Second) // in which a server that is replaced learns of it, and a failover comes to its end
	n.waitReady(t)
	last := p.sent()
	wait.Until(t, "all to hear what is published now", heardBy(last))
	cancel()
	others.Wait()

	var firstLost time.Time
	lost, told := 0, 0
	for i, s := range spectators {
		s.mu.Lock()
		if !s.watches {
			if len(s.resyncs) > 0 {
				t.Errorf("%d spectates nothing, and got a resync", i)
			}
			s.mu.Unlock()
			continue
		}
		if len(s.trouble) > 0 {
			t.Errorf("%d: %q", i, s.trouble)
		}
		if len(s.resyncs) > 1 {
			t.Errorf("%d got %d resyncs", i, len(s.resyncs))
		}
		told += len(s.resyncs)
		for number, at := range p.accepted {
			if s.got[number] || number > last { // the latter are on their way
				continue
			}
			lost++
			if firstLost.IsZero() || at.Before(firstLost) {
				firstLost = at
			}
			// A frozen server accepts what was sent to it long before. What the event tells was so when it was sent,
			// and who asks after that sees it.
			if sent := p.sending[number]; len(s.resyncs) == 0 || s.resyncs[0].Before(sent) {
				t.Errorf("%d missed event %d, sent at %v and accepted at %v, without a resync after it: %v", i, number,
					sent, at, s.resyncs)
				break
			}
		}
		s.mu.Unlock()
	}
	deaf := time.Duration(0)
	if lost > 0 {
		select {
		case at := <-unready:
			deaf = max(at.Sub(firstLost), 0)
		default:
			t.Error("events were lost, and the node was ready all the time")
		}
		if deaf > deafMax {
			t.Errorf("deaf and ready for %v", deaf)
		}
	}
	t.Logf("%d events, %d deliveries lost, %d spectators told, deaf and ready for %v", len(p.accepted), lost, told,
		deaf)
	n.drain(t)
}

// publisher publishes numbered events.
type publisher struct {
	mu                sync.Mutex
	sending, accepted map[int]time.Time // when the publisher began to send, and when Redis said so
	last              int
}

func (p *publisher) run(ctx context.Context, m *movable) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for i := 1; ctx.Err() == nil; i++ {
		text := fmt.Sprintf(`{"kind":"guild","payload":{"i":%d}}`, i)
		sending := time.Now()
		if m.publish().Publish(context.WithoutCancel(ctx), guild, text).Err() == nil {
			p.mu.Lock()
			p.sending[i], p.accepted[i], p.last = sending, time.Now(), i
			p.mu.Unlock()
		}
		<-tick.C
	}
}

func (p *publisher) sent() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

// watchReady sends when the node is not ready for the first time.
func (n *node) watchReady(ctx context.Context, unready chan<- time.Time) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		if code, _ := get(n.url + "/readyz"); code == http.StatusServiceUnavailable {
			unready <- time.Now()
			return
		}
		<-tick.C
	}
}

// listener is a client that spectates the guild, or nothing.
type listener struct {
	watches bool

	mu      sync.Mutex
	got     map[int]bool
	last    int
	resyncs []time.Time
	trouble []string
}

func (s *listener) heardSince(i int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last > i
}

func joinListener(t *testing.T, n *node, watches bool) *listener {
	t.Helper()
	s := &listener{watches: watches, got: map[int]bool{}}
	token := mint(t, jwt.MapClaims{"guilds": guilds{guild: 0}})
	confirmed := make(chan struct{}, 1)
	c, err := sioclient.Dial(strings.TrimPrefix(n.url, "http://"), sioclient.Options{
		Auth: fmt.Sprintf(`{"token":%q}`, token),
		OnEvent: func(p []byte) {
			var args []json.RawMessage
			if json.Unmarshal(p, &args) != nil || len(args) < 2 {
				return
			}
			switch string(args[0]) {
			case `"spectate_return"`:
				confirmed <- struct{}{}
			case `"resync"`:
				s.mu.Lock()
				s.resyncs = append(s.resyncs, time.Now())
				s.mu.Unlock()
			case `"log_pool"`:
				s.hear(args[1])
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if !watches {
		return s
	}
	if err := c.Send(fmt.Sprintf(`42["spectate",{"guild_id":%q,"token":%q}]`, guild, token)); err != nil {
		t.Fatal(err)
	}
	select {
	case <-confirmed:
	case <-time.After(time.Minute):
		t.Fatal("a spectator was not confirmed")
	}
	return s
}

func (s *listener) hear(body json.RawMessage) {
	var event struct{ I int }
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := decodeEither(body, &event); err != nil || event.I < s.last { // an equal one: the publisher tried again
		s.trouble = append(s.trouble, fmt.Sprintf("%s after %d, %v", body, s.last, err))
	}
	s.got[event.I], s.last = true, event.I
}

func beginSentinel(t *testing.T) *movable {
	k := keepWithSentinel(t)
	return &movable{
		url: k.url, primary: k.primary, publish: k.client, manual: k.manual,
		find: func(*testing.T) {}, // there is but one
	}
}

func beginCluster(t *testing.T) *movable {
	c := redistest.StartReplicatedCluster(t)
	m := &movable{url: c.URL()}
	m.find = func(t *testing.T) {
		for i, s := range c.Servers {
			n, err := s.Client().PubSubNumSub(t.Context(), guild).Result()
			if err != nil {
				t.Fatal(err)
			}
			if n[guild] == 0 {
				continue
			}
			other := c.Servers[(i+1)%len(c.Servers)].Client()
			m.primary, m.publish = s, func() goredis.UniversalClient { return other }
			m.manual = func(*testing.T) { c.Failover(i) }
			return
		}
		t.Fatal("the node hears from no server")
	}
	return m
}
