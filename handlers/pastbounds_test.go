package handlers

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/architus/guildcast/history"
)

// Replays whose client waits for the answer are bounded on a node. Who is refused has missed nothing.
func TestReplaysInProgressAreBounded(t *testing.T) {
	quiet(t, func(t *testing.T, b *bench, a *archive) {
		b.g.replays.max.Store(1)
		p0, p1 := b.durable(a, pool1, member(0)), b.durable(a, pool1, member(1))
		a.pause = time.Second
		first := b.socket("first")
		first.send("request_elevation", m{"token": claims("first", time.Now(), time.Hour, `{"1":2}`)})
		b.take(first)
		go first.send("spectate", m{
			"guild_id": "1", "since": p0.String(), "token": claims("first", time.Now(), time.Hour, `{"1":2}`),
		})
		synctest.Wait()
		_, got := b.spectate("second", "2", m{"since": p0.String()})
		if len(got) != 1 || !strings.Contains(got[0], `"message":"too_many_requests","code":429`) {
			t.Errorf("beyond the bound came %q", got)
		}
		time.Sleep(5 * time.Second)
		_, got = b.spectate("again", "2", m{"since": p0.String()})
		time.Sleep(5 * time.Second)
		want := []string{spectates(at(p1), true, 1), pushed(1, at(p1))}
		wantAll(t, got, want...)
		wantAll(t, b.take(first), want...)
	})
}

// A client that has missed more than may be replayed is told so. It gets the backlog that it asked for.
func TestReplayOfMoreThanIsAllowed(t *testing.T) {
	quiet(t, func(t *testing.T, b *bench, a *archive) {
		b.g.limits().ReplayEvents = 3
		var all []history.Position
		for i := range 6 {
			all = append(all, b.durable(a, pool1, member(i)))
		}
		_, got := b.spectate("three", "2", m{"since": all[2].String()})
		wantAll(t, got, spectates(at(all[5]), true, 3),
			pushed(3, at(all[3])), pushed(4, at(all[4])), pushed(5, at(all[5])))
		_, got = b.spectate("four", "2", m{"since": all[1].String(), "backlog": 1})
		wantAll(t, got, spectates(at(all[5]), false, 1), pushed(5, at(all[5])))
	})
}

// A replay to a client that does not read holds up nobody else, neither live ones nor other replays.
func TestReplayHoldsUpNobody(t *testing.T) {
	quiet(t, func(t *testing.T, b *bench, a *archive) {
		live, _ := b.spectate("live", "2", m{"positions": true})
		p0, p1 := b.durable(a, pool1, member(0)), b.durable(a, pool1, member(1))
		b.take(live)
		full := make(chan struct{})
		b.full = full
		deaf, got := b.spectate("deaf", "2", m{"since": p0.String()})
		wantAll(t, got, spectates(at(p1), true, 1))
		b.mu.Lock()
		b.full = nil // for everybody else
		b.mu.Unlock()
		p2 := b.durable(a, pool1, member(2))
		wantAll(t, b.take(live), pushed(2, at(p2)))
		_, got = b.spectate("other", "2", m{"since": p0.String()})
		wantAll(t, got, spectates(at(p2), true, 2), pushed(1, at(p1)), pushed(2, at(p2)))
		wantAll(t, b.take(deaf))
		close(full)
		synctest.Wait()
		wantAll(t, b.take(deaf), pushed(1, at(p1)), pushed(2, at(p2)))
	})
}

// meanwhile is a cache during whose reading something happens.
type meanwhile struct {
	nowhere
	happens func()
}

func (p meanwhile) Get(_ context.Context, _, _ string, ids []string) ([][]byte, error) {
	p.happens()
	return [][]byte{fmt.Appendf(nil, `{"id":%q}`, ids[0])}, nil
}

// The position of a pool is that of its guild before the pool was read: an event that comes meanwhile is behind it.
func TestPositionOfAPool(t *testing.T) {
	for name, test := range map[string]struct {
		query   m
		before  int // events
		err     error
		unasked bool
		want    string // what follows "position", as JSON; "" if there is no position
	}{
		"history":       {query: m{"type": "role", "guild_id": "1"}, before: 2, want: "%s"},
		"no history":    {query: m{"type": "role", "guild_id": "1"}, want: "null"},
		"unreadable":    {query: m{"type": "role", "guild_id": "1"}, err: history.ErrUnreadable, want: "null"},
		"foreign guild": {query: m{"type": "role", "guild_id": "2"}, before: 2, want: "null"},
		"no guild":      {query: m{"type": "user"}, before: 2, want: "null"},
		"not asked for": {query: m{"type": "role", "guild_id": "1"}, before: 2, unasked: true},
	} {
		for _, spectated := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, spectated %t", name, spectated), func(t *testing.T) {
				quiet(t, func(t *testing.T, b *bench, a *archive) {
					a.err = test.err
					var last history.Position
					for i := range test.before {
						last = b.durable(a, pool1, member(i))
					}
					if spectated {
						b.spectate("other", "2", m{"positions": true})
					}
					b.g.pools = meanwhile{happens: func() { b.durable(a, pool1, member(9)) }}
					s := b.socket("s")
					token := claims("s", time.Now(), time.Hour, `{"1":2}`)
					s.send("request_elevation", m{"token": token})
					b.take(s)
					test.query["token"], test.query["ids"] = token, []string{"5"}
					test.query["positions"] = !test.unasked
					s.send("pool", test.query)
					time.Sleep(10 * time.Second)
					got := strings.Join(b.take(s), "")
					want := `"position":` + test.want
					if test.before > 0 {
						want = strings.Replace(want, "%s", at(last), 1)
					}
					if has := strings.Contains(got, `"position"`); has == test.unasked ||
						has && !strings.Contains(got, want+",") {
						t.Errorf("got %s, want %s", got, want)
					}
				})
			})
		}
	}
}
