package handlers

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/internal/test/race"
)

// reader is a client that falls behind now and then, and its history in words: "event 7 12" of guild 7, "shed 7 13",
// "resync 7", "spectates 7".
type reader struct {
	s   *session
	rng *rand.Rand

	mu      sync.Mutex
	behind  time.Time // until when
	history []string
}

// sheds decides about one event for it.
func (r *reader) sheds(args []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if !now.Before(r.behind) && r.rng.IntN(15) == 0 {
		r.behind = now.Add(time.Duration(1+r.rng.IntN(80_000)) * time.Microsecond)
	}
	if !now.Before(r.behind) {
		return false
	}
	r.history = append(r.history, strings.Replace(word(args), "event", "shed", 1))
	return true
}

func (r *reader) resumes() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !time.Now().Before(r.behind)
}

func (r *reader) hear(args []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history = append(r.history, word(args))
}

func word(args []byte) string {
	var list []json.RawMessage
	var name string
	var body struct {
		GuildID string `json:"guild_id"`
		Seq     int    `json:"seq"`
		Reason  string `json:"reason"`
	}
	if json.Unmarshal(args, &list) != nil || json.Unmarshal(list[0], &name) != nil ||
		json.Unmarshal(list[1], &body) != nil {
		panic("no event: " + string(args))
	}
	switch name {
	case "log_pool":
		return fmt.Sprintf("event %s %d", body.GuildID, body.Seq)
	case "spectate_return":
		return "spectates " + body.GuildID
	case "resync":
		if body.Reason != "client_overflow" {
			panic(string(args))
		}
		return "resync " + body.GuildID
	}
	return name
}

// check goes through the history: every event came, or was left out and a resync of its guild followed, once, and
// before the guild was left.
func (r *reader) check(t *testing.T) (shed, resyncs int) {
	t.Helper()
	owed := map[string]bool{} // guilds of which something was left out since their last resync
	late := map[string]bool{} // and before that: a resync may be on its way while the client falls behind again
	guild, last := "", -1
	for i, h := range r.history {
		var g string
		var seq int
		switch {
		case strings.HasPrefix(h, "spectates "):
			g = strings.TrimPrefix(h, "spectates ")
			if owed[guild] && g != guild {
				t.Fatalf("%s was left without a word, at the end of %q", guild, r.history[max(0, i-20):i+1])
			}
			guild, last = g, -1
			continue
		case strings.HasPrefix(h, "resync "):
			g = strings.TrimPrefix(h, "resync ")
			if !owed[g] && !late[g] || g != guild {
				t.Fatalf("%q without a reason, at the end of %q", h, r.history[max(0, i-20):i+1])
			}
			late[g], owed[g] = owed[g], false
			resyncs++
			continue
		case h == "request_elevation_return":
			continue
		}
		if _, err := fmt.Sscanf(h, "event %s %d", &g, &seq); err != nil {
			if _, err := fmt.Sscanf(h, "shed %s %d", &g, &seq); err != nil {
				t.Fatalf("strange %q", h)
			}
			owed[g] = true
			shed++
		}
		if g != guild {
			continue // between the filter's change and the answer
		}
		if last >= 0 && seq != last+1 {
			t.Fatalf("%d after %d, at the end of %q", seq, last, r.history[max(0, i-20):i+1])
		}
		last = seq
	}
	if owed[guild] {
		t.Errorf("no resync after the last event that was left out; the end is %q",
			r.history[max(0, len(r.history)-20):])
	}
	return shed, resyncs
}

// Clients fall behind at random and switch guilds meanwhile: nothing is missing without a resync behind it, and nothing
// is told twice.
func TestNothingIsMissingWithoutAResync(t *testing.T) {
	for seed := range race.Rounds[uint64](6, 2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { fallBehind(t, seed) })
		})
	}
}

func fallBehind(t *testing.T, seed uint64) {
	b := newBench(t, Config{Limits: Limits{SocketRate: -1, UserRate: -1, AddressRate: -1}})
	readers := map[*engine.Conn]*reader{} // static once clients run
	b.hook = func(c any, args []byte, _ time.Time) { readers[c.(*engine.Conn)].hear(args) }
	b.sheds = func(c *engine.Conn, args []byte) bool { return readers[c].sheds(args) }
	b.resumes = func(c *engine.Conn) bool { return readers[c].resumes() }
	b.pace = 300 * time.Microsecond
	for i := range 12 {
		s := b.socket(fmt.Sprint(i))
		readers[s.conn()] = &reader{s: s, rng: rand.New(rand.NewPCG(seed, uint64(i)))}
	}
	stop := make(chan struct{})
	var publishers, clients sync.WaitGroup
	for guild := range 3 {
		publishers.Go(func() {
			rng := rand.New(rand.NewPCG(seed, 100+uint64(guild)))
			for seq := 0; ; seq++ {
				select {
				case <-stop:
					return
				case <-time.After(time.Duration(rng.IntN(2000)) * time.Microsecond):
				}
				b.g.Message(event.Topic{Guild: fmt.Sprint(guild)}, history.Position{},
					fmt.Appendf(nil, `{"kind":"member","payload":{"guild_id":"%d","seq":%d}}`, guild, seq))
			}
		})
	}
	for _, r := range readers {
		clients.Go(func() {
			token := claims(r.s.id, time.Now(), time.Hour, `{"0":0,"1":0,"2":0}`)
			r.s.send("request_elevation", m{"token": token})
			rng := rand.New(rand.NewPCG(seed, 1000))
			for range 30 {
				r.s.send("spectate", m{"token": token, "guild_id": fmt.Sprint(rng.IntN(3))})
				time.Sleep(time.Duration(rng.IntN(150_000)) * time.Microsecond)
			}
		})
	}
	clients.Wait()
	close(stop)
	publishers.Wait()
	time.Sleep(time.Second) // all catch up, in a test's time
	synctest.Wait()
	shed, resyncs := 0, 0
	for _, r := range readers {
		n, m := r.check(t)
		shed, resyncs = shed+n, resyncs+m
		b.g.disconnected(r.s)
	}
	t.Logf("%d events left out, %d resyncs", shed, resyncs)
	if shed < 1000 || resyncs < 100 {
		t.Error("this proves little")
	}
	if n := len(b.g.stragglers.missed) + len(b.g.stragglers.owed); n > 0 || b.g.stragglers.watching {
		t.Errorf("%d stragglers are left", n)
	}
}
