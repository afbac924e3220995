package handlers_test

import (
	"strings"
	"testing"

	"github.com/architus/guildcast/handlers"
	"github.com/architus/guildcast/internal/test/wait"
)

// A token in the handshake counts against the limit of its address; the socket stays, and can ask again.
func TestHandshakeTokensAreLimited(t *testing.T) {
	n := start(t, func(c *handlers.Config, _ *handlers.Parts) {
		c.Limits = handlers.Limits{AddressRate: 0.0001, AddressBurst: 3}
	})
	for i := range 5 {
		c := connect(t, n.server, map[string]any{"token": mint(t, nil)})
		body := c.expect("request_elevation_return").as(t)
		if i < 3 {
			if body["success"] != true {
				t.Errorf("token %d: %v", i, body)
			}
			continue
		}
		e, _ := body["error"].(map[string]any)
		if body["success"] != false || e["code"] != 429.0 || e["message"] != "rate_limited" {
			t.Errorf("token %d: %v", i, body)
		}
		if args := c.ask("request_elevation", mint(t, nil)); len(args) == 0 { // it is still there, and refused the same
			t.Error("no answer")
		}
	}
	connect(t, n.server, nil) // without a token nothing is counted
	if got := n.metric("guildcast_rate_limited_total"); got != 4 {
		t.Errorf("%v were refused, want 4", got)
	}
}

func TestRateLimits(t *testing.T) {
	for _, tt := range []struct {
		name   string
		limits handlers.Limits
		second func(t *testing.T, n *node) *client // who is refused after the first client used the burst up
	}{
		{"socket", handlers.Limits{SocketRate: 0.001, SocketBurst: 5}, nil},
		{"user", handlers.Limits{UserRate: 0.001, UserBurst: 5},
			func(t *testing.T, n *node) *client { return elevated(t, n, mint(t, nil)) }},
		{"address", handlers.Limits{AddressRate: 0.001, AddressBurst: 6},
			func(t *testing.T, n *node) *client { return connect(t, n.server, nil) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := start(t, func(c *handlers.Config, _ *handlers.Parts) { c.Limits = tt.limits })
			c := elevated(t, n, mint(t, nil))
			for range 5 {
				c.emit("spectate", map[string]any{"guild_id": nil, "token": mint(t, nil)})
				c.expect("spectate_return")
			}
			if tt.second != nil {
				c = tt.second(t, n)
			}
			ack := c.ask("spectate", map[string]any{"guild_id": nil, "token": mint(t, nil), "_id": 9})
			got := c.expect("error").as(t)
			wantError(t, got, 429, "rate_limited")
			if got["_id"] != 9.0 || !strings.Contains(string(ack), "429") {
				t.Fatalf("got %v and %s", got, ack)
			}
			c.emit("request_elevation", "x")
			if h := c.expect("request_elevation_return"); !strings.Contains(string(h.arg), "429") {
				t.Fatalf("got %v", h)
			}
			c.expect("error")
		})
	}
}

func TestFloodingDisconnects(t *testing.T) {
	n := start(t, func(c *handlers.Config, _ *handlers.Parts) {
		c.Limits = handlers.Limits{SocketRate: 0.001, SocketBurst: 10, Flood: 50}
	})
	other := connect(t, n.server, nil)
	c := connect(t, n.server, nil)
	for range 200 {
		c.emit("demote", map[string]any{})
	}
	c.gone()
	other.emit("demote", map[string]any{})
	other.expect("error")
	wait.Until(t, "one session", func() bool { return n.gateway.Sessions() == 1 })
}
