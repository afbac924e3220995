package handlers

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/internal/test/race"
)

// resyncHerd makes spectators with logs of this many guilds, reports all topics of all guilds but the last as missed,
// and returns when each spectator got resyncs.
func resyncHerd(
	t *testing.T, spectators, guilds int,
) (b *bench, sockets []*session, at map[*engine.Conn][]time.Duration) {
	t.Helper()
	b = newBench(t, Config{Limits: Limits{SocketRate: -1, UserRate: -1, AddressRate: -1}})
	at = map[*engine.Conn][]time.Duration{}
	for i := range spectators {
		s, guild := b.socket(fmt.Sprint(i)), strconv.Itoa(1+i%guilds)
		token := claims(fmt.Sprint(i), time.Now(), time.Hour, `{"`+guild+`":6}`)
		s.send("request_elevation", m{"token": token})
		s.send("spectate", m{"token": token, "guild_id": guild, "include_logs": true})
		wantNames(t, b.take(s), "request_elevation_return", "spectate_return")
		sockets = append(sockets, s)
	}
	begin := time.Now()
	b.hook = func(c any, args []byte, made time.Time) {
		if strings.HasPrefix(string(args), `["resync"`) {
			at[c.(*engine.Conn)] = append(at[c.(*engine.Conn)], made.Sub(begin))
		}
	}
	return b, sockets, at
}

func topicsOf(guilds int) (topics []event.Topic) {
	for i := range guilds {
		guild := strconv.Itoa(i + 1)
		topics = append(topics, event.Topic{Guild: guild}, event.Topic{Guild: guild, Logs: true})
	}
	return topics
}

// Each spectator concerned gets one resync, a millisecond after the one before, those of a guild together. Nobody else
// gets one.
func TestResyncOncePerSpectator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const spectators, guilds = 1000, 20
		b, sockets, at := resyncHerd(t, spectators, guilds)
		b.g.Resync(topicsOf(guilds-1), "redis_lost")
		b.g.Resync(topicsOf(guilds-1), "overflow") // another loss before most are told
		time.Sleep(time.Minute)
		synctest.Wait()
		const concerned = spectators / guilds * (guilds - 1)
		perMilli := map[time.Duration]int{}
		first, last := map[string]time.Duration{}, map[string]time.Duration{}
		for i, s := range sockets {
			guild, got := s.watched.guild, at[s.conn()]
			want := 1
			if i%guilds == guilds-1 {
				want = 0
			}
			if len(got) != want {
				t.Fatalf("socket %d was told %v", i, got)
			}
			for _, d := range got {
				perMilli[d/time.Millisecond]++
				if _, there := first[guild]; !there {
					first[guild], last[guild] = d, d
				}
				first[guild], last[guild] = min(first[guild], d), max(last[guild], d)
			}
		}
		if len(perMilli) != concerned {
			t.Errorf("%d were told in %d different milliseconds", concerned, len(perMilli))
		}
		for guild := range first {
			if last[guild]-first[guild] > spectators/guilds*resyncStep {
				t.Errorf("spectators of guild %s were told from %v to %v", guild, first[guild], last[guild])
			}
		}
		if len(b.g.resyncs.pending) != 0 {
			t.Errorf("%d are left", len(b.g.resyncs.pending))
		}
		b.g.Resync(topicsOf(guilds), "redis_lost")
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := len(at[sockets[0].conn()]); got != 2 {
			t.Errorf("told %d times of two losses", got)
		}
	})
}

// The spread is bounded.
func TestResyncSpreadIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spectators := race.Rounds(20_000, 7_000) // a resyncStep each would take longer than resyncSpread
		b, sockets, at := resyncHerd(t, spectators, 1)
		b.g.Resync(topicsOf(1), "redis_lost")
		time.Sleep(resyncSpread)
		synctest.Wait()
		early := 0
		for _, s := range sockets {
			got := at[s.conn()]
			if len(got) != 1 {
				t.Fatalf("told %v", got)
			}
			if got[0] < resyncSpread/2 {
				early++
			}
		}
		if early < spectators*4/10 || early > spectators*6/10 {
			t.Errorf("%d of %d were told in the first half", early, spectators)
		}
	})
}

// A socket that turns away from the guild before its resync is due gets it at once.
func TestResyncOfWhatIsNoLongerSpectated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, sockets, at := resyncHerd(t, 100, 1)
		b.g.Resync(topicsOf(1), "redis_lost")
		synctest.Wait()
		left := 0
		for i, s := range sockets {
			if len(at[s.conn()]) == 0 {
				left++
				s.send("spectate", m{"token": claims(fmt.Sprint(i), time.Now(), time.Hour, `{"1":6}`), "guild_id": nil})
			}
		}
		synctest.Wait()
		if told := len(at); left < 50 || told != len(sockets) {
			t.Errorf("%d left before their turn, and %d of %d were told", left, told, len(sockets))
		}
		time.Sleep(time.Second)
		synctest.Wait()
		for i, s := range sockets {
			if got := at[s.conn()]; len(got) != 1 {
				t.Errorf("socket %d was told %v", i, got)
			}
		}
		if len(b.g.resyncs.pending) != 0 {
			t.Errorf("%d are left", len(b.g.resyncs.pending))
		}
	})
}
