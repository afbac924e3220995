package handlers_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/internal/test/sioclient"
)

// A client that stops to read is not cut: guild events are left out for it, and once it reads again it is told so.
func TestSlowClientIsToldToResync(t *testing.T) {
	for _, logs := range []bool{false, true} {
		t.Run(fmt.Sprint("logs ", logs), func(t *testing.T) {
			n := startWith(t, engine.Options{MaxQueueBytes: 4 << 20}, nil)
			slow := connectWith(t, n.server, nil,
				sioclient.Options{ReadBuffer: 256 << 10}) // so that little is on its way
			quick := connect(t, n.server, nil)
			for _, c := range []*client{slow, quick} {
				tok := mint(t, guilds(guildA, 2))
				c.emit("request_elevation", map[string]any{"token": tok})
				c.expect("request_elevation_return")
				c.emit("spectate", map[string]any{"guild_id": guildA, "include_logs": true, "token": tok})
				c.expect("spectate_return")
			}
			name := map[bool]string{false: "log_pool", true: "log_other"}[logs]
			slow.pause()
			pad := strings.Repeat("x", 300<<10)
			published := 0
			publish := func(pad string) {
				n.publish(event.Topic{Guild: guildA, Logs: logs},
					fmt.Sprintf(`{"kind":"member","payload":{"n":%d,"pad":%q}}`, published, pad))
				if got := quick.expect(name).as(t)["n"]; got != float64(published) {
					t.Fatalf("the other client got %v, want %d", got, published)
				}
				published++
			}
			for n.metric("guildcast_guild_events_shed_total") < 3 {
				if publish(pad); published > 1000 {
					t.Fatal("nothing is left out")
				}
			}
			slow.resume()
			next, h := 0, slow.next()
			for ; h.event != "resync"; h = slow.next() {
				if h.event != name || h.as(t)["n"] != float64(next) {
					t.Fatalf("got %.100v, want %s number %d", h, name, next)
				}
				next++
			}
			if next == 0 || next+3 != published {
				t.Errorf("%d of %d events came before the resync, and 3 were left out", next, published)
			}
			if body := h.as(t); body["guild_id"] != guildA || body["reason"] != "client_overflow" {
				t.Errorf("%v", h)
			}
			// It gets the next one, and nothing between.
			publish("")
			if h := slow.expect(name); h.as(t)["n"] != float64(published-1) {
				t.Errorf("got %v, want number %d", h, published-1)
			}
			if got := n.metric("guildcast_resyncs_total"); got != 1 {
				t.Errorf("%v resyncs", got)
			}
		})
	}
}

func TestResyncReachesExactlyTheSocketsConcerned(t *testing.T) {
	n := start(t, nil)
	tok := mint(t, map[string]any{"guilds": map[string]any{guildA: 6, guildB: 6}})
	watch := func(guild any, logs bool) *client {
		c := elevated(t, n, tok)
		c.emit("spectate", map[string]any{"guild_id": guild, "include_logs": logs, "token": tok})
		c.expect("spectate_return")
		return c
	}
	plain, withLogs, other, none := watch(guildA, false), watch(guildA, true), watch(guildB, true), watch(nil, false)
	n.gateway.Resync([]event.Topic{{Guild: guildA}, {Guild: guildA, Logs: true}}, "redis_lost")
	for _, c := range []*client{plain, withLogs} {
		if h := c.expect("resync"); string(h.arg) != `{"guild_id":"`+guildA+`","reason":"redis_lost"}` {
			t.Fatalf("got %v", h)
		}
	}
	n.gateway.Resync([]event.Topic{{Guild: guildA, Logs: true}}, "overflow")
	withLogs.expect("resync")
	for _, c := range []*client{plain, other, none} {
		c.emit("spectate", map[string]any{"guild_id": nil, "token": tok})
		c.expect("spectate_return")
	}
}
