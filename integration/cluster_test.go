//go:build integration

package integration

import (
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/architus/guildcast/internal/test/wait"
)

// TestTopologies runs the topologies of docker-compose.yml that TestCluster does not, as plain processes. Clients
// connect by polling and by WebSockets through what is in front, and an event reaches all of them, also after the nodes
// were restarted one after the other.
func TestTopologies(t *testing.T) {
	beside(t)
	for _, name := range []string{"single", "sentinel", "redis-cluster"} {
		t.Run(name, func(t *testing.T) { testTopology(t, name) })
	}
}

func testTopology(t *testing.T, name string) {
	beside(t)
	port := freePort(t)
	p := start(t, "cluster", []string{
		fmt.Sprint("PORT=", port), "JWT_SECRET=" + secret, "CLUSTER_DIR=" + t.TempDir(), "GUILDCAST_BIN=" + binary,
		"GUILDCAST_GRACE=1s", "GUILDCAST_DRAIN_DELAY=2s",
	}, nil, "../scripts/cluster", name)
	t.Cleanup(func() { p.stop(t, syscall.SIGTERM) })
	p.waitOutput(t, "cluster ready")
	redisURL := strings.Fields(p.waitOutput(t, "  Redis "))[1]

	const clients = 6
	s := startSpectators(t, fmt.Sprint("http://127.0.0.1:", port), clients, "polling,websocket;websocket;polling")
	s.all(t, "all clients to spectate")
	event := func(what string) {
		t.Helper()
		before := s.events()
		wait.Until(t, what, func() bool {
			publish := exec.Command(binary, "publish", "--redis", redisURL, "--kind", "guild", guild, `{"n":1}`)
			if out, err := publish.CombinedOutput(); err != nil {
				t.Fatalf("publish: %v\n%s", err, out)
			}
			s.all(t, "all clients to spectate")
			return s.events() > before
		})
	}
	event("an event to reach all clients")
	if err := p.cmd.Process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	p.waitOutput(t, "cluster restarted")
	event("an event to reach all clients after a restart")
	if code := p.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("scripts/cluster: exit code %d", code)
	}
}

// TestCluster runs scripts/cluster, a mixed cluster, and goes through nginx.
func TestCluster(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	p := start(t, "cluster", []string{
		fmt.Sprint("PORT=", port), "JWT_SECRET=" + secret, "CLUSTER_DIR=" + t.TempDir(), "GUILDCAST_BIN=" + binary,
	},
		nil, "../scripts/cluster")
	t.Cleanup(func() { p.stop(t, syscall.SIGTERM) }) // with its members, if the test has failed before
	p.waitOutput(t, "cluster ready")
	front := fmt.Sprint("http://127.0.0.1:", port)
	redisURL := fmt.Sprintf("redis://127.0.0.1:%d/0", port+4)

	b := startBrowsers(t)
	token := mint(t, jwt.MapClaims{"guilds": guilds{guild: 0}})
	// nginx picks the node by this header: with some addresses, both nodes have clients.
	var cs []*client
	var ids []string
	for i := range 8 {
		headers := map[string]string{"X-Forwarded-For": fmt.Sprintf("192.0.2.%d", i)}
		c, id := b.connect(t, front, map[string]any{"extraHeaders": headers})
		c.elevate(t, token)
		c.spectate(t, token, guild, false)
		cs, ids = append(cs, c), append(ids, id)
	}
	server, serverID := b.connect(t, front, map[string]any{"path": "/node/socket.io/"})

	publish(t, redisURL, guild, `{"kind":"guild","payload":{"n":1}}`)
	for i, c := range cs {
		c.event(t, "log_pool", nil)
		server.call(t, "relay", map[string]any{"room": ids[i] + "_auth", "event": "direct", "args": []any{i}})
		if h := c.event(t, "direct", nil); compact(t, h.Args) != fmt.Sprintf("[%d]", i) {
			t.Errorf("client %d got %v", i, h)
		}
	}
	nodeEmitter("emitter-5")(t, redisURL, serverID, "to-node", "[]")
	server.event(t, "to-node", nil)
	cs[0].event(t, "announcement", nil)

	if code := p.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("scripts/cluster: exit code %d", code)
	}
}
