//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os/exec"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// emitters are the libraries that backends use; each emits one event to one room of the main namespace.
var emitters = []struct {
	name   string
	binary bool // can send Buffers
	emit   func(t *testing.T, redisURL, room, event, args string)
}{
	{"@socket.io/redis-emitter 5", true, nodeEmitter("emitter-5")},
	{"@socket.io/redis-emitter 4", true, nodeEmitter("emitter-4")},
	{"socket.io-emitter 3", true, nodeEmitter("legacy")},
	{"socket-io-emitter (PyPI)", false, pythonEmitter},
	{"guildcast emit", false, commandEmitter},
}

func nodeEmitter(library string) func(*testing.T, string, string, string, string) {
	return func(t *testing.T, redisURL, room, event, args string) {
		runTool(t, exec.Command("node", "nodejs/emit.mjs", library, redisURL, "/", room, event, args))
	}
}

func pythonEmitter(t *testing.T, redisURL, room, event, args string) {
	u, err := url.Parse(redisURL)
	if err != nil {
		t.Fatal(err)
	}
	var list []json.RawMessage
	if err := json.Unmarshal([]byte(args), &list); err != nil {
		t.Fatal(err)
	}
	command := []string{"python/emit.py", u.Port(), room, event}
	for _, a := range list {
		command = append(command, string(a))
	}
	runTool(t, exec.Command("python/.venv/bin/python", command...))
}

func commandEmitter(t *testing.T, redisURL, room, event, args string) {
	var list []json.RawMessage
	if err := json.Unmarshal([]byte(args), &list); err != nil {
		t.Fatal(err)
	}
	command := []string{"emit", "--redis", redisURL, room, event}
	for _, a := range list {
		command = append(command, string(a))
	}
	runTool(t, exec.Command(binary, command...))
}

func runTool(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	return string(out)
}

// TestEmitters: every emitter reaches <SID> and <SID>_auth, and only the socket that is in it.
func TestEmitters(t *testing.T) {
	t.Parallel()
	eachRedis(t, func(t *testing.T, redis backend) {
		n := startNode(t, "node", redis.url)
		b := startBrowsers(t)
		token := mint(t, jwt.MapClaims{"guilds": guilds{guild: 0}})
		alice, aliceID := b.connect(t, n.url, nil)
		bob, bobID := b.connect(t, n.url, map[string]any{"transports": []string{"polling"}})
		alice.elevate(t, token)

		for i, e := range emitters {
			args := fmt.Sprintf(`[{"n": %d, "text": "hé ☃"}, [1, null, true]]`, i)
			e.emit(t, redis.url, aliceID, "plain", args)
			e.emit(t, redis.url, aliceID+"_auth", "secret", args)
			e.emit(t, redis.url, bobID, "plain", args)
			e.emit(t, redis.url, bobID+"_auth", "secret", args) // bob is not elevated: nobody gets it
			for event, c := range map[string]*client{"secret": alice, "plain": bob} {
				h := c.event(t, event, nil)
				if got := compact(t, h.Args); got != compact(t, args) {
					t.Errorf("%s: got %s, want %s", e.name, got, args)
				}
			}
			if e.binary {
				e.emit(t, redis.url, aliceID, "binary", `[{"data": {"$bin": "AAECgP8="}}]`)
				if h := alice.event(t, "binary", nil); compact(t, h.Args) != `[{"data":{"$bin":"AAECgP8="}}]` {
					t.Errorf("%s: binary came as %s", e.name, h)
				}
			}
		}
		if es := bob.events("secret"); len(es) != 0 {
			t.Errorf("bob, not elevated, got %v", es)
		}
		if es := alice.events("plain"); len(es) != len(emitters) {
			t.Errorf("alice got %d plain events, want %d", len(es), len(emitters))
		}
		n.drain(t)
	})
}

// TestNodeServer: a Node.js Socket.IO server with @socket.io/redis-adapter reaches rooms here.
func TestNodeServer(t *testing.T) {
	t.Parallel()
	eachRedis(t, func(t *testing.T, redis backend) {
		n := startNode(t, "node", redis.url)
		port := freePort(t)
		peer := start(t, "node server", []string{
			fmt.Sprint("PORT=", port), "REDIS_URL=" + redis.url, "SOCKET_PATH=/socket.io/",
		}, nil,
			"node", "nodejs/cluster/server.mjs")
		peer.waitOutput(t, "node server on")

		b := startBrowsers(t)
		token := mint(t, jwt.MapClaims{"guilds": guilds{guild: 0}})
		here, hereID := b.connect(t, n.url, nil)
		here.elevate(t, token)
		there, thereID := b.connect(t, fmt.Sprint("http://127.0.0.1:", port), nil)
		there.call(t, "join", "lobby")

		there.call(t, "relay", map[string]any{
			"room": hereID + "_auth", "event": "hello", "args": []any{"from node", 1},
		})
		if h := here.event(t, "hello", nil); compact(t, h.Args) != `["from node",1]` {
			t.Errorf("got %s", h)
		}
		runTool(t, exec.Command(binary, "emit", "--redis", redis.url, "lobby", "hello", `"to node"`))
		if h := there.event(t, "hello", nil); compact(t, h.Args) != `["to node"]` {
			t.Errorf("got %s", h)
		}
		there.call(t, "relay", map[string]any{"room": thereID, "event": "own"})
		there.event(t, "own", nil)
		n.drain(t)
	})
}

// compact returns v, JSON text or something that marshals, as JSON without white space.
func compact(t testing.TB, v any) string {
	t.Helper()
	text, ok := v.(string)
	if !ok {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		text = string(b)
	}
	var x any
	if err := json.Unmarshal([]byte(text), &x); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	b, _ := json.Marshal(x)
	return string(b)
}
