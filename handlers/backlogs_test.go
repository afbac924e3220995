package handlers

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
)

// gate is connections that lag until it is opened.
type gate chan struct{}

func (g gate) Wait(stop <-chan struct{}) {
	select {
	case <-g:
	case <-stop:
	}
}

// slowGuild makes a gateway with a socket in each of the guilds 1 and 2. Those of guild 1 lag.
func slowGuild(t *testing.T) (b *bench, slow, quick *session, lagging gate) {
	b, lagging = newBench(t, Config{}), make(gate)
	b.lags = func(args []byte) lag {
		if bytes.Contains(args, []byte(`"guild_id":"1"`)) {
			return lagging
		}
		return nil
	}
	var sockets []*session
	for _, guild := range []string{"1", "2"} {
		s := b.socket(guild)
		token := claims(guild, time.Now(), time.Hour, fmt.Sprintf(`{"%s":0}`, guild))
		s.send("request_elevation", m{"token": token})
		s.send("spectate", m{"token": token, "guild_id": guild})
		b.take(s)
		sockets = append(sockets, s)
	}
	return b, sockets[0], sockets[1], lagging
}

// publish publishes event number n of a guild.
func (b *bench) publish(guild string, n int, pad string) {
	b.g.Message(event.Topic{Guild: guild}, history.Position{},
		fmt.Appendf(nil, `{"kind":"member","payload":{"guild_id":"%s","seq":%d,"pad":"%s"}}`, guild, n, pad))
}

// kept returns how many bytes wait for slow recipients.
func (b *bench) kept() int {
	b.g.backlogs.mu.Lock()
	defer b.g.backlogs.mu.Unlock()
	return b.g.backlogs.bytes
}

// wantSeqs fails the test unless the events from first to last came, each once and in order.
func wantSeqs(t *testing.T, got []string, first, last int) {
	t.Helper()
	if len(got) != last-first+1 {
		t.Fatalf("%d events, want those from %d to %d", len(got), first, last)
	}
	for i, e := range got {
		if !strings.Contains(e, fmt.Sprintf(`"seq":%d,`, first+i)) {
			t.Fatalf("got %.100s, want number %d", e, first+i)
		}
	}
}

// Two guilds share a queue. Slow readers in one of them hold up its own events, and none of the other.
func TestSlowReadersHoldUpTheirGuildOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, slow, quick, lagging := slowGuild(t)
		for n := range 100 {
			b.publish("1", n, "")
			b.publish("2", n, "")
			wantSeqs(t, b.take(quick), n, n)
		}
		synctest.Wait()
		wantSeqs(t, b.take(slow), 0, 0)
		close(lagging)
		synctest.Wait()
		wantSeqs(t, b.take(slow), 1, 99)
		if len(b.g.backlogs.guilds) != 0 || b.g.backlogs.bytes != 0 {
			t.Errorf("%d guilds with %d bytes wait for nobody", len(b.g.backlogs.guilds), b.g.backlogs.bytes)
		}
		b.publish("1", 100, "")
		wantSeqs(t, b.take(slow), 100, 100)
	})
}

// A client requests its pools upon a resync. Older events that wait for slow readers come before it: after the answer
// they would undo what is newer.
func TestResyncComesBehindTheBacklog(t *testing.T) {
	for name, tell := range map[string]func(b *bench, slow *session){
		"loss": func(b *bench, _ *session) {
			b.g.Resync([]event.Topic{{Guild: "1"}}, "redis_lost")
			time.Sleep(resyncSpread + time.Second)
		},
		"overflow": func(b *bench, slow *session) {
			b.g.stragglers.note("1", slow.conns[:])
			time.Sleep(2 * stragglerStep)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, slow, _, lagging := slowGuild(t)
				for n := range 100 {
					b.publish("1", n, "")
				}
				tell(b, slow)
				synctest.Wait()
				wantSeqs(t, b.take(slow), 0, 0)
				close(lagging)
				synctest.Wait()
				got := b.take(slow)
				wantSeqs(t, got[:len(got)-1], 1, 99)
				if last := got[len(got)-1]; !strings.Contains(last, "resync") {
					t.Errorf("got %s at last, want a resync", last)
				}
			})
		})
	}
}

// The backlog for slow readers is bounded. Beyond the bound, events wait for nobody.
func TestBacklogIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, slow, _, lagging := slowGuild(t)
		defer close(lagging)
		pad := strings.Repeat("x", 64<<10)
		most := DefaultLimits().GuildBacklogBytes
		events := 3 * most / (64 << 10)
		for n := range events {
			b.publish("1", n, pad)
			if got := b.kept(); got > most+len(pad)+1<<10 {
				t.Fatalf("%d bytes wait", got)
			}
		}
		synctest.Wait()
		got := b.take(slow)
		wantSeqs(t, got, 0, len(got)-1)
		if len(got) < events*3/5 {
			t.Errorf("%d of %d events have gone out", len(got), events)
		}
	})
}

// The node's bound holds even for guilds under their own.
func TestBacklogsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _, quick, lagging := slowGuild(t)
		defer close(lagging)
		others := DefaultLimits().NodeBacklogBytes
		b.g.backlogs.bytes = others
		for n := range 10 {
			b.publish("1", n, "")
			b.publish("2", n, "")
		}
		wantSeqs(t, b.take(quick), 0, 9)
		if got := b.kept() - others; got > 1<<10 {
			t.Errorf("%d bytes more wait", got)
		}
	})
}

// Close does not wait for slow readers, however much waits for them.
func TestCloseLeavesTheBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, slow, _, lagging := slowGuild(t)
		for n := range 100 {
			b.publish("1", n, "")
		}
		b.g.cancel()
		close(lagging)
		synctest.Wait()
		wantSeqs(t, b.take(slow), 0, 0)
	})
}

// The bounds are those of Limits; a negative one is none.
func TestLimitsOfBacklogs(t *testing.T) {
	for _, c := range []struct {
		guild, node int // limits
		over        bool
	}{
		{guild: 1000, node: 1000}, {guild: 999, node: 1000, over: true}, {guild: 1000, node: 999, over: true},
		{guild: -1, node: 1000}, {guild: 1000, node: -1}, {guild: -1, node: 999, over: true},
	} {
		g := &Gateway{}
		g.bounds.Store(&Limits{GuildBacklogBytes: c.guild, NodeBacklogBytes: c.node})
		x := newBacklogs(g)
		x.bytes = 1000
		if over := x.overLocked(&backlog{bytes: 1000}); over != c.over {
			t.Errorf("limits %d and %d: over is %t", c.guild, c.node, over)
		}
	}
}
