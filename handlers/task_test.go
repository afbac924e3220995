package handlers_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/architus/guildcast/handlers"
	"github.com/architus/guildcast/internal/test/wait"
)

// stuck interprets nothing until it is released.
type stuck struct{ released chan struct{} }

func (s stuck) InterpretJSON(ctx context.Context, _ []byte) ([]byte, error) {
	select {
	case <-s.released:
	case <-ctx.Done():
	}
	return []byte(`{"guild_id":1,"actions":[]}`), ctx.Err()
}

// Sockets that are not elevated, however many, take no slot that a member needs. They return their own.
func TestSlotsOfMembers(t *testing.T) {
	interpreter := stuck{make(chan struct{})}
	n := start(t, func(c *handlers.Config, p *handlers.Parts) {
		c.RequestTimeout = time.Hour
		c.Limits.NodeRequests = 64 // 16 of them for sockets that are not elevated
		p.Interpreter = interpreter
	})
	n.requests.answer = func(_ context.Context, _, _ string, _ map[string]any, part func(string) error) error {
		return part(`{"data":[],"nonexistent":["1"]}`)
	}
	tok := mint(t, nil)
	member := elevated(t, n, tok)
	refused := 0
	flood := make([]*client, 70)
	for i := range flood {
		flood[i] = connect(t, n.server, nil)
		flood[i].emit("interpret", map[string]any{"action": 3001, "guild_id": 1, "message_id": 2, "content": "x"})
		flood[i].emit("demote", map[string]any{}) // its answer comes after the refusal, if there is one
		e := flood[i].expect("error").as(t)
		if e["message"] == "too_many_requests" {
			refused++
			flood[i].expect("error")
		}
	}
	if refused != 70-16 {
		t.Errorf("%d of 70 are refused", refused)
	}
	for i := range 40 {
		member.emit("pool", map[string]any{"type": "role", "guild_id": guildA, "ids": "1", "token": tok, "_id": i})
		if h := member.next(); h.event != "pool_response" {
			t.Fatalf("a member got %v", h)
		}
	}
	close(interpreter.released)
	wait.Until(t, "the requests to end", func() bool { return n.gauge("guildcast_requests_in_progress") == 0 })
	flood[69].emit("interpret", map[string]any{"action": 3001, "guild_id": 1, "message_id": 2, "content": "x"})
	flood[69].expect("interpret_response")
}

// Requests in progress end with the elevation, before the client hears of its end, and with the client.
func TestRequestsEndWithTheElevation(t *testing.T) {
	n := start(t, func(c *handlers.Config, _ *handlers.Parts) { c.Limits.SocketRequests = 2 })
	tok := mint(t, map[string]any{"guilds": map[string]any{guildA: 0, guildB: 0}})
	var mu sync.Mutex
	waiting := 0
	n.requests.answer = func(ctx context.Context, _, _ string, _ map[string]any, _ func(string) error) error {
		mu.Lock()
		waiting++
		mu.Unlock()
		<-ctx.Done()
		mu.Lock()
		waiting--
		mu.Unlock()
		return ctx.Err()
	}
	busy := func(want int) {
		t.Helper()
		wait.Until(t, fmt.Sprintf("%d requests to wait", want), func() bool {
			mu.Lock()
			defer mu.Unlock()
			return waiting == want
		})
	}
	c := elevated(t, n, tok)
	ask := func(id any, guild string) {
		c.emit("pool", map[string]any{"type": "role", "guild_id": guild, "ids": "1", "token": tok, "_id": id})
	}
	ask("a", guildA)
	ask("b", guildB)
	busy(2)
	ask("c", guildA)
	wantError(t, c.expect("error").as(t), 429, "too_many_requests")

	// Claims without the guild end the requests for it, and no others.
	tok = mint(t, map[string]any{"guilds": map[string]any{guildA: 0}})
	c.emit("request_elevation", map[string]any{"token": tok})
	got := c.expect("error").as(t)
	wantError(t, got, 403, "not_a_member")
	if got["_id"] != "b" {
		t.Fatalf("got %v", got)
	}
	c.expect("request_elevation_return")
	busy(1)

	c.emit("demote", map[string]any{"token": tok})
	got = c.expect("error").as(t)
	wantError(t, got, 409, "demoted")
	if got["_id"] != "a" {
		t.Fatalf("got %v", got)
	}
	c.expect("elevation_expired")
	busy(0)

	c.emit("request_elevation", map[string]any{"token": tok})
	c.expect("request_elevation_return")
	ask("d", guildA)
	busy(1)
	c.close()
	busy(0)
}
