package handlers_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/internal/test/sioclient"
)

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
			if got["success"] != true || got["room"] != c.sid+"_auth" || got["user_id"] == "" ||
				got["expires_at"].(float64) < float64(time.Now().Unix()) {
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
	c := connectWith(t, n.server, nil, sioclient.Options{Query: "&token=" + mint(t, nil) + "&auth=" + mint(t, nil)})
	got := c.ask("spectate", map[string]any{"guild_id": guildA, "token": mint(t, nil)})
	wantError(t, c.expect("error").as(t), 409, "not_elevated")
	if !strings.Contains(string(got), "not_elevated") {
		t.Fatalf("acknowledged with %s", got)
	}
}
