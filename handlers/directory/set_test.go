package directory

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/internal/test/lifecycle"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type holder struct{ gone bool }

func (h *holder) Present() bool { return !h.gone }

// cache is a cache of pools that all have the same number of members.
type cache struct {
	portions, size int
	began          func(guild string) // called when a pool is read; nil does nothing
}

func (c *cache) Get(_ context.Context, _, _ string, ids []string) ([][]byte, error) {
	values := make([][]byte, len(ids))
	for i, id := range ids {
		values[i] = fmt.Appendf(nil, `{"id":%q,"name":"changed %s"}`, id, id)
	}
	return values, nil
}

func (c *cache) All(_ context.Context, guild, _ string, yield func([]string, [][]byte) error) error {
	if c.began != nil {
		c.began(guild)
	}
	for p := range c.portions {
		var ids []string
		var values [][]byte
		for i := range c.size {
			id := fmt.Sprint(1 + p*c.size + i)
			ids = append(ids, id)
			values = append(values, fmt.Appendf(nil, `{"id":%q,"name":"name %s"}`, id, id))
		}
		if err := yield(ids, values); err != nil {
			return err
		}
	}
	return nil
}

type noTopics struct{}

func (noTopics) Acquire(context.Context, event.Topic) (func(), error) { return func() {}, nil }

// held returns how many entities all directories hold, and how many are counted.
func (x *Set) held() (held, counted int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, d := range x.byPool {
		held += d.index.Len()
	}
	return held, x.entries
}

func TestBoundHoldsForPoolsBuiltAtOnce(t *testing.T) {
	const guilds, bound = 40, 1000
	var all sync.WaitGroup
	all.Add(guilds)
	c := &cache{portions: 10, size: 10, began: func(string) {
		all.Done()
		all.Wait() // so that no directory is built before the last one is begun
	}}
	x := New(c, noTopics{}, Options{MaxEntries: bound})
	lifecycle.Start(t, x.Run)
	var searches sync.WaitGroup
	for i := range guilds {
		searches.Go(func() {
			if _, _, err := x.Search(t.Context(), &holder{}, Pool{fmt.Sprint(i + 1), "member"}, "name",
				10); err != nil {
				t.Error(err)
			}
		})
	}
	searches.Wait()
	if held, counted := x.held(); held > bound || held != counted || held < bound/2 {
		t.Fatalf("%d entries are held, %d counted, at most %d may be", held, counted, bound)
	}
}

func TestOldestPoolMakesRoom(t *testing.T) {
	x := New(&cache{portions: 2, size: 50}, noTopics{}, Options{MaxEntries: 250})
	lifecycle.Start(t, x.Run)
	for i := range 4 {
		ids, cached, err := x.Search(t.Context(), &holder{}, Pool{fmt.Sprint(i + 1), "member"}, "name 7", 1)
		if err != nil || !cached || len(ids) != 1 || ids[0] != "7" {
			t.Fatalf("got %v, %v, %v", ids, cached, err)
		}
	}
	held, counted := x.held()
	if x.byPool[Pool{"1", "member"}] != nil || x.byPool[Pool{"4", "member"}] == nil || held != 200 || counted != 200 {
		t.Fatalf("%d entries are held, %d counted", held, counted)
	}
}

func TestDroppedWhileBuilt(t *testing.T) {
	var x *Set
	lost := 0
	c := &cache{portions: 1, size: 10, began: func(guild string) {
		if lost++; lost == 1 {
			x.Lost(guild)
		}
	}}
	x = New(c, noTopics{}, Options{})
	lifecycle.Start(t, x.Run)
	ids, cached, err := x.Search(t.Context(), &holder{}, Pool{"7", "member"}, "name 3", 1)
	if err != nil || !cached || len(ids) != 1 || lost != 2 {
		t.Fatalf("got %v, %v, %v after %d builds", ids, cached, err, lost)
	}
}

func TestGoneHolder(t *testing.T) {
	x := New(&cache{portions: 1, size: 1}, noTopics{}, Options{})
	stop := lifecycle.Start(t, x.Run)
	if _, _, err := x.Search(t.Context(), &holder{gone: true}, Pool{"7", "member"}, "name", 1); err != ErrGone {
		t.Fatalf("got %v", err)
	}
	stop()
	if _, _, err := x.Search(t.Context(), &holder{}, Pool{"7", "member"}, "name", 1); err != ErrGone {
		t.Fatalf("got %v from a closed set", err)
	}
}

// slowTopics are given up when released is closed.
type slowTopics struct{ released chan struct{} }

func (s slowTopics) Acquire(context.Context, event.Topic) (func(), error) {
	return func() { <-s.released }, nil
}

// The set closes while one search has made a directory and not come to build it, and another waits for it to be built.
func TestClosedWhileADirectoryIsMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topics := slowTopics{make(chan struct{})}
		x := New(&cache{portions: 1, size: 1}, topics, Options{MaxPools: 1})
		stop := lifecycle.Start(t, x.Run)
		search := func(guild string) {
			_, _, _ = x.Search(t.Context(), &holder{}, Pool{guild, "member"}, "name", 1)
		}
		search("1")
		var searches sync.WaitGroup
		searches.Go(func() { search("2") }) // gives up the topic of guild 1 first
		synctest.Wait()
		searches.Go(func() { search("2") })
		synctest.Wait()
		stopped := make(chan struct{})
		go func() { stop(); close(stopped) }()
		synctest.Wait()
		close(topics.released)
		searches.Wait()
		<-stopped
	})
}

func TestMentionsAreBounded(t *testing.T) {
	if n := len(mentions([]byte("[" + strings.Repeat("12,", 5000) + "12]"))); n != maxMentions {
		t.Fatalf("got %d ids", n)
	}
}
