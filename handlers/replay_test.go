package handlers

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
)

var pool1, logs1 = event.Topic{Guild: "1"}, event.Topic{Guild: "1", Logs: true}

// spectate elevates a new socket with rights in guild 1 and lets it spectate with what body asks besides. It returns
// what it got from then on, once all is quiet.
func (b *bench) spectate(id, rights string, body m) (*session, []string) {
	s := b.socket(id)
	token := claims(id, time.Now(), time.Hour, `{"1":`+rights+`}`)
	s.send("request_elevation", m{"token": token})
	b.take(s)
	body["guild_id"], body["token"] = "1", token
	s.send("spectate", body)
	synctest.Wait()
	return s, b.take(s)
}

func wantAll(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

func spectates(position string, recovered bool, replayed int) string {
	return fmt.Sprintf(`["spectate_return",{"success":true,"guild_id":"1","include_logs":false,"permissions":274,`+
		`"position":%s,"recovered":%t,"replayed":%d}]`, position, recovered, replayed)
}

func at(p history.Position) string { return `"` + p.String() + `"` }

func pushed(seq int, position string) string {
	return fmt.Sprintf(`["log_pool",{"seq":%d},%s]`, seq, position)
}

func quiet(t *testing.T, f func(t *testing.T, b *bench, a *archive)) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{})
		f(t, b, b.remember())
	})
}

func TestReplaySince(t *testing.T) {
	quiet(t, func(t *testing.T, b *bench, a *archive) {
		p0 := b.durable(a, pool1, member(0))
		b.durable(a, logs1, member(1)) // not for it
		b.durable(a, pool1, `{"kind":"moderation","payload":{"seq":2}}`)
		p3 := b.durable(a, pool1, member(3))
		a.add(pool1, nil) // garbage
		s, got := b.spectate("s", "2", m{"since": p0.String()})
		end, _ := a.Position("1")
		wantAll(t, got, spectates(at(end), true, 1), pushed(3, at(p3)))
		p5 := b.durable(a, pool1, member(5))
		b.g.Message(pool1, history.Position{}, []byte(member(6)))
		wantAll(t, b.take(s), pushed(5, at(p5)), pushed(6, "null"))
		if f := b.g.streams.of("1").followers; len(f) > 0 || b.g.filter.Len() != 1 {
			t.Errorf("%d follow, %d are live", len(f), b.g.filter.Len())
		}
	})
}

func TestReplayCannotRecover(t *testing.T) {
	quiet(t, func(t *testing.T, b *bench, a *archive) {
		var all []history.Position
		for i := range 10 {
			all = append(all, b.durable(a, pool1, member(i)))
		}
		a.trim("1", 5)
		last := all[9]
		for name, since := range map[string]history.Position{
			"trimmed": all[2], "of the future": {Time: last.Time + 1}, "of another guild": {Time: all[6].Time, Seq: 99},
			"the beginning": {},
		} {
			_, got := b.spectate(name, "2", m{"since": since.String()})
			wantAll(t, got, spectates(at(last), false, 0))
			_, got = b.spectate(name+" and a backlog", "2", m{"since": since.String(), "backlog": 2})
			wantAll(t, got, spectates(at(last), false, 2), pushed(8, at(all[8])), pushed(9, at(last)))
		}
		_, got := b.spectate("still there", "2", m{"since": all[5].String(), "backlog": 1})
		wantAll(t, got, spectates(at(last), true, 4), pushed(6, at(all[6])), pushed(7, at(all[7])),
			pushed(8, at(all[8])), pushed(9, at(last)))
	})
}

func TestReplayOfABeginning(t *testing.T) {
	quiet(t, func(t *testing.T, b *bench, a *archive) {
		s, got := b.spectate("s", "2", m{"positions": true})
		wantAll(t, got, spectates(`"0-0"`, false, 0))
		b.g.disconnected(s)
		p := b.durable(a, pool1, member(0))
		_, got = b.spectate("s", "2", m{"since": "0-0"})
		wantAll(t, got, spectates(at(p), true, 1), pushed(0, at(p)))
	})
}

func TestBacklogIsOfWhatTheClientMaySee(t *testing.T) {
	quiet(t, func(t *testing.T, b *bench, a *archive) {
		var seen []history.Position
		for i := range 900 {
			p := b.durable(a, event.Topic{Guild: "1", Logs: i%3 == 0}, member(i))
			if i%3 > 0 {
				seen = append(seen, p)
			}
		}
		_, got := b.spectate("s", "2", m{"backlog": 500})
		if len(got) != 501 || got[1] != pushed(151, at(seen[100])) || got[500] != pushed(899, at(seen[599])) {
			t.Errorf("%d came, from %s to %s", len(got), got[1], got[len(got)-1])
		}
	})
}

// A node that is behind knows less than the client that comes to it: it skips what the client has.
func TestReplayAheadOfTheNode(t *testing.T) {
	quiet(t, func(t *testing.T, b *bench, a *archive) {
		p0 := b.durable(a, pool1, member(0))
		b.streams.position = func(string) (history.Position, bool) { return p0, true }
		p1, p2 := a.add(pool1, []byte(member(1))), a.add(pool1, []byte(member(2)))
		s, got := b.spectate("s", "2", m{"since": p1.String()})
		wantAll(t, got, spectates(at(p1), true, 0))
		b.g.Message(pool1, p1, []byte(member(1)))
		b.g.Message(pool1, p2, []byte(member(2)))
		time.Sleep(followStep)
		synctest.Wait()
		wantAll(t, b.take(s), pushed(2, at(p2)))
	})
}

func TestMarkersEndWhatCanBeRecovered(t *testing.T) {
	quiet(t, func(t *testing.T, b *bench, a *archive) {
		s, _ := b.spectate("s", "2", m{"positions": true})
		p0 := b.durable(a, pool1, member(0))
		p1 := b.durable(a, pool1, string(history.Marker("relay")))
		p2 := b.durable(a, pool1, member(2))
		time.Sleep(time.Second)
		wantAll(t, b.take(s), pushed(0, at(p0)), pushed(2, at(p2)), `["resync",{"guild_id":"1","reason":"relay"}]`)
		_, got := b.spectate("before", "2", m{"since": p0.String()})
		wantAll(t, got, spectates(at(p2), false, 0))
		_, got = b.spectate("behind", "2", m{"since": p1.String()})
		wantAll(t, got, spectates(at(p2), true, 1), pushed(2, at(p2)))
	})
}

// What is left out for a slow client is replayed once it reads again, in place of a resync, and in order with what is
// live.
func TestSlowClientIsReplayedWhatItMissed(t *testing.T) {
	for _, positions := range []bool{false, true} {
		t.Run(fmt.Sprint(positions), func(t *testing.T) {
			quiet(t, func(t *testing.T, b *bench, a *archive) {
				s, _ := b.spectate("s", "2", m{"positions": positions, "include_logs": true})
				var want []string
				add := func(topic event.Topic, seq int) {
					p := b.durable(a, topic, member(seq))
					name := map[bool]string{false: "log_pool", true: "log_other"}[topic.Logs]
					text := fmt.Sprintf(`[%q,{"seq":%d}`, name, seq)
					if positions {
						text += "," + at(p)
					}
					want = append(want, text+"]")
				}
				add(pool1, 0)
				slow := true
				b.sheds = func(_ *engine.Conn, args []byte) bool {
					return slow && strings.HasPrefix(string(args), `["log_pool"`)
				}
				b.resumes = func(*engine.Conn) bool { return !slow }
				full := make(chan struct{})
				b.full = full
				for seq := 1; seq < 400; seq++ {
					add(event.Topic{Guild: "1", Logs: seq%2 == 0}, seq) // logs would not be left out
				}
				if got := b.take(s); len(got) != 1 {
					t.Fatalf("%d events reached a client that does not read", len(got))
				}
				slow = false
				close(full)
				add(pool1, 400)
				time.Sleep(time.Second)
				add(pool1, 401)
				wantAll(t, b.take(s), want[1:]...)
			})
		})
	}
}

// A window that is full drops what slow clients have not had: they get it from the history, and a resync for what is
// not in there.
func TestSlowClientOutlastsTheWindow(t *testing.T) {
	for _, plain := range []bool{false, true} {
		t.Run(fmt.Sprint(plain), func(t *testing.T) {
			quiet(t, func(t *testing.T, b *bench, a *archive) {
				b.g.limits().GuildReplayBytes = 10_000
				s, _ := b.spectate("s", "2", m{"positions": true})
				slow := true
				b.sheds = func(*engine.Conn, []byte) bool { return slow }
				b.resumes = func(*engine.Conn) bool { return !slow }
				full := make(chan struct{})
				b.full = full
				var want []string
				for seq := range 300 {
					want = append(want, pushed(seq, at(b.durable(a, pool1, member(seq)))))
					if plain && seq == 5 {
						b.g.Message(pool1, history.Position{}, []byte(member(1000)))
					}
				}
				slow = false
				close(full)
				time.Sleep(time.Second)
				if plain {
					want = append(want, `["resync",{"guild_id":"1","reason":"client_overflow"}]`)
				}
				wantAll(t, b.take(s), want...)
			})
		})
	}
}

// A replay ends with what it was asked under.
func TestReplayEnds(t *testing.T) {
	for name, end := range map[string]func(b *bench, s *session, token string){
		"demoted": func(_ *bench, s *session, token string) { s.send("demote", m{"token": token}) },
		"left":    func(_ *bench, s *session, token string) { s.send("spectate", m{"token": token, "guild_id": nil}) },
		"gone":    func(b *bench, s *session, _ string) { b.g.disconnected(s) },
		"expired": func(*bench, *session, string) { time.Sleep(2 * time.Hour) },
		"narrowed": func(_ *bench, s *session, _ string) {
			s.send("request_elevation", m{"token": claims("s", time.Now().Add(time.Second), time.Hour, `{}`)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			quiet(t, func(t *testing.T, b *bench, a *archive) {
				p := b.durable(a, pool1, member(0))
				for seq := 1; seq < 1000; seq++ {
					b.durable(a, pool1, member(seq))
				}
				full := make(chan struct{})
				b.full = full
				token := claims("s", time.Now(), time.Hour, `{"1":2}`)
				s, got := b.spectate("s", "2", m{"since": p.String()})
				if len(got) != 1 {
					t.Fatalf("%d came before the client reads", len(got))
				}
				end(b, s, token)
				b.take(s)
				close(full)
				time.Sleep(time.Minute)
				for _, e := range b.take(s) {
					if strings.HasPrefix(e, `["log_`) {
						t.Fatalf("%s came afterwards", e)
					}
				}
				if st := b.g.streams.of("1"); st != nil && len(st.followers) > 0 {
					t.Error("it still follows")
				}
			})
		})
	}
}

func TestRecallIsChecked(t *testing.T) {
	quiet(t, func(t *testing.T, b *bench, a *archive) {
		for _, bad := range []m{
			{"since": "yesterday"}, {"since": 5}, {"since": "1-"}, {"since": "-1-0"},
			{"since": strings.Repeat("1", 200_000)},
			{"since": "99999999999999999999-0"}, {"backlog": 501}, {"backlog": -1}, {"backlog": "all"},
			{"positions": "yes"},
		} {
			_, got := b.spectate(fmt.Sprint(len(b.g.sessions)), "2", bad)
			if len(got) != 1 || !strings.Contains(got[0], `"message":"malformed"`) {
				t.Errorf("%.60v: %.200q", bad, got)
			}
		}
		_, got := b.spectate("null", "2", m{"since": nil, "backlog": nil, "positions": nil})
		wantAll(t, got, `["spectate_return",{"success":true,"guild_id":"1","include_logs":false,"permissions":274}]`)
	})
}

// A window that begins anew, and so loses what a follower has yet to get, is no loss.
func TestFollowersReadBack(t *testing.T) {
	quiet(t, func(t *testing.T, b *bench, a *archive) {
		p0 := b.durable(a, pool1, member(0))
		want := []string{""}
		for seq := 1; seq < 300; seq++ {
			want = append(want, pushed(seq, at(b.durable(a, pool1, member(seq)))))
		}
		full := make(chan struct{})
		b.full = full
		s, got := b.spectate("s", "2", m{"since": p0.String()})
		want[0] = got[0]
		st := b.g.streams.of("1")
		st.mu.Lock()
		st.window.partial = true
		st.mu.Unlock()
		if err := st.mend(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		close(full)
		time.Sleep(time.Second)
		wantAll(t, append(got, b.take(s)...), want...)
	})
}

// A node does not hear of logs while nobody on it spectates with them. Who comes with them gets those, too.
func TestLogsThatNobodyHeardAreReplayed(t *testing.T) {
	for _, last := range []bool{false, true} {
		t.Run(fmt.Sprint(last), func(t *testing.T) {
			quiet(t, func(t *testing.T, b *bench, a *archive) {
				p0 := b.durable(a, pool1, member(0))
				other, _ := b.spectate("other", "2", m{"since": p0.String()}) // so that there is a window
				p1, p2 := a.add(logs1, []byte(member(1))), b.durable(a, pool1, member(2))
				if last {
					p2 = a.add(logs1, []byte(member(2)))
				}
				b.streams.passed = func() (history.Position, bool) { return p2, true }
				s, got := b.spectate("s", "2", m{"since": p0.String(), "include_logs": true})
				if n := strings.Count(strings.Join(got, ""), "log_other"); n != map[bool]int{false: 1, true: 2}[last] ||
					!strings.Contains(got[0], `"recovered":true`) || !strings.Contains(got[1], at(p1)) {
					t.Errorf("got %q", got)
				}
				b.take(other)
				p3 := b.durable(a, pool1, member(3))
				wantAll(t, b.take(s), pushed(3, at(p3)))
				wantAll(t, b.take(other), pushed(3, at(p3)))
			})
		})
	}
}

// An event that got lost on its way to the node is not left out for those who come after the resync.
func TestReplayAfterALoss(t *testing.T) {
	quiet(t, func(t *testing.T, b *bench, a *archive) {
		p0 := b.durable(a, pool1, member(0))
		b.spectate("other", "2", m{"since": p0.String()})
		p1, p2 := a.add(pool1, []byte(member(1))), b.durable(a, pool1, member(2))
		b.g.Resync([]event.Topic{pool1}, "message_lost")
		_, got := b.spectate("s", "2", m{"since": p0.String()})
		wantAll(t, got, spectates(at(p2), true, 2), pushed(1, at(p1)), pushed(2, at(p2)))
		a.trim("1", 0)
		a.trimmed["1"] = history.Position{}
		b.g.Resync([]event.Topic{pool1}, "history_lost")
		_, got = b.spectate("late", "2", m{"since": p2.String()})
		wantAll(t, got, spectates(at(p2), false, 0))
	})
}

// A refresh changes the claims, and nothing else.
func TestRefreshKeepsPositions(t *testing.T) {
	quiet(t, func(t *testing.T, b *bench, a *archive) {
		s, _ := b.spectate("s", "2", m{"positions": true})
		s.send("request_elevation", m{"token": claims("s", time.Now().Add(time.Second), time.Hour, `{"1":2}`)})
		b.take(s)
		p := b.durable(a, pool1, member(0))
		wantAll(t, b.take(s), pushed(0, at(p)))
		s.send("spectate", m{"guild_id": "1", "token": claims("s", time.Now(), time.Hour, `{"1":2}`)})
		b.take(s)
		b.durable(a, pool1, member(1))
		wantAll(t, b.take(s), `["log_pool",{"seq":1}]`)
	})
}

// Redis that is away for a moment has lost nothing: the client tries again.
func TestReplayWhileRedisIsAway(t *testing.T) {
	quiet(t, func(t *testing.T, b *bench, a *archive) {
		p0, p1 := b.durable(a, pool1, member(0)), b.durable(a, pool1, member(1))
		b.streams.position = func(string) (history.Position, bool) { return p1, true }
		a.err = history.ErrUnavailable
		_, got := b.spectate("s", "2", m{"since": p0.String()})
		if len(got) != 1 || !strings.Contains(got[0], `"redis_unavailable"`) {
			t.Errorf("got %q", got)
		}
		a.err = nil
		_, got = b.spectate("again", "2", m{"since": p0.String()})
		wantAll(t, got, spectates(at(p1), true, 1), pushed(1, at(p1)))
	})
}

// Without a history that can be read, everything works but the past.
func TestNoHistory(t *testing.T) {
	quiet(t, func(t *testing.T, b *bench, a *archive) {
		a.err = history.ErrUnreadable
		s, got := b.spectate("s", "2", m{"since": "5-5", "backlog": 5})
		wantAll(t, got, spectates("null", false, 0))
		b.g.Message(pool1, history.Position{}, []byte(member(1)))
		wantAll(t, b.take(s), pushed(1, "null"))
	})
}

// Those who come back together cost a few readings.
func TestReplaysShareReadings(t *testing.T) {
	quiet(t, func(t *testing.T, b *bench, a *archive) {
		var all []history.Position
		for i := range 300 {
			all = append(all, b.durable(a, pool1, member(i)))
		}
		a.pause = time.Millisecond
		for i := range 200 {
			s := b.socket(fmt.Sprint(i))
			token := claims(fmt.Sprint(i), time.Now(), time.Hour, `{"1":2}`)
			go func() {
				s.send("request_elevation", m{"token": token})
				s.send("spectate", m{"token": token, "guild_id": "1", "since": all[i].String()})
			}()
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if a.reads > 10 {
			t.Errorf("%d readings", a.reads)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		events := 0
		for _, got := range b.got {
			events += len(got) - 2
		}
		if want := 200*299 - 199*200/2; events != want {
			t.Errorf("%d events were replayed, want %d", events, want)
		}
	})
}

// A client may be at an event that this node has not heard, such as a log entry where nobody wants them. The history
// knows it, though the window that is open does not.
func TestReplaySinceWhatNobodyHeard(t *testing.T) {
	quiet(t, func(t *testing.T, b *bench, a *archive) {
		p0 := b.durable(a, pool1, member(0))
		b.spectate("first", "2", m{"since": p0.String()}) // opens a window
		unheard := a.add(logs1, []byte(member(1)))
		p2 := b.durable(a, pool1, member(2))
		p3 := b.durable(a, pool1, member(3))
		_, got := b.spectate("second", "2", m{"since": unheard.String()})
		wantAll(t, got, spectates(at(p3), true, 2), pushed(2, at(p2)), pushed(3, at(p3)))
		foreign := history.Position{Time: p2.Time, Seq: p2.Seq + 7} // of no event
		_, got = b.spectate("third", "2", m{"since": foreign.String()})
		wantAll(t, got, spectates(at(p3), false, 0))
	})
}
