//go:build integration

package integration

import (
	"fmt"
	"net/http"
	"syscall"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// TestRedisLost: the node stays up while Redis is away and says so, then resubscribes, tells the spectators to ask
// again, and delivers.
func TestRedisLost(t *testing.T) {
	t.Parallel()
	redis := startRedis(t)
	n := startNode(t, "node", redis.url)
	b := startBrowsers(t)
	token := mint(t, jwt.MapClaims{"guilds": guilds{guild: 0}})
	c, sid := b.connect(t, n.url, nil)
	idle, _ := b.connect(t, n.url, nil)
	c.elevate(t, token)
	c.spectate(t, token, guild, false)
	publish(t, redis.url, guild, `{"kind":"guild","payload":{"n":1}}`)
	c.event(t, "log_pool", nil)

	redis.stop(t)
	n.waitStatus(t, "/readyz", http.StatusServiceUnavailable)
	if code, _ := get(n.url + "/healthz"); code != http.StatusOK {
		t.Errorf("healthz while Redis is away: %d", code)
	}
	idle.emit(t, "request_elevation", token) // tokens need no Redis
	idle.event(t, "request_elevation_return", nil)

	redis.start(t)
	n.waitReady(t)
	var resync struct {
		Guild  string `json:"guild_id"`
		Reason string `json:"reason"`
	}
	c.event(t, "resync", &resync)
	if resync.Guild != guild || resync.Reason == "" {
		t.Errorf("resync %+v", resync)
	}
	publish(t, redis.url, guild, `{"kind":"guild","payload":{"n":2}}`)
	if h := c.event(t, "log_pool", nil); compact(t, h.Args) != `[{"n":2}]` {
		t.Errorf("got %v", h)
	}
	nodeEmitter("emitter-5")(t, redis.url, sid+"_auth", "again", "[]")
	c.event(t, "again", nil)
	if es := idle.events("resync"); len(es) > 0 {
		t.Errorf("a socket that spectates nothing was told to resync: %v", es)
	}
	n.drain(t)
}

// TestDrain: SIGTERM takes the node out of rotation, closes its sockets and ends with 0.
func TestDrain(t *testing.T) {
	t.Parallel()
	redis := startRedis(t)
	n := startNode(t, "node", redis.url)
	b := startBrowsers(t)
	var cs []*client
	for i := range 20 {
		transport := []string{"websocket"}
		if i%4 == 0 {
			transport = []string{"polling"}
		}
		c, _ := b.connect(t, n.url, map[string]any{"transports": transport})
		cs = append(cs, c)
	}
	n.drain(t)
	for _, c := range cs {
		c.wait(t, "disconnect", func(h heard) bool { return h.Type == "disconnect" })
	}
}

// TestSecondSignal: a node that drains for long ends at once when it is told so again.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	redis := startRedis(t)
	n := startNode(t, "node", redis.url, "GUILDCAST_DRAIN_DELAY=10m")
	n.waitReady(t)
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	n.waitStatus(t, "/readyz", http.StatusServiceUnavailable)
	n.stop(t, syscall.SIGTERM)
}

// TestWrongConfiguration: one clear line and exit code 2.
func TestWrongConfiguration(t *testing.T) {
	t.Parallel()
	for name, env := range map[string][]string{
		"no secret":   {},
		"bad address": {"GUILDCAST_ADDR=nonsense", "GUILDCAST_JWT_SECRET=" + secret},
		"bad adapter": {"GUILDCAST_ADAPTER=smoke-signals", "GUILDCAST_JWT_SECRET=" + secret},
		// what would be warned about
		"bad redis": {"GUILDCAST_REDIS=http://127.0.0.1", "GUILDCAST_JWT_SECRET=short", "GUILDCAST_MISSPELT=1"},
		"bad log":   {"GUILDCAST_LOG=xml", "GUILDCAST_JWT_SECRET=" + secret},
	} {
		p := start(t, fmt.Sprint("guildcast, ", name), env, nil, binary, "serve")
		if code := p.wait(t); code != 2 {
			t.Errorf("%s: exit code %d, want 2", name, code)
		}
		if lines := p.lines; len(lines) != 1 {
			t.Errorf("%s: want one line, got %d:\n%s", name, len(lines), p.output())
		}
	}
}
