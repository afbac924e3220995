package handlers

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
)

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
				b.g.Message(event.Topic{Guild: "7"}, history.Position{}, []byte(`{"kind":"member","payload":1}`))
				synctest.Wait()
				wantNames(t, b.take(s), "log_pool")
				time.Sleep(time.Millisecond)
				// Even if nobody was woken yet.
				b.g.Message(event.Topic{Guild: "7"}, history.Position{}, []byte(`{"kind":"member","payload":2}`))
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

// The wall clock jumps ahead, as when a virtual machine resumes. Here the expiry moves instead, which is the same to
// the session.
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
