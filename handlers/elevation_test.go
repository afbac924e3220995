package handlers_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/handlers"
	"github.com/architus/guildcast/permissions"
)

// elevated connects with a token.
func elevated(t testing.TB, n *node, token string) *client {
	t.Helper()
	c := connect(t, n.server, map[string]any{"token": token})
	if h := c.expect("request_elevation_return").as(t); h["success"] != true {
		t.Fatalf("elevation failed: %v", h)
	}
	return c
}

// wantError checks an error's code and word, and that the shape is the protocol's.
func wantError(t testing.TB, e map[string]any, code int, word string) {
	t.Helper()
	if e["code"] != float64(code) || e["message"] != word {
		t.Fatalf("got error %v, want %d %s", e, code, word)
	}
	_, human := e["human"].(string)
	_, details := e["details"]
	_, context := e["context"].([]any)
	if !human || !details || !context {
		t.Fatalf("%v is not the shape of an error", e)
	}
}

func TestRequestElevation(t *testing.T) {
	n := start(t, nil)
	good := mint(t, nil)
	for _, tt := range []struct {
		name     string
		payload  any
		asString bool
		code     int // 0 for success
		word     string
	}{
		{"the token itself", good, true, 0, ""},
		{"the token as JSON", marshal(good), true, 0, ""},
		{"a string of an object", marshal(map[string]any{"token": good}), true, 0, ""},
		{"an object", map[string]any{"token": good}, false, 0, ""},
		{"as HTTP writes it", "Bearer " + good, true, 0, ""},
		{"as HTTP writes it, in an object", map[string]any{"token": "bearer  " + good}, false, 0, ""},
		{"a scheme and no token", map[string]any{"token": "Bearer "}, false, 401, "token_missing"},
		{"another scheme", map[string]any{"token": "Basic " + good}, false, 401, "token_invalid"},
		{"sub as a number", map[string]any{"token": mint(t, map[string]any{"sub": 4211})}, false, 0, ""},
		{"id for sub", map[string]any{"token": mint(t, map[string]any{"sub": nil, "id": userA})}, false, 0, ""},
		{"garbage", "garbage", true, 401, "token_invalid"},
		{"empty", "", true, 401, "token_missing"},
		{"no token", map[string]any{}, false, 401, "token_missing"},
		{"null", nil, false, 401, "token_missing"},
		{"another secret", good[:len(good)-4] + "AAAA", true, 401, "token_invalid"},
		{"none", "eyJhbGciOiJub25lIn0." + strings.Split(good, ".")[1] + ".", true, 401, "token_invalid"},
		{"expired", mint(t, map[string]any{"exp": time.Now().Add(-time.Second).Unix()}), true, 401, "token_expired"},
		{"no exp", mint(t, map[string]any{"exp": nil}), true, 401, "token_invalid"},
		{"no sub", mint(t, map[string]any{"sub": nil}), true, 401, "token_invalid"},
		{"not yet", mint(t, map[string]any{"nbf": time.Now().Add(time.Hour).Unix()}), true, 401, "token_not_yet_valid"},
		{"a number", 7, false, 400, "malformed"},
		{"a list", []string{good}, false, 400, "malformed"},
		{"a token that is no string", map[string]any{"token": 7}, false, 400, "malformed"},
		{"broken JSON", `{"token":`, true, 400, "malformed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := connect(t, n.server, nil)
			ack := c.ask("request_elevation", tt.payload)
			h := c.expect("request_elevation_return")
			body := h.arg
			if tt.asString {
				var s string
				if err := json.Unmarshal(body, &s); err != nil {
					t.Fatalf("the answer %s is not in the form of the request", body)
				}
				body = []byte(s)
			}
			if string(ack) != "["+string(h.arg)+"]" {
				t.Errorf("acknowledged with %s, answered with %s", ack, h.arg)
			}
			got := object(t, body)
			if tt.code != 0 {
				want := map[string]any{"code": float64(tt.code), "message": tt.word}
				if got["success"] != false || marshal(got["error"]) != marshal(want) || len(got) != 2 {
					t.Fatalf("got %s", body)
				}
				return
			}
			if got["success"] != true || got["room"] != c.sid+"_auth" || got["user_id"] == "" || got["expires_at"].(float64) < float64(time.Now().Unix()) {
				t.Fatalf("got %s", body)
			}
			n.io.To(socket.Room(c.sid+"_auth")).Emit("hello", 1)
			c.expect("hello")
		})
	}
}

func TestHandshakeToken(t *testing.T) {
	n := start(t, nil)
	for _, tt := range []struct {
		name string
		auth any
		code float64 // 0 for success, -1 for no answer
	}{
		{"good", map[string]any{"token": mint(t, nil)}, 0},
		{"as HTTP writes it", map[string]any{"token": "Bearer " + mint(t, nil)}, 0},
		{"bad", map[string]any{"token": "garbage"}, 401},
		{"no string", map[string]any{"token": 7}, 400},
		{"none", map[string]any{}, -1},
		{"null", map[string]any{"token": nil}, -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := connect(t, n.server, tt.auth)
			if tt.code >= 0 {
				got := c.expect("request_elevation_return").as(t)
				if tt.code == 0 && got["success"] == true {
					return
				}
				if e, _ := got["error"].(map[string]any); e["code"] != tt.code {
					t.Fatalf("got %v", got)
				}
			}
			// It is connected all the same.
			c.emit("request_elevation", map[string]any{"token": mint(t, nil)})
			if got := c.expect("request_elevation_return").as(t); got["success"] != true {
				t.Fatalf("got %v", got)
			}
		})
	}
}

// A query string ends up in logs: a token in it must not be looked at.
func TestQueryTokenIsIgnored(t *testing.T) {
	n := start(t, nil)
	c := connectQuery(t, n.server, "&token="+mint(t, nil)+"&auth="+mint(t, nil), nil)
	got := c.ask("spectate", map[string]any{"guild_id": guildA, "token": mint(t, nil)})
	wantError(t, c.expect("error").as(t), 409, "not_elevated")
	if !strings.Contains(string(got), "not_elevated") {
		t.Fatalf("acknowledged with %s", got)
	}
}

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
			n := start(t, func(c *handlers.Config, _ *handlers.Parts) { c.TokenOptional = tt.optional })
			c := elevated(t, n, mint(t, nil))
			if claims, ok := tt.token.(map[string]any); ok {
				claims["iat"] = time.Now().Add(2 * time.Second).Unix()
				tt.token = mint(t, claims)
			}
			for _, ev := range []string{"spectate", "pool", "demote"} {
				c.emit(ev, map[string]any{"guild_id": guildA, "type": "role", "ids": []string{}, "token": tt.token, "_id": ev})
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
		c.emit("request_elevation", map[string]any{"token": mint(t, map[string]any{"permissions": 0, "guilds": map[string]any{guildA: 0}})})
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
		c.emit("request_elevation", map[string]any{"token": mint(t, map[string]any{"sub": userB, "guilds": map[string]any{guildA: 6}})})
		if got := c.expect("request_elevation_return").as(t); got["user_id"] != userB {
			t.Fatalf("got %v", got)
		}
		n.publish(event.Topic{Guild: guildA}, `{"kind":"member","payload":1}`)
		n.io.To(socket.Room(c.sid+"_auth")).Emit("hello", 1)
		c.expect("hello")
	})
}

func TestDemote(t *testing.T) {
	n := start(t, nil)
	tok := mint(t, nil)
	c := elevated(t, n, tok)
	c.emit("spectate", map[string]any{"guild_id": guildA, "token": tok})
	c.expect("spectate_return")
	ack := c.ask("demote", map[string]any{"token": tok, "_id": 3})
	got := c.expect("elevation_expired")
	if string(ack) != "["+string(got.arg)+"]" || got.as(t)["reason"] != "demoted" || got.as(t)["_id"] != 3.0 {
		t.Fatalf("got %v and %s", got, ack)
	}
	n.io.To(socket.Room(c.sid+"_auth")).Emit("hello", 1)
	n.publish(event.Topic{Guild: guildA}, `{"kind":"member","payload":1}`)
	n.io.To(socket.Room(c.sid)).Emit("still", 1)
	c.expect("still")
	c.emit("demote", map[string]any{"token": tok})
	wantError(t, c.expect("error").as(t), 409, "not_elevated")
}

func TestRevocation(t *testing.T) {
	for _, tt := range []struct {
		name string
		r    permissions.Revocation
		hit  bool
	}{
		{"sub", permissions.Revocation{Subject: userA}, true},
		{"another sub", permissions.Revocation{Subject: userB}, false},
		{"jti", permissions.Revocation{TokenID: "j1"}, true},
		{"another jti", permissions.Revocation{TokenID: "j2"}, false},
		{"issued before", permissions.Revocation{Subject: userA, IssuedBefore: time.Now().Add(time.Minute)}, true},
		{"issued after", permissions.Revocation{Subject: userA, IssuedBefore: time.Now().Add(-time.Minute)}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := start(t, nil)
			tok := mint(t, map[string]any{"jti": "j1"})
			c := elevated(t, n, tok)
			c.emit("spectate", map[string]any{"guild_id": guildA, "token": tok})
			c.expect("spectate_return")
			n.revoke(tt.r)
			if tt.hit {
				if got := c.expect("elevation_expired").as(t); got["reason"] != "revoked" {
					t.Fatalf("got %v", got)
				}
			}
			n.publish(event.Topic{Guild: guildA}, `{"kind":"member","payload":1}`)
			c.emit("spectate", map[string]any{"guild_id": guildA, "token": tok})
			if !tt.hit {
				c.expect("log_pool")
				c.expect("spectate_return")
				return
			}
			wantError(t, c.expect("error").as(t), 401, "token_revoked")
			c.emit("request_elevation", map[string]any{"token": tok})
			if got := c.expect("request_elevation_return").as(t); got["success"] != false {
				t.Fatalf("got %v", got)
			}
		})
	}
}
