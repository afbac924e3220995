package handlers_test

import (
	"testing"
	"time"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/permissions"
)

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
