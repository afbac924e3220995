package handlers

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/architus/guildcast/internal/test/race"
)

// slowCache is a cache whose pools have pages of pageSize entities; reading takes a millisecond.
type slowCache struct {
	size int // entities of a pool; 0: nothing is cached

	mu    sync.Mutex
	reads int // Redis commands, roughly
}

const pageSize = 500

func (c *slowCache) read() {
	c.mu.Lock()
	c.reads++
	c.mu.Unlock()
	time.Sleep(time.Millisecond)
}

func (c *slowCache) Get(_ context.Context, _, _ string, ids []string) ([][]byte, error) {
	c.read()
	values := make([][]byte, len(ids))
	for i, id := range ids {
		values[i] = fmt.Appendf(nil, `{"id":%q}`, id)
	}
	return values, nil
}

func (c *slowCache) Scan(
	_ context.Context, _, _ string, cursor uint64,
) (ids []string, values [][]byte, next uint64, err error) {
	c.read()
	ids, next = c.page(cursor)
	for _, id := range ids {
		values = append(values, fmt.Appendf(nil, `{"id":%q}`, id))
	}
	return ids, values, next, nil
}

func (c *slowCache) Online(_ context.Context, _ string, cursor uint64) (ids []string, next uint64, err error) {
	c.read()
	ids, next = c.page(cursor)
	return ids, next, nil
}

// page repeats the last entity of the page before, as Redis may.
func (c *slowCache) page(cursor uint64) (ids []string, next uint64) {
	for i := max(int(cursor), 1) - 1; i < min(int(cursor)+pageSize, c.size); i++ {
		ids = append(ids, strconv.Itoa(i+1))
	}
	if int(cursor)+pageSize < c.size {
		next = cursor + pageSize
	}
	return ids, next
}

func (c *slowCache) All(context.Context, string, string, func([]string, [][]byte) error) error {
	panic("nobody searches")
}

// slowWorker answers every request with two entities, after a second.
type slowWorker struct {
	bytes int // of each

	mu    sync.Mutex
	asked int
}

func (w *slowWorker) Do(ctx context.Context, _, _ string, _ []byte, part func([]byte) error) error {
	w.mu.Lock()
	w.asked++
	w.mu.Unlock()
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return ctx.Err()
	}
	filler := strings.Repeat("x", w.bytes)
	return part(fmt.Appendf(nil, `{"data":[{"id":"1","x":%q},{"id":"2","x":%q}]}`, filler, filler))
}

// herd makes spectators of this many guilds ask for six pools each, all at the same time. It returns how many entities
// they got, by request, and how many errors.
func herd(b *bench, spectators, guilds int) (entities map[string]int, errs int) {
	queries := []m{
		{"type": "member", "request": "online"}, {"type": "channel"}, {"type": "role"}, {"type": "autoResponse"},
		{"type": "customEmoji"}, {"type": "settingValue"},
	}
	var sockets []*session
	for i := range spectators {
		s, guild := b.socket(fmt.Sprint(i)), strconv.Itoa(1+i%guilds)
		token := claims(fmt.Sprint(i), time.Now(), time.Hour, `{"`+guild+`":256}`)
		s.send("request_elevation", m{"token": token})
		b.take(s)
		for j, q := range queries {
			body := m{"token": token, "guild_id": guild, "_id": j}
			for k, v := range q {
				body[k] = v
			}
			s.send("pool", body)
		}
		sockets = append(sockets, s)
	}
	for b.g.slots.inProgress() > 0 {
		time.Sleep(time.Second) // of the bubble's clock
	}
	entities = map[string]int{}
	for _, s := range sockets {
		for _, got := range b.take(s) {
			if strings.HasPrefix(got, `["error"`) {
				errs++
				continue
			}
			if strings.Contains(got, `"finished":true`) {
				entities["answers"]++
			}
			if !strings.Contains(got, `"type":"user"`) {
				entities["entities"] += strings.Count(got, `{"id"`)
			}
		}
		b.g.disconnected(s)
	}
	return entities, errs
}

// Requests for the same pool that come at the same time share the pages that are read from the cache.
func TestHerdReadsTheCacheOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const guilds, size = 20, 1200
		spectators := race.Rounds(1000, 200)
		b := newBench(t, Config{Limits: Limits{SocketRate: -1, UserRate: -1, AddressRate: -1}})
		cache := &slowCache{size: size}
		b.g.pools = cache
		got, errs := herd(b, spectators, guilds)
		if errs > 0 || got["answers"] != 6*spectators || got["entities"] != 6*spectators*size {
			t.Errorf("%d errors, %v", errs, got)
		}
		// Three pages of each pool, twice, and for members those who are online and their users.
		most := guilds * 3 * 2 * (5 + 3)
		if t.Logf("%d requests took %d reads", 6*spectators, cache.reads); cache.reads > most {
			t.Errorf("at most %d are needed", most)
		}
		if n := len(b.g.pages.tables); n > 0 || b.g.pages.bytes > 0 {
			t.Errorf("%d tables and %d bytes are left", n, b.g.pages.bytes)
		}
	})
}

// If nothing is cached, the workers are asked once or twice for each pool.
func TestHerdAsksTheWorkersOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const guilds = 20
		spectators := race.Rounds(1000, 200)
		b := newBench(t, Config{Limits: Limits{SocketRate: -1, UserRate: -1, AddressRate: -1}})
		worker := &slowWorker{}
		b.g.pools, b.g.backend = &slowCache{}, worker
		got, errs := herd(b, spectators, guilds)
		if errs > 0 || got["answers"] != 6*spectators || got["entities"] != 2*5*spectators {
			t.Errorf("%d errors, %v", errs, got)
		}
		if t.Logf("%d requests asked %d times", 6*spectators, worker.asked); worker.asked > 2*5*guilds {
			t.Errorf("at most %d are needed", 2*5*guilds)
		}
		if n := len(b.g.results.tables); n > 0 || b.g.results.bytes > 0 {
			t.Errorf("%d tables and %d bytes are left", n, b.g.results.bytes)
		}
	})
}

// A client never gets what was read before it asked: it may ask because of an event that came since.
func TestAnswersAreNoOlderThanTheirRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{})
		cache := &versioned{}
		b.g.pools = cache
		var all sync.WaitGroup
		for i := range 40 {
			s := b.socket(fmt.Sprint(i))
			token := claims(fmt.Sprint(i), time.Now(), time.Hour, `{"7":0}`)
			s.send("request_elevation", m{"token": token})
			b.take(s)
			all.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Microsecond)
				cache.mu.Lock()
				cache.version++
				now := cache.version
				cache.mu.Unlock()
				s.send("pool", m{"token": token, "guild_id": "7", "type": "role"})
				synctest.Wait()
				time.Sleep(time.Second)
				got := b.take(s)
				if len(got) != 1 {
					t.Errorf("got %q", got)
					return
				}
				var version int
				data := got[0][strings.Index(got[0], `"data"`):]
				_, err := fmt.Sscanf(data, `"data":[{"id":"1","version":%d}`, &version)
				if err != nil || version < now {
					t.Errorf("asked at version %d, got %q", now, got[0])
				}
			})
		}
		all.Wait()
		if cache.reads > 25 {
			t.Errorf("40 requests in 4 ms took %d reads of 1 ms", cache.reads)
		}
	})
}

// versioned is a cache of one role, whose value is looked up when a read begins.
type versioned struct {
	slowCache
	version int // guarded by mu
}

func (c *versioned) Scan(context.Context, string, string, uint64) ([]string, [][]byte, uint64, error) {
	c.mu.Lock()
	value := fmt.Appendf(nil, `{"id":"1","version":%d}`, c.version)
	c.mu.Unlock()
	c.read()
	return []string{"1"}, [][]byte{value}, 0, nil
}

// Workers' answers are held until the client reads, and a user's share of them is bounded.
func TestWorkersAnswersHaveABudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{})
		b.g.pools, b.g.backend = &slowCache{}, &slowWorker{bytes: 3 << 20} // 6 MiB an answer
		s, other := b.socket("s"), b.socket("other")
		for _, s := range []*session{s, other} {
			token := claims(s.id, time.Now(), time.Hour, `{"7":256}`)
			s.send("request_elevation", m{"token": token})
			b.take(s)
			for i, kind := range []string{"channel", "role", "autoResponse", "settingValue"} {
				s.send("pool", m{"token": token, "guild_id": "7", "type": kind, "_id": i})
			}
		}
		time.Sleep(500 * time.Millisecond) // the workers have been asked; from here on no client reads
		synctest.Wait()
		reads := make(chan struct{})
		b.mu.Lock()
		b.full = reads
		b.mu.Unlock()
		time.Sleep(5 * time.Second)
		for _, s := range []*session{s, other} {
			got := b.take(s)
			if len(got) != 3 || strings.Count(strings.Join(got, ""), `"too_many_requests","code":429`) != 3 {
				t.Errorf("%s got %.300q", s.id, got)
			}
		}
		if used := usedOf(b.g.slots); used.requests != 2 || used.bytes < 12<<20 || used.bytes > 13<<20 {
			t.Errorf("%+v", used)
		}
		synctest.Wait()
		if held := b.g.results.bytes; held > 7<<20 {
			t.Errorf("the node holds %d bytes of one answer", held)
		}
		close(reads)
		time.Sleep(time.Second)
		for _, s := range []*session{s, other} {
			if got := b.take(s); len(got) != 1 || !strings.Contains(got[0], `"finished":true`) {
				t.Errorf("%s got %.300q", s.id, got)
			}
		}
		synctest.Wait()
		if used := usedOf(b.g.slots); used.requests != 0 || used.bytes != 0 || b.g.results.bytes != 0 {
			t.Errorf("%+v and %d bytes are left", used, b.g.results.bytes)
		}
	})
}

// usedOf is what the requests of elevated sockets hold.
func usedOf(x *slots) usage {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.elevated.used
}

func TestIDSet(t *testing.T) {
	var x idSet
	for _, id := range []string{
		"1", "18446744073709551615", "99999999999999999999", "01", "+1", "command_prefix", "0", "",
	} {
		if !x.add(id) || x.add(id) {
			t.Errorf("%q", id)
		}
	}
	if len(x.numbers) != 2 || len(x.names) != 6 {
		t.Errorf("%d numbers, %d names", len(x.numbers), len(x.names))
	}
	if got := x.appendNew([]string{"a"}, []string{"1", "2", "2", "3"}); strings.Join(got, " ") != "a 2 3" {
		t.Errorf("got %q", got)
	}
}
