//go:build integration

package integration

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	goredis "github.com/redis/go-redis/v9"
)

// wireError is the error of the contract's section 2.
type wireError struct {
	Code    int             `json:"code"`
	Message string          `json:"message"`
	ID      json.RawMessage `json:"_id"`
}

// TestBadTokens: each gets its 401, keeps its connection, and a good token is taken afterwards.
func TestBadTokens(t *testing.T) {
	t.Parallel()
	redis := startRedis(t)
	n := startNode(t, "node", redis.url)
	b := startBrowsers(t)
	good := mint(t, jwt.MapClaims{"guilds": guilds{guild: 0}})
	parts := strings.Split(good, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + parts[1] + "."
	claims := jwt.MapClaims{"sub": "1", "exp": time.Now().Add(time.Hour).Unix()}
	foreignKey, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).
		SignedString([]byte("another secret of sufficient length"))
	if err != nil {
		t.Fatal(err)
	}
	otherAlg, err := jwt.NewWithClaims(jwt.SigningMethodHS512,
		jwt.MapClaims{"sub": "1", "exp": time.Now().Add(time.Hour).Unix()}).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	c, _ := b.connect(t, n.url, nil)
	for name, payload := range map[string]any{
		"garbage":      map[string]any{"token": "garbage"},
		"bare garbage": "garbage",
		"empty":        map[string]any{"token": ""},
		"missing":      map[string]any{},
		"number":       map[string]any{"token": 7},
		"wrong signature": map[string]any{
			"token": parts[0] + "." + parts[1] + "." + strings.Repeat("A", len(parts[2])),
		},
		"wrong secret": map[string]any{"token": foreignKey},
		"alg none":     map[string]any{"token": none},
		"unlisted alg": map[string]any{"token": otherAlg},
		"expired": map[string]any{"token": mint(t,
			jwt.MapClaims{"exp": time.Now().Add(-time.Minute).Unix()})},
		"no exp":            map[string]any{"token": mint(t, jwt.MapClaims{"exp": nil})},
		"not yet":           map[string]any{"token": mint(t, jwt.MapClaims{"nbf": time.Now().Add(time.Hour).Unix()})},
		"no subject":        map[string]any{"token": mint(t, jwt.MapClaims{"sub": nil})},
		"fractional id":     map[string]any{"token": mint(t, jwt.MapClaims{"sub": 1.5})},
		"huge":              map[string]any{"token": strings.Repeat("A", 200_000)},
		"object for string": map[string]any{"token": map[string]any{"$gt": ""}},
	} {
		c.emit(t, "request_elevation", payload)
		h := c.wait(t, "an answer to "+name, func(h heard) bool {
			return h.Type == "event" && (h.Event == "request_elevation_return" || h.Event == "error")
		})
		if strings.Contains(compact(t, h.Args), `"success":true`) ||
			strings.Contains(compact(t, h.Args), `\"success\":true`) {
			t.Errorf("%s: elevated: %v", name, h)
		}
		if text := compact(t, h.Args); !strings.Contains(text, "code") {
			t.Errorf("%s: no code in %s", name, text)
		}
	}
	c.elevate(t, good)
	n.drain(t)
}

// TestBeforeElevation: elevated events are refused with 401 and nothing of the guild arrives.
func TestBeforeElevation(t *testing.T) {
	t.Parallel()
	redis := startRedis(t)
	n := startNode(t, "node", redis.url)
	b := startBrowsers(t)
	member, _ := b.connect(t, n.url, nil)
	token := mint(t, jwt.MapClaims{"guilds": guilds{guild: 0}})
	member.elevate(t, token)
	member.spectate(t, token, guild, false)

	c, _ := b.connect(t, n.url, nil)
	for i, event := range []string{"spectate", "pool"} {
		c.emit(t, event, map[string]any{"_id": i, "guild_id": guild, "type": "member", "include_logs": true})
		var e wireError
		c.event(t, "error", &e)
		if e.Code != 401 || string(e.ID) != compact(t, []any{i})[1:2] {
			t.Errorf("%s before elevation: %+v", event, e)
		}
	}
	stranger, _ := b.connect(t, n.url, nil)
	other := mint(t, jwt.MapClaims{"guilds": guilds{foreign: 1}})
	stranger.elevate(t, other)
	stranger.emit(t, "spectate", map[string]any{"guild_id": guild, "token": other})
	var e wireError
	stranger.event(t, "error", &e)
	if e.Code != 403 {
		t.Errorf("spectate of a foreign guild: %+v", e)
	}

	publish(t, redis.url, guild, `{"kind":"guild","payload":{"n":1}}`)
	member.event(t, "log_pool", nil)
	for _, c := range []*client{c, stranger} {
		c.emit(t, "request_elevation", "nonsense") // its answer comes behind whatever was delivered
		c.wait(t, "answer", func(h heard) bool { return h.Event == "request_elevation_return" || h.Event == "error" })
		if es := c.events("log_pool", "log_other"); len(es) > 0 {
			t.Errorf("%s got %v", c.id, es)
		}
	}
	n.drain(t)
}

// TestGarbageOnRedis: what can't be understood is dropped and counted; neighbours and later messages are not disturbed.
func TestGarbageOnRedis(t *testing.T) {
	t.Parallel()
	eachRedis(t, func(t *testing.T, redis backend) {
		n := startNode(t, "node", redis.url)
		b := startBrowsers(t)
		token := mint(t, jwt.MapClaims{"guilds": guilds{guild: 1}})
		c, sid := b.connect(t, n.url, nil)
		c.elevate(t, token)
		c.spectate(t, token, guild, true)

		garbage := []string{"", "null", "[]", "{", "\x00\xff", "42", `"text"`, `{"kind":7,"payload":1}`,
			`{"payload":1}`,
			`{"kind":"no_such_kind","payload":1}`, `{"kind":"guild"}`, `{"event":"connect","kind":"guild","payload":1}`,
			`{"event":"disconnect","kind":"guild","payload":1}`,
			`{"kind":"guild","requires":["NO_SUCH_BIT"],"payload":1}`,
			strings.Repeat("[", 100_000), `{"action_number":999999,"id":"1"}`}
		for _, topic := range []string{guild, guild + "_logs"} {
			for _, g := range garbage {
				publish(t, redis.url, topic, g)
			}
		}
		for _, channel := range []string{
			"socket.io#/#", "socket.io#/#" + sid + "#", "socket.io-request#/#", "socket.io-response#/#",
		} {
			for _, g := range append(garbage, "\xdd\xff\xff\xff\xff", "\xdf\xff\xff\xff\xff", "\x93\xa1x\xc0\xc0",
				"\x93\xa1x\x80\x80",
				strings.Repeat("\x91", 100_000), `{"type":3}`, `{"requestId":"x","type":99}`,
				`{"requestid":"x","type":0}`, "\xc1") {
				publish(t, redis.url, channel, g)
			}
		}
		publish(t, redis.url, guild, `{"kind":"guild","payload":{"n":1}}`)
		publish(t, redis.url, guild+"_logs", `{"kind":"message","payload":{"n":2}}`)
		if h := c.event(t, "log_pool", nil); compact(t, h.Args) != `[{"n":1}]` {
			t.Errorf("got %v", h)
		}
		if h := c.event(t, "log_other", nil); compact(t, h.Args) != `[{"n":2}]` {
			t.Errorf("got %v", h)
		}
		nodeEmitter("emitter-5")(t, redis.url, sid+"_auth", "still", "[1]")
		c.event(t, "still", nil)
		if code, _ := get(n.url + "/healthz"); code != 200 {
			t.Errorf("healthz: %d", code)
		}
		n.drain(t)
	})
}

func publish(t testing.TB, redisURL, channel, message string) {
	t.Helper()
	opts, err := goredis.ParseURL(redisURL)
	if err != nil {
		t.Fatal(err)
	}
	opts.ReadTimeout = patience // what is published again because the answer is late comes twice
	client := goredis.NewClient(opts)
	defer client.Close()
	if err := client.Publish(context.Background(), channel, message).Err(); err != nil {
		t.Fatal(err)
	}
}
