package handlers

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/permissions"
)

// A refresh of the claims changes nothing of what was asked for.
func TestPositionsOutliveARefresh(t *testing.T) {
	quiet(t, func(t *testing.T, b *bench, a *archive) {
		s, _ := b.spectate("s", "2", m{"positions": true})
		s.send("request_elevation", m{"token": claims("s", time.Now().Add(time.Second), time.Hour, `{"1":6}`)})
		synctest.Wait()
		b.take(s)
		p := b.durable(a, pool1, member(0))
		wantAll(t, b.take(s), pushed(0, at(p)))
	})
}

// A spectate without positions ends them, even if something is being replayed.
func TestSpectateWithoutPositionsDuringAReplay(t *testing.T) {
	quiet(t, func(t *testing.T, b *bench, a *archive) {
		p := b.durable(a, pool1, member(0))
		b.durable(a, pool1, member(1))
		full := make(chan struct{})
		b.full = full
		s, _ := b.spectate("s", "2", m{"since": p.String()})
		s.send("spectate", m{"guild_id": "1", "token": claims("s", time.Now(), time.Hour, `{"1":2}`)})
		b.take(s)
		close(full)
		time.Sleep(time.Second)
		wantAll(t, b.take(s), `["log_pool",{"seq":1}]`)
	})
}

// The resync of a guild comes before the answer that says that another one is spectated.
func TestRecallInAnotherGuildTellsOfTheFirst(t *testing.T) {
	quiet(t, func(t *testing.T, b *bench, a *archive) {
		s, _ := b.spectate("s", "2", m{"positions": true})
		b.g.resyncs.add([]spectating{{s, "1"}}, "overflow") // its time has not come
		s.send("request_elevation", m{"token": claims("s", time.Now(), time.Hour, `{"1":2,"2":2}`)})
		b.take(s)
		s.send("spectate", m{
			"guild_id": "2", "positions": true, "token": claims("s", time.Now(), time.Hour, `{"1":2,"2":2}`),
		})
		synctest.Wait()
		wantNames(t, b.take(s), "resync", "spectate_return")
	})
}

// A client that has left does not keep the window.
func TestWindowOfNobodyIsClosed(t *testing.T) {
	quiet(t, func(t *testing.T, b *bench, a *archive) {
		s, _ := b.spectate("s", "2", m{})
		b.durable(a, pool1, member(0))
		b.sheds = func(*engine.Conn, []byte) bool { return true }
		b.g.mu.Lock()
		delete(b.g.sessions, s.conn()) // it is leaving
		b.g.mu.Unlock()
		b.durable(a, pool1, member(1))
		time.Sleep(windowLinger)
		synctest.Wait()
		if b.g.streams.windows.used.Load() != 0 {
			t.Error("the window is still kept")
		}
		b.g.disconnected(s)
	})
}

// What is kept of all guilds stays within its bound, whatever the sizes of the events.
func TestWindowsShareABound(t *testing.T) {
	budget := &tally{}
	budget.max.Store(10_000)
	var windows []*window
	for range 3 {
		w := &window{max: func() int { return -1 }, budget: budget}
		for range 8 {
			w.append(&past{})
		}
		windows = append(windows, w)
	}
	for _, w := range windows {
		w.append(&past{event: &event.Event{Payload: make([]byte, 5000)}})
		if used := budget.used.Load(); used > 10_000 {
			t.Errorf("%d bytes are kept", used)
		}
	}
}

// Plain events between durable ones come, even where the history has to be read again.
func TestSlowClientGetsPlainEventsBehindWhatIsReadBack(t *testing.T) {
	quiet(t, func(t *testing.T, b *bench, a *archive) {
		b.g.limits().GuildReplayBytes = 3000
		s, _ := b.spectate("s", "2", m{"positions": true})
		slow := true
		b.sheds = func(*engine.Conn, []byte) bool { return slow }
		b.resumes = func(*engine.Conn) bool { return !slow }
		full := make(chan struct{})
		b.full = full
		var want []string
		for seq := range 20 {
			if seq == 17 {
				b.g.Message(pool1, history.Position{}, []byte(member(seq)))
				want = append(want, pushed(seq, "null"))
				continue
			}
			want = append(want, pushed(seq, at(b.durable(a, pool1, member(seq)))))
		}
		slow = false
		close(full)
		time.Sleep(time.Second)
		wantAll(t, b.take(s), want...)
	})
}

func logged(seq int, p history.Position) string {
	return fmt.Sprintf(`["log_other",{"seq":%d},%s]`, seq, at(p))
}

// later spectates as bench.spectate, and returns all that came a second later.
func (b *bench) later(id string, body m) []string {
	s, got := b.spectate(id, "2", body)
	time.Sleep(time.Second)
	return append(got, b.take(s)...)
}

// What the logs had while nobody on the node had their topic is not passed over for somebody who comes with a position
// from before.
func TestReplayOfLogsThatNobodyHeard(t *testing.T) {
	for _, kept := range []bool{false, true} {
		t.Run(fmt.Sprint(kept), func(t *testing.T) {
			quiet(t, func(t *testing.T, b *bench, a *archive) {
				b.streams.passed = func() (history.Position, bool) { return a.Position("1") }
				p0 := b.durable(a, pool1, member(0))
				b.spectate("pool", "2", m{"since": p0.String()})
				p1 := a.add(logs1, []byte(member(1))) // which the node does not hear
				want := []string{logged(1, p1)}
				if kept { // what follows is kept for those that come back
					p2 := b.durable(a, pool1, member(2))
					want = append(want, pushed(2, at(p2)))
				}
				got := b.later("logs", m{"since": p0.String(), "include_logs": true})
				if !strings.Contains(got[0], `"recovered":true`) {
					t.Error(got[0])
				}
				wantAll(t, got[1:], want...)
				if n := len(b.g.streams.of("1").followers); n > 0 {
					t.Errorf("%d are not live", n)
				}
			})
		})
	}
}

// A client whose position is that of an entry that is for nobody on the node is live all the same.
func TestReplayBehindWhatIsForNobody(t *testing.T) {
	quiet(t, func(t *testing.T, b *bench, a *archive) {
		b.streams.passed = func() (history.Position, bool) { return a.Position("1") }
		b.durable(a, pool1, member(0))
		b.spectate("s", "2", m{"positions": true})
		p1 := a.add(logs1, []byte(member(1)))
		wantAll(t, b.later("back", m{"since": p1.String()}), spectates(at(p1), true, 0))
		if n := len(b.g.streams.of("1").followers); n > 0 {
			t.Errorf("%d are not live", n)
		}
	})
}

// After a loss that others were told of, only the history knows what a position is worth.
func TestReplayWithoutWhatWasLost(t *testing.T) {
	quiet(t, func(t *testing.T, b *bench, a *archive) {
		b.streams.passed = func() (history.Position, bool) { return a.Position("1") }
		p0 := b.durable(a, pool1, member(0))
		b.spectate("s", "2", m{"since": p0.String()})
		p1 := a.add(pool1, []byte(member(1))) // lost on its way
		p2 := b.durable(a, pool1, member(2))
		b.g.Resync([]event.Topic{pool1}, "message_lost")
		wantAll(t, b.later("while kept", m{"since": p0.String()}),
			spectates(at(p2), true, 2), pushed(1, at(p1)), pushed(2, at(p2)))
		b.g.Resync([]event.Topic{pool1}, "history_lost")
		a.mu.Lock()
		clear(a.entries)
		a.mu.Unlock()
		wantAll(t, b.later("after", m{"since": p2.String()}), spectates(at(p2), false, 0))
		p3 := b.durable(a, pool1, member(3))
		wantAll(t, b.later("later", m{"since": p2.String()}), spectates(at(p3), false, 0))
		wantAll(t, b.later("behind it", m{"since": p3.String()}), spectates(at(p3), true, 0))
	})
}

// A plain event comes once, also to a client that comes back while it is kept for others.
func TestPlainEventsAreNotReplayed(t *testing.T) {
	quiet(t, func(t *testing.T, b *bench, a *archive) {
		p0 := b.durable(a, pool1, member(0))
		s, _ := b.spectate("s", "2", m{"since": p0.String()})
		b.g.Message(pool1, history.Position{}, []byte(member(1)))
		p2 := b.durable(a, pool1, member(2))
		wantAll(t, b.take(s), pushed(1, "null"), pushed(2, at(p2)))
		wantAll(t, b.later("back", m{"since": p0.String()}), spectates(at(p2), true, 1), pushed(2, at(p2)))
		wantAll(t, b.later("new", m{"backlog": 2}),
			spectates(at(p2), false, 2), pushed(0, at(p0)), pushed(2, at(p2)))
	})
}

// What a window keeps is what counts: whole messages, and no messages as clients get them.
func TestWindowKeepsWhatItCounts(t *testing.T) {
	b := newBench(t, Config{})
	b.g.outlet = engineOutlet{}
	message := []byte(`{"junk":"` + strings.Repeat("x", 100_000) + `","kind":"member","payload":{}}`)
	p := b.g.pastOf(history.Entry{Topic: pool1, Message: message})
	if p.event == nil || p.size() < len(message) {
		t.Errorf("an event whose message has %d bytes counts as %d", len(message), p.size())
	}
	m := weak.Make(b.g.messageOf(p, permissions.View{}))
	runtime.GC()
	if m.Value() != nil {
		t.Error("an encoded message is kept that nobody needs")
	}
	runtime.KeepAlive(p)
}

// Large entries of a history are neither read nor sent together.
func TestLargeEventsAreReadBackOneByOne(t *testing.T) {
	quiet(t, func(t *testing.T, b *bench, a *archive) {
		for range 10 {
			a.add(pool1, []byte(`{"kind":"member","payload":"`+strings.Repeat("x", maxAhead)+`"}`))
		}
		s, _ := b.spectate("s", "2", m{"positions": true})
		f := newFollower(s, b.g.streams.of("1"), permissions.View{})
		defer f.cancel()
		for range 2 {
			if list, whole, err := f.readAfter(history.Position{}); len(list) != 1 || !whole || err != nil {
				t.Errorf("%d large events at once, %v", len(list), err)
			}
		}
		if f.page != 1 {
			t.Errorf("reads %d large events", f.page)
		}
	})
}

// An event that comes to a stream when that ends is not for who enters the guild's next one, and has it already.
func TestEventOfAStreamThatHasEnded(t *testing.T) {
	quiet(t, func(t *testing.T, b *bench, a *archive) {
		p0 := b.durable(a, pool1, member(0))
		s, _ := b.spectate("s", "2", m{"positions": true})
		old := b.g.streams.of("1")
		p1 := a.add(pool1, []byte(member(1)))
		e, err := event.Parse(pool1, []byte(member(1)))
		if err != nil {
			t.Fatal(err)
		}
		b.g.disconnected(s)
		s, got := b.spectate("back", "2", m{"since": p0.String()})
		wantAll(t, got, spectates(at(p1), true, 1), pushed(1, at(p1)))
		if _, ended := old.deliver(&e, notice{position: p1}); !ended {
			t.Error("the former stream has not ended")
		}
		b.g.Message(pool1, p1, []byte(member(1)))
		wantAll(t, b.take(s))
	})
}
