//go:build integration

package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/architus/guildcast/internal/test/wait"
)

// roundRobin is a load balancer that sends each request to the next node, whatever it belongs to.
type roundRobin struct {
	*httptest.Server
	mu    sync.Mutex
	nodes []*node // guarded by mu
	next  int     // guarded by mu
}

func startRoundRobin(t *testing.T) *roundRobin {
	b := &roundRobin{}
	b.Server = httptest.NewServer(&httputil.ReverseProxy{
		FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) {
			target, _ := url.Parse(b.pick()) // ours
			r.SetURL(target)
			r.SetXForwarded()
			r.Out.Host = r.In.Host
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	})
	t.Cleanup(func() { b.CloseClientConnections(); b.Close() })
	return b
}

func (b *roundRobin) pick() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next++
	return b.nodes[b.next%len(b.nodes)].url
}

func (b *roundRobin) add(n *node) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.nodes = append(b.nodes, n)
}

func (b *roundRobin) remove(n *node) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.nodes = slices.DeleteFunc(b.nodes, func(other *node) bool { return other == n })
}

// TestRoundRobin has clients that begin with polling connect through a balancer that knows no sessions, to three nodes.
// They stay through their upgrades, and come back when the nodes are restarted, and when one is killed.
func TestRoundRobin(t *testing.T) {
	beside(t)
	for name, transports := range map[string]string{"upgrade": "polling,websocket", "polling": "polling"} {
		t.Run(name, func(t *testing.T) { testRoundRobin(t, transports) })
	}
}

func testRoundRobin(t *testing.T, transports string) {
	beside(t)
	const clients = 20
	r := startRedis(t)
	balancer := startRoundRobin(t)
	begin := func(i int) *node { return startNode(t, fmt.Sprint("node ", i), r.url, "GUILDCAST_GRACE=3s") }
	var nodes []*node
	for i := range 3 {
		nodes = append(nodes, begin(i))
		balancer.add(nodes[i])
	}
	spectators := startSpectators(t, balancer.URL, clients, transports)
	spectators.all(t, "all clients to spectate")
	if transports != "polling" {
		wait.Until(t, "all sessions to be WebSockets", func() bool {
			return sum(nodes, `guildcast_connections\{transport="websocket"\}`) == clients
		})
	}
	answered := sum(nodes, `guildcast_forwarded_total\{outcome="answered"\}`)
	if served := sum(nodes, `guildcast_forward_served_total`); answered < clients || served < answered {
		t.Errorf("%d requests were passed on, and %d served", answered, served)
	}
	if lost := sum(nodes, `guildcast_forwarded_total\{outcome="(?:unknown|unreachable|refused)"\}`); lost > 0 {
		t.Errorf("%d requests could not be passed on", lost)
	}
	t.Logf("%d requests were passed on, %d WebSockets lead to another node", answered,
		sum(nodes, `guildcast_forward_websockets`))

	for i, n := range nodes {
		balancer.remove(n)
		n.drain(t)
		if bytes.Contains([]byte(n.output()), []byte("some connections did not close")) {
			t.Errorf("%s did not drain in its grace", n.name)
		}
		nodes[i] = begin(i + 10)
		balancer.add(nodes[i])
		spectators.all(t, "all clients to come back after a restart")
	}
	balancer.remove(nodes[0])
	nodes[0].stop(t, syscall.SIGKILL)
	spectators.all(t, "all clients to come back after the end of a node")
}

// spectators are the clients of a Node.js process that spectate the guild through one URL.
type spectators struct {
	*process
	clients int

	mu   sync.Mutex
	last struct{ Connected, Spectating, Refused, Events int } // guarded by mu; what the process has said last
}

// startSpectators returns at once; all waits for them.
func startSpectators(t *testing.T, url string, clients int, transports string) *spectators {
	t.Helper()
	s := &spectators{clients: clients}
	s.process = start(t, "spectators", []string{
		"URL=" + url, "GUILD=" + guild, fmt.Sprint("CLIENTS=", clients), "TRANSPORTS=" + transports,
		"TOKEN=" + mint(t, jwt.MapClaims{"guilds": guilds{guild: 0}}),
	}, func(line []byte) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.last.Connected, s.last.Spectating = 0, 0
		if err := json.Unmarshal(line, &s.last); err != nil {
			panic(fmt.Sprintf("%q: %v", line, err))
		}
	}, "node", "nodejs/rolling.mjs")
	return s
}

// all waits until all clients spectate.
func (s *spectators) all(t *testing.T, what string) {
	t.Helper()
	s.mu.Lock()
	s.last.Connected, s.last.Spectating = 0, 0
	s.mu.Unlock()
	wait.Until(t, what, func() bool {
		if s.ended() {
			t.Fatal("the spectators have ended")
		}
		fmt.Fprintln(s.in, "gaps")
		s.mu.Lock()
		defer s.mu.Unlock()
		return max(s.last.Connected, s.last.Spectating) == s.clients
	})
}

// refused returns how often clients could not connect, as of the last call of all.
func (s *spectators) refused() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last.Refused
}

// events returns how many events each client has heard at least, as of the last call of all.
func (s *spectators) events() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last.Events
}

// sum adds up the numbers of the metric that pattern matches, of all nodes.
func sum(nodes []*node, pattern string) (total int) {
	line := regexp.MustCompile(`(?m)^` + pattern + ` (\d+)`)
	for _, n := range nodes {
		response, err := http.Get(n.url + "/metrics")
		if err != nil {
			return -1
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		for _, m := range line.FindAllSubmatch(body, -1) {
			number, _ := strconv.Atoi(string(m[1])) // digits
			total += number
		}
	}
	return total
}
