package handlers

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/permissions"
	"github.com/architus/guildcast/token"
)

// names are the names of the events in what came for a socket.
func names(got []string) (out []string) {
	for _, g := range got {
		out = append(out, strings.Split(g, `"`)[1])
	}
	return out
}

func wantNames(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(names(got), want) {
		t.Fatalf("got %q, want %q", got, want)
	}
}

func TestExpiry(t *testing.T) {
	for _, tt := range []struct {
		name                string
		lasts, warns, lapse time.Duration
	}{
		{"a minute before", time.Hour, 59 * time.Minute, time.Hour},
		{"half of a short life before", 10 * time.Second, 5 * time.Second, 10 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, Config{})
				s := b.socket("s")
				token := claims("1", time.Now(), tt.lasts, `{"7":6}`)
				s.send("request_elevation", token)
				s.send("spectate", m{"guild_id": "7", "token": token})
				wantNames(t, b.take(s), "request_elevation_return", "spectate_return")

				time.Sleep(tt.warns - time.Millisecond)
				synctest.Wait()
				wantNames(t, b.take(s))
				time.Sleep(time.Millisecond)
				synctest.Wait()
				wantNames(t, b.take(s), "elevation_expiring")

				time.Sleep(tt.lapse - tt.warns - time.Millisecond)
				b.g.Message(event.Topic{Guild: "7"}, []byte(`{"kind":"member","payload":1}`))
				synctest.Wait()
				wantNames(t, b.take(s), "log_pool")
				time.Sleep(time.Millisecond)
				b.g.Message(event.Topic{Guild: "7"}, []byte(`{"kind":"member","payload":2}`)) // even if nobody was woken yet
				synctest.Wait()
				if got := b.take(s); !slices.Equal(got, []string{`["elevation_expired","{\"reason\":\"expired\"}"]`}) {
					t.Fatalf("got %q", got)
				}
				if b.in("s_auth") || b.g.filter.Len() != 0 {
					t.Fatal("the elevation left something behind")
				}
				s.send("spectate", m{"guild_id": "7", "token": token})
				if got := b.take(s); len(got) != 1 || !strings.Contains(got[0], "token_expired") {
					t.Fatalf("got %q", got)
				}
			})
		})
	}
}

func TestRefreshMovesTheAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{})
		s := b.socket("s")
		s.send("request_elevation", m{"token": claims("1", time.Now(), 10*time.Minute, `{"7":6}`)})
		time.Sleep(9*time.Minute + 30*time.Second)
		s.send("request_elevation", m{"token": claims("1", time.Now(), 10*time.Minute, `{"7":6}`)})
		synctest.Wait()
		wantNames(t, b.take(s), "request_elevation_return", "elevation_expiring", "request_elevation_return")
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		wantNames(t, b.take(s))
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		wantNames(t, b.take(s), "elevation_expiring", "elevation_expired")
	})
}

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
				if len(got) < 2 || !strings.Contains(got[len(got)-2], "elevation_expired") || !strings.Contains(got[len(got)-1], tt.want) {
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
	if refused == nil || refused.Message != token.Revoked || s.claims.Load() != nil || b.in("s_auth") {
		t.Fatalf("got %v, claims %v", refused, s.claims.Load())
	}
}

// The wall clock jumps ahead, as when a virtual machine resumes. Here the expiry moves instead, which is the same to the
// session.
func TestClockJumpsAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{})
		s := b.socket("s")
		s.send("request_elevation", claims("1", time.Now(), 3*time.Hour, `{"7":6}`))
		b.take(s)
		ended := *s.claims.Load()
		ended.ExpiresAt = time.Now().Add(-time.Second)
		s.claims.Store(&ended)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		wantNames(t, b.take(s), "elevation_expired")
	})
}

func TestElevationTellsGuilds(t *testing.T) {
	answer := func(guilds string) string {
		b := newBench(t, Config{})
		s := b.socket("s")
		s.send("request_elevation", m{"token": claims("1", time.Now(), time.Hour, guilds)})
		return b.take(s)[0]
	}
	many := func(n int) string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf(`"%d":6`, i+1))
		}
		return "{" + strings.Join(list, ",") + "}"
	}
	for _, tt := range []struct {
		guilds string
		told   bool
		want   string
	}{
		{`{"7":6}`, true, `"guilds":{"7":278},"architus_admin":false`},
		{`{}`, true, `"guilds":{},"architus_admin":false`},
		{many(maxGuildsTold), true, `"1000":278`},
		{many(maxGuildsTold + 1), false, `"architus_admin":false`},
	} {
		if got := answer(tt.guilds); strings.Contains(got, `"guilds"`) != tt.told || !strings.Contains(got, tt.want) {
			t.Errorf("got %.200s, want %s", got, tt.want)
		}
	}
}
