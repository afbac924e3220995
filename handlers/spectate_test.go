package handlers_test

import (
	"testing"
	"time"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/handlers"
	"github.com/architus/guildcast/internal/test/wait"
)

func TestSpectate(t *testing.T) {
	n := start(t, nil)
	tok := mint(t, map[string]any{"guilds": map[string]any{guildA: 0, guildB: "0x6"}, "permissions": 0x100})
	for _, tt := range []struct {
		name    string
		payload map[string]any
		want    string // of the answer, beside _id; "" for an error
		code    int
		word    string
	}{
		{"one", map[string]any{"guild_id": guildA},
			`{"success":true,"guild_id":"` + guildA + `","include_logs":false,"permissions":256,"_id":1}`, 0, ""},
		{"with logs", map[string]any{"guild_id": guildB, "include_logs": true},
			`{"success":true,"guild_id":"` + guildB + `","include_logs":true,"permissions":262,"_id":1}`, 0, ""},
		{"nothing", map[string]any{"guild_id": nil},
			`{"success":true,"guild_id":null,"include_logs":false,"_id":1}`, 0, ""},
		{"logs without permission", map[string]any{"guild_id": guildA, "include_logs": true},
			"", 403, "permission_missing"},
		{"not a member", map[string]any{"guild_id": "1"}, "", 403, "not_a_member"},
		{"no guild_id", map[string]any{}, "", 400, "malformed"},
		{"a rounded number", map[string]any{"guild_id": 607637793107345431}, "", 400, "malformed"},
		{"odd include_logs", map[string]any{"guild_id": guildA, "include_logs": "yes"}, "", 400, "malformed"},
		{"odd guild_id", map[string]any{"guild_id": "x"}, "", 400, "malformed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, asString := range []bool{false, true} {
				c := elevated(t, n, tok)
				tt.payload["token"], tt.payload["_id"] = tok, 1
				var payload any = tt.payload
				if asString {
					payload = marshal(tt.payload)
				}
				ack := c.ask("spectate", payload)
				h := c.next()
				body := h.arg
				if asString {
					body = []byte(unquoted(t, h.arg))
				}
				if string(ack) != "["+string(h.arg)+"]" {
					t.Errorf("acknowledged with %s, answered with %s", ack, h.arg)
				}
				if tt.want != "" {
					if h.event != "spectate_return" || string(body) != tt.want {
						t.Fatalf("got %s %s", h.event, body)
					}
					continue
				}
				e := object(t, body)
				wantError(t, e, tt.code, tt.word)
				if h.event != "error" || e["_id"] != 1.0 || e["context"].([]any)[0] != "spectate" {
					t.Fatalf("got %s %s", h.event, body)
				}
			}
		})
	}
}

func TestSpectateReplacesAndStops(t *testing.T) {
	n := start(t, nil)
	tok := mint(t, map[string]any{"guilds": map[string]any{guildA: 6, guildB: 6}})
	c := elevated(t, n, tok)
	watch := func(guild any, logs bool) {
		t.Helper()
		c.emit("spectate", map[string]any{"guild_id": guild, "include_logs": logs, "token": tok})
		c.expect("spectate_return")
	}
	held := func(want ...int) {
		t.Helper()
		for i, topic := range []event.Topic{{Guild: guildA}, {Guild: guildA, Logs: true}, {Guild: guildB}} {
			if got := n.topics.count(topic); got != want[i] {
				t.Fatalf("%v is held %d times, want %d", topic, got, want[i])
			}
		}
	}
	watch(guildA, true)
	held(1, 1, 0)
	watch(guildA, false)
	held(1, 0, 0)
	watch(guildB, false)
	held(0, 0, 1)
	n.publish(event.Topic{Guild: guildA}, `{"kind":"member","payload":1}`)
	n.publish(event.Topic{Guild: guildB}, `{"kind":"member","payload":2}`)
	if h := c.expect("log_pool"); string(h.arg) != "2" {
		t.Fatalf("got %v", h)
	}
	watch(nil, true)
	held(0, 0, 0)
	n.publish(event.Topic{Guild: guildB}, `{"kind":"member","payload":3}`)

	// Of many quick ones the last one counts.
	for i := range 50 {
		c.emit("spectate", map[string]any{"guild_id": []string{guildA, guildB}[i%2], "token": tok})
	}
	for range 50 {
		c.expect("spectate_return")
	}
	held(0, 0, 1)
	n.publish(event.Topic{Guild: guildA}, `{"kind":"member","payload":4}`)
	n.publish(event.Topic{Guild: guildB}, `{"kind":"member","payload":5}`)
	if h := c.expect("log_pool"); string(h.arg) != "5" {
		t.Fatalf("got %v", h)
	}
	c.close()
	wait.Until(t, "the topic to be given up", func() bool { return n.topics.count(event.Topic{Guild: guildB}) == 0 })
}

func TestSpectateWaitsForRedis(t *testing.T) {
	n := start(t, func(c *handlers.Config, _ *handlers.Parts) { c.SubscribeTimeout = patience })
	tok := mint(t, map[string]any{"guilds": map[string]any{guildA: 6, guildB: 6}})
	c := elevated(t, n, tok)
	c.emit("spectate", map[string]any{"guild_id": guildA, "token": tok})
	c.expect("spectate_return")

	confirmed := make(chan struct{})
	n.topics.set(nil, confirmed)
	c.emit("spectate", map[string]any{"guild_id": guildB, "token": tok})
	n.publish(event.Topic{Guild: guildA}, `{"kind":"member","payload":1}`) // the old one goes on until then
	c.expect("log_pool")
	close(confirmed)
	c.expect("spectate_return")

	n.topics.set(errDown, nil)
	c.emit("spectate", map[string]any{"guild_id": guildA, "token": tok})
	wantError(t, c.expect("error").as(t), 503, "redis_unavailable")
	n.publish(event.Topic{Guild: guildB}, `{"kind":"member","payload":2}`)
	c.expect("log_pool") // what it had before stays
}

func TestSpectateDoesNotWaitForEver(t *testing.T) {
	n := start(t, func(c *handlers.Config, _ *handlers.Parts) { c.SubscribeTimeout = 50 * time.Millisecond })
	tok := mint(t, nil)
	c := elevated(t, n, tok)
	n.topics.set(nil, make(chan struct{}))
	c.emit("spectate", map[string]any{"guild_id": guildA, "token": tok})
	wantError(t, c.expect("error").as(t), 503, "redis_unavailable")
}
