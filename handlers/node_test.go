package handlers_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/zishang520/socket.io/v2/socket"
	"go.uber.org/goleak"

	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/handlers"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/internal/mockbot"
	"github.com/architus/guildcast/internal/test/lifecycle"
	"github.com/architus/guildcast/permissions"
	"github.com/architus/guildcast/token"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	guildA = "607637793107345431"
	guildB = "713000000000000001"
	userA  = "214037134477230080"
	userB  = "214037134477230081"
	secret = "a secret for tests that is long enough"
)

// node is a gateway behind a real server.
type node struct {
	t           testing.TB
	server      *httptest.Server
	io          *socket.Server
	gateway     *handlers.Gateway
	topics      *fakeTopics
	pools       *fakePools
	requests    *fakeRequests
	metrics     *prometheus.Registry
	revocations *permissions.Revocations
	decodesAll  bool // the engine does not ask the gateway before it decodes
}

func start(t testing.TB, change func(*handlers.Config, *handlers.Parts)) *node {
	t.Helper()
	return startWith(t, engine.Options{}, change)
}

// boardOrigin is of the pages that may use cookies, beside the node's own.
const boardOrigin = "https://board.example.com"

// startWith is start with options of the engine, but Admit.
func startWith(t testing.TB, o engine.Options, change func(*handlers.Config, *handlers.Parts)) *node {
	t.Helper()
	n := &node{
		t: t, topics: &fakeTopics{held: map[event.Topic]int{}}, revocations: &permissions.Revocations{},
		pools: &fakePools{values: map[[2]string]map[string]string{}, online: map[string][]string{},
			order: map[[2]string][]string{}},
		requests: &fakeRequests{}, metrics: prometheus.NewRegistry(),
	}
	v, err := token.NewVerifier(token.VerifierOptions{
		Leeway:  5 * time.Second,
		Secrets: []token.Secret{{Key: []byte(secret)}}, Revocations: n.revocations,
	})
	if err != nil {
		t.Fatal(err)
	}
	o.Admit = func(s *socket.Socket, in engine.Incoming) bool {
		if n.decodesAll {
			return true
		}
		return n.gateway.Admit(s, in)
	}
	o.AdmitSession = func(r *http.Request) (func(), time.Duration) { return n.gateway.AdmitSession(r) }
	io, handler := engine.NewServer(socket.DefaultServerOptions(), o)
	parts := handlers.Parts{
		Verifier: v, Revocations: n.revocations, Topics: n.topics, Pools: n.pools, Backend: n.requests,
		Interpreter: mockbot.New(mockbot.Config{}),
		Filter:      permissions.NewFilter[*engine.Conn](permissions.DefaultPolicy()),
	}
	config := handlers.Config{Registerer: n.metrics}
	if change != nil {
		change(&config, &parts)
	}
	if n.gateway, err = handlers.New(io, parts, config); err != nil {
		t.Fatal(err)
	}
	stop := lifecycle.Start(t, n.gateway.Run)
	n.io, n.server = io, httptest.NewServer(n.gateway.TakeCookie(handler, func(origin, host string) bool {
		return origin == "http://"+host || origin == boardOrigin
	}))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := handler.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		stop()
		n.server.Close()
		n.topics.check(t)
	})
	return n
}

// answers counts what the gateway has sent.
func (n *node) answers(event string) int {
	families, err := n.metrics.Gather()
	if err != nil {
		n.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "guildcast_answers_total" && m.GetLabel()[0].GetValue() == event {
				return int(m.GetCounter().GetValue())
			}
		}
	}
	return 0
}

// metric is the sum of a counter over its labels.
func (n *node) metric(name string) (sum float64) {
	families, err := n.metrics.Gather()
	if err != nil {
		n.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// publish is what Redis would bring.
func (n *node) publish(topic event.Topic, data string) {
	n.gateway.Message(topic, history.Position{}, []byte(data))
}

func (n *node) revoke(r permissions.Revocation) {
	r.Expires = time.Now().Add(time.Hour)
	n.revocations.Add(r, time.Now())
	n.gateway.Revoke(r)
}

var errDown = errors.New("redis is down")

// mint signs a token; claims are added to, or taken from, those of a plain member of guildA.
func mint(t testing.TB, change map[string]any) string {
	t.Helper()
	now := time.Now()
	claims := map[string]any{
		"sub": userA, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "guilds": map[string]any{guildA: 0},
	}
	for k, v := range change {
		if v == nil {
			delete(claims, k)
			continue
		}
		claims[k] = v
	}
	s, err := token.Sign(token.Secret{Key: []byte(secret)}, claims)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// guilds is the claim: the bearer holds bits in one guild.
func guilds(guild string, bits any) map[string]any {
	return map[string]any{"guilds": map[string]any{guild: bits}}
}

// gauge is the value of a gauge without labels.
func (n *node) gauge(name string) float64 {
	families, err := n.metrics.Gather()
	if err != nil {
		n.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	n.t.Fatalf("there is no %s", name)
	return 0
}
