package handlers_test

import (
	"context"
	"strings"
	"testing"

	"github.com/architus/guildcast/handlers"
	"github.com/architus/guildcast/permissions"
)

// A client that sends garbage must get answers, and nobody else may notice.
func TestGarbage(t *testing.T) {
	n := start(t, nil)
	other := elevated(t, n, mint(t, nil))
	c := connect(t, n.server, nil)
	events := []string{"request_elevation", "demote", "spectate", "pool", "interpret"}
	payloads := []string{
		``, `null`, `1`, `-1.5`, `true`, `""`, `"x"`, `"{"`, `"[]"`, `"null"`, `[]`, `[[[[]]]]`, `{}`, `{"_id":{}}`,
		`{"_id":[]}`, `{"token":null}`, `{"token":{}}`, `{"token":1}`, `{"guild_id":{}}`, `{"guild_id":1e309}`,
		`{"ids":{}}`, `{"ids":[{}]}`,
		`{"type":[]}`, `{"type":"__proto__"}`, `{"query":1}`, `{"limit":"x"}`, `{"action":"x"}`, `{"content":{}}`,
		`"` + strings.Repeat(`[`, 5000) + `"`, `{"a":` + strings.Repeat(`[`, 100) + strings.Repeat(`]`, 100) + `}`,
	}
	asked := 0
	for _, ev := range events {
		for _, p := range payloads {
			args := `"` + ev + `"`
			if p != "" {
				args += "," + p
			}
			if p == `{"guild_id":1e309}` {
				continue // no JSON number for encoding/json: the engine closes such a connection
			}
			c.write("42[" + args + "]")
			asked++
		}
	}
	for range asked {
		if h := c.next(); h.event != "error" && h.event != "request_elevation_return" {
			t.Fatalf("got %v", h)
		}
	}
	other.emit("spectate", map[string]any{"guild_id": guildA, "token": mint(t, nil)})
	other.expect("spectate_return")
}

func TestUnknownEvents(t *testing.T) {
	n := start(t, nil)
	c := connect(t, n.server, nil)
	c.emit("log_pool", map[string]any{})
	c.emit("error", "x")
	c.emit("whatever", 1)
	ack := c.ask("whatever", 1)
	if !strings.Contains(string(ack), `"code":404`) {
		t.Fatalf("acknowledged with %s", ack)
	}
	ack = c.ask("whatever", map[string]any{"_id": "7"})
	if !strings.Contains(string(ack), `"context":["whatever"],"_id":"7"`) {
		t.Fatalf("acknowledged with %s", ack)
	}
	c.emit("request_elevation", "x")
	c.expect("request_elevation_return") // the first thing that is answered with an event
}

// panicking verifies nothing.
type panicking struct{}

func (panicking) Verify(context.Context, string) (*permissions.Claims, error) { panic("on purpose") }

func TestPanicsAreAnswered(t *testing.T) {
	n := start(t, func(_ *handlers.Config, p *handlers.Parts) { p.Verifier = panicking{} })
	c := connect(t, n.server, map[string]any{"token": "x"})
	if h := c.expect("request_elevation_return"); !strings.Contains(string(h.arg), `"code":500,"message":"internal"`) {
		t.Fatalf("got %v", h)
	}
	ack := c.ask("spectate", map[string]any{"guild_id": guildA, "token": "x", "_id": "7"})
	got := c.expect("error").as(t)
	wantError(t, got, 500, "internal")
	if got["_id"] != "7" || !strings.Contains(string(ack), "internal") {
		t.Fatalf("got %v and %s", got, ack)
	}
}
