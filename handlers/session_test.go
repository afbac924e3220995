package handlers

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/permissions"
	"github.com/architus/guildcast/token"
)

// A session ends while a spectate waits for Redis: what was subscribed must be given up, and the request told why.
func TestElevationEndsDuringSpectate(t *testing.T) {
	for _, tt := range []struct {
		name string
		ends func(b *bench, s *session)
		want string
	}{
		{"expired", func(*bench, *session) { time.Sleep(time.Minute) }, "token_expired"},
		{"revoked", func(b *bench, _ *session) {
			r := permissions.Revocation{Subject: "1", Expires: time.Now().Add(time.Hour)}
			b.revoked.Add(r, time.Now())
			b.g.Revoke(r)
		}, "token_revoked"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, Config{})
				s := b.socket("s")
				token := claims("1", time.Now(), time.Minute, `{"7":6}`)
				s.send("request_elevation", m{"token": token})
				b.take(s)
				b.streams.set(func(event.Topic) {
					tt.ends(b, s)
					synctest.Wait()
				})
				s.send("spectate", m{"guild_id": "7", "token": token})
				got := b.take(s)
				if len(got) < 2 || !strings.Contains(got[len(got)-2], "elevation_expired") ||
					!strings.Contains(got[len(got)-1], tt.want) {
					t.Fatalf("got %q", got)
				}
				if b.g.filter.Len() != 0 || b.in("s_auth") {
					t.Fatal("the elevation left something behind")
				}
			})
		})
	}
}

// A token that is revoked while it is verified must not elevate.
func TestRevokedWhileVerified(t *testing.T) {
	b := newBench(t, Config{})
	s := b.socket("s")
	c, err := b.tokens.Verify(t.Context(), claims("1", time.Now(), time.Hour, `{}`))
	if err != nil {
		t.Fatal(err)
	}
	r := permissions.Revocation{TokenID: c.TokenID, Expires: time.Now().Add(time.Hour)}
	b.revoked.Add(r, time.Now())
	b.g.Revoke(r) // finds no session to demote
	s.take()
	refused := s.elevate(c, permissions.FormObject)
	s.give()
	if refused == nil || refused.Word != token.Revoked || s.claims.Load() != nil || b.in("s_auth") {
		t.Fatalf("got %v, claims %v", refused, s.claims.Load())
	}
}
