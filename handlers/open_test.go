package handlers_test

import (
	"testing"

	"github.com/architus/guildcast/handlers"
)

// A token in the handshake counts against the limit of its address; the socket stays, and can ask again.
func TestHandshakeTokensAreLimited(t *testing.T) {
	n := start(t, func(c *handlers.Config, _ *handlers.Parts) {
		c.Limits = handlers.Limits{AddressPerSecond: 0.0001, AddressBurst: 3}
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

// Where users are had by their ids, only an architus_admin can list them.
func TestUsersByID(t *testing.T) {
	n := start(t, func(c *handlers.Config, _ *handlers.Parts) { c.UsersByID = true })
	n.fill(guildA, 2)
	user, admin := mint(t, nil), mint(t, map[string]any{"architus_admin": true})
	for _, q := range []map[string]any{{"type": "user"}, {"type": "user", "request": "search", "query": "user"}} {
		for tok, allowed := range map[string]bool{user: false, admin: true} {
			q["_id"], q["token"] = 1.0, tok
			got, e := elevated(t, n, tok).parts(q)
			if allowed && (e != nil || len(got) != 1 || len(got[0].ids) != 2) || !allowed && e["code"] != 403.0 {
				t.Errorf("%v, allowed %t: got %v, %v", q["request"], allowed, got, e)
			}
		}
	}
	c := elevated(t, n, user)
	got, e := c.parts(map[string]any{"_id": 2.0, "type": "user", "ids": "1", "token": user})
	if e != nil {
		t.Fatal(e)
	}
	wantParts(t, got, "user [1] -[] true")
	if got, e = c.parts(map[string]any{"_id": 3.0, "type": "member", "guild_id": guildA, "token": user}); e != nil || len(got) != 2 {
		t.Errorf("members: %v, %v", got, e)
	}
}
