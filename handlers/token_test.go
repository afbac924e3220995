package handlers_test

import (
	"testing"
	"time"

	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/handlers"
)

func TestTokenInEveryRequest(t *testing.T) {
	for _, tt := range []struct {
		name     string
		optional bool
		token    any // or the claims of one that is newer
		code     int
		word     string
	}{
		{"the same", false, mint(t, nil), 0, ""},
		{"missing", false, nil, 401, "token_missing"},
		{"missing where it is optional", true, nil, 0, ""},
		{"bad where it is optional", true, "garbage", 401, "token_invalid"},
		{"expired", false, mint(t, map[string]any{"exp": 1}), 401, "token_expired"},
		{"another user's", false, mint(t, map[string]any{"sub": userB}), 401, "token_of_other_user"},
		{"no string", false, 7, 400, "malformed"},
		{"newer, of the guild", false, guilds(guildA, 0), 0, ""},
		{"newer, of another guild", false, guilds(guildB, 0), 403, "not_a_member"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := start(t, func(c *handlers.Config, _ *handlers.Parts) {
				if tt.optional {
					c.TokenPerRequest = handlers.TokenOptional
				}
			})
			c := elevated(t, n, mint(t, nil))
			if claims, ok := tt.token.(map[string]any); ok {
				claims["iat"] = time.Now().Add(2 * time.Second).Unix()
				tt.token = mint(t, claims)
			}
			for _, ev := range []string{"spectate", "pool", "demote"} {
				c.emit(ev, map[string]any{"guild_id": guildA, "type": "role", "ids": []string{}, "token": tt.token,
					"_id": ev})
				h := c.next()
				if tt.code == 0 || ev != "spectate" && tt.code == 403 {
					if h.event == "error" {
						t.Fatalf("%s: got %v", ev, h)
					}
					continue
				}
				got := h.as(t)
				if h.event != "error" || got["_id"] != ev {
					t.Fatalf("%s: got %v", ev, h)
				}
				wantError(t, got, tt.code, tt.word)
			}
		})
	}
}

func TestRefresh(t *testing.T) {
	n := start(t, nil)
	c := elevated(t, n, mint(t, guilds(guildA, "0x6")))
	watch := func(tok string) {
		t.Helper()
		c.emit("spectate", map[string]any{"guild_id": guildA, "include_logs": true, "token": tok})
		c.expect("spectate_return")
	}
	watch(mint(t, guilds(guildA, "0x6")))

	t.Run("no gap, and new claims at once", func(t *testing.T) {
		stop := make(chan struct{})
		published := make(chan int)
		go func() {
			i := 0
			for ; ; i++ {
				select {
				case <-stop:
					published <- i
					return
				default:
					n.publish(event.Topic{Guild: guildA}, `{"kind":"member","payload":`+marshal(i)+`}`)
					time.Sleep(100 * time.Microsecond) // a rate, not a wait
				}
			}
		}()
		for range 20 {
			c.emit("request_elevation", map[string]any{"token": mint(t, guilds(guildA, "0x6"))})
		}
		seen, answers := 0, 0
		take := func(h heard) {
			switch h.event {
			case "log_pool":
				if string(h.arg) != marshal(seen) {
					t.Fatalf("got event %s, want %d", h.arg, seen)
				}
				seen++
			case "request_elevation_return":
				answers++
			default:
				t.Fatalf("got %v", h)
			}
		}
		for answers < 20 {
			take(c.next())
		}
		close(stop)
		for total := <-published; seen < total; {
			take(c.next())
		}
	})

	t.Run("fewer permissions", func(t *testing.T) {
		c.emit("request_elevation", map[string]any{"token": mint(t, guilds(guildA, 0))})
		c.expect("request_elevation_return")
		n.publish(event.Topic{Guild: guildA, Logs: true}, `{"kind":"message","private":true,"payload":1}`)
		n.publish(event.Topic{Guild: guildA, Logs: true}, `{"kind":"message","payload":2}`)
		if h := c.expect("log_other"); string(h.arg) != "2" {
			t.Fatalf("got %v", h)
		}
	})

	t.Run("no logs any more", func(t *testing.T) {
		c.emit("request_elevation",
			map[string]any{"token": mint(t, map[string]any{"permissions": 0, "guilds": map[string]any{guildA: 0}})})
		wantError(t, c.expect("error").as(t), 403, "permission_missing")
		c.expect("request_elevation_return")
		if held := n.topics.count(event.Topic{Guild: guildA, Logs: true}); held != 0 {
			t.Fatalf("the log topic is held %d times", held)
		}
		n.publish(event.Topic{Guild: guildA, Logs: true}, `{"kind":"member","payload":1}`)
		n.publish(event.Topic{Guild: guildA}, `{"kind":"member","payload":2}`)
		if h := c.expect("log_pool"); string(h.arg) != "2" {
			t.Fatalf("got %v", h)
		}
	})

	t.Run("the guild is gone", func(t *testing.T) {
		c.emit("request_elevation", map[string]any{"token": mint(t, guilds(guildB, 6))})
		wantError(t, c.expect("error").as(t), 403, "not_a_member")
		c.expect("request_elevation_return")
		if held := n.topics.count(event.Topic{Guild: guildA}); held != 0 {
			t.Fatalf("the topic is held %d times", held)
		}
	})

	t.Run("a bad token changes nothing", func(t *testing.T) {
		good := mint(t, guilds(guildA, 6))
		c.emit("request_elevation", map[string]any{"token": good})
		c.expect("request_elevation_return")
		watch(good)
		c.emit("request_elevation", map[string]any{"token": "garbage"})
		c.expect("request_elevation_return")
		n.publish(event.Topic{Guild: guildA}, `{"kind":"member","payload":1}`)
		c.expect("log_pool")
	})

	t.Run("another user drops everything first", func(t *testing.T) {
		c.emit("request_elevation",
			map[string]any{"token": mint(t, map[string]any{"sub": userB, "guilds": map[string]any{guildA: 6}})})
		if got := c.expect("request_elevation_return").as(t); got["user_id"] != userB {
			t.Fatalf("got %v", got)
		}
		n.publish(event.Topic{Guild: guildA}, `{"kind":"member","payload":1}`)
		n.io.To(socket.Room(c.sid+"_auth")).Emit("hello", 1)
		c.expect("hello")
	})
}
