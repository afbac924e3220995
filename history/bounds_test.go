package history_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/internal/test/redistest"
	"github.com/architus/guildcast/internal/test/wait"
)

// large is an event of so many bytes.
func large(size int) []byte {
	frame := len(`{"payload":""}`)
	return []byte(`{"payload":"` + strings.Repeat("x", size-frame) + `"}`)
}

func TestHistoryIsBoundedByBytes(t *testing.T) {
	redistest.Each(t, func(t *testing.T, client goredis.UniversalClient) {
		p := history.NewPublisher(client, history.PublisherOptions{})
		r := history.NewReader(client, history.ReaderOptions{})
		const mib = 1<<20 - 1<<12 // Redis takes a little more for each
		ps := []history.Position{add(t, p, pool, message(0))}
		for i := range 13 {
			ps = append(ps, add(t, p, pool, large(mib+i)))
		}
		if page := after(t, r, ps[0], 100, true); len(page.Entries) != 13 {
			t.Fatalf("%d entries of 13", len(page.Entries))
		}
		for range 2 {
			ps = append(ps, add(t, p, pool, large(2*mib)))
			n := len(ps)
			page := after(t, r, history.Position{}, 100, false)
			bytes := 0
			for _, e := range page.Entries {
				bytes += len(e.Message)
			}
			if bytes > 14<<20 || bytes < 10*mib || page.Entries[len(page.Entries)-1].Position != ps[n-1] {
				t.Errorf("%d bytes in %d entries after %d events", bytes, len(page.Entries), n)
			}
			first := n - len(page.Entries)
			after(t, r, ps[first-1], 100, true) // the last that was trimmed
			after(t, r, ps[first-2], 100, false)
		}
		add(t, p, pool, large(4<<20))
		if page := after(t, r, ps[len(ps)-1], 100, true); len(page.Entries) != 1 {
			t.Errorf("the newest is not there: %d entries", len(page.Entries))
		}
	})
}

func TestHistoryIsBoundedByBytesWithoutMemoryUsage(t *testing.T) {
	s := redistest.Start(t)
	c := s.Client()
	if err := c.Do(t.Context(), "ACL", "SETUSER", "default", "-memory").Err(); err != nil {
		t.Fatal(err)
	}
	p := history.NewPublisher(c, history.PublisherOptions{})
	for range 8 {
		add(t, p, pool, large(4<<20-100))
	}
	if n := c.XLen(t.Context(), key).Val(); n != 3 {
		t.Errorf("%d entries of 4 MiB", n)
	}
}

func TestScriptRefuses(t *testing.T) {
	redistest.Each(t, func(t *testing.T, client goredis.UniversalClient) {
		const channel, other = guild, "1"
		for name, args := range map[string][]any{
			"key":     {"guildcast:history:{x}", channel, `{"payload":1}`, 10, 1000},
			"channel": {key, other, `{"payload":1}`, 10, 1000},
			"logs":    {key, other + "_logs", `{"payload":1}`, 10, 1000},
			"braces":  {key, "{1" + guild + "}", `{"payload":1}`, 10, 1000},
			"entries": {key, channel, `{"payload":1}`, "many", 1000},
			"age":     {key, channel, `{"payload":1}`, 10, -1},
			"no age":  {key, channel, `{"payload":1}`, 10},
			"size":    {key, channel, strings.Repeat("x", 4<<20+1), 10, 1000},
		} {
			err := client.Eval(t.Context(), history.Script, []string{args[0].(string)}, args[1:]...).Err()
			if err == nil || !strings.HasPrefix(err.Error(), "ERR ") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if n := client.Exists(t.Context(), key).Val(); n != 0 {
			t.Error("something was kept")
		}
		// 0 entries would be none: the one just added stays.
		err := client.Eval(t.Context(), history.Script, []string{key}, channel, `{"payload":1}`, 0, 0).Err()
		if err != nil {
			t.Fatal(err)
		}
		if n := client.XLen(t.Context(), key).Val(); n != 1 {
			t.Errorf("%d entries", n)
		}
	})
}

func TestScriptIsForgotten(t *testing.T) {
	redistest.Each(t, func(t *testing.T, client goredis.UniversalClient) {
		p := history.NewPublisher(client, history.PublisherOptions{})
		r := history.NewReader(client, history.ReaderOptions{})
		var last history.Position
		for i := range 3 {
			last = add(t, p, pool, message(i))
			if err := flushScripts(t, client); err != nil {
				t.Fatal(err)
			}
			lasts, err := r.Last(t.Context(), []string{guild, "1"})
			if err != nil || lasts[0].Position != last || lasts[1] != (history.Last{}) {
				t.Errorf("lasts are %+v, %v", lasts, err)
			}
			if m, err := r.Marks(t.Context(), guild, last, 1); err != nil || !m.Whole || len(m.Marks) != 0 {
				t.Errorf("marks are %+v, %v", m, err)
			}
			after(t, r, history.Position{}, 10, true)
		}
	})
}

func flushScripts(t *testing.T, client goredis.UniversalClient) error {
	if c, ok := client.(*goredis.ClusterClient); ok {
		return c.ForEachMaster(t.Context(), func(ctx context.Context, c *goredis.Client) error {
			return c.ScriptFlush(ctx).Err()
		})
	}
	return client.ScriptFlush(t.Context()).Err()
}

func TestHistoryIsSomethingElse(t *testing.T) {
	redistest.Each(t, func(t *testing.T, client goredis.UniversalClient) {
		if err := client.Set(t.Context(), key, "x", 0).Err(); err != nil {
			t.Fatal(err)
		}
		unreadable(t, client)
		if client.Get(t.Context(), key).Val() != "x" {
			t.Error("the key was changed")
		}
	})
}

// unreadable wants ErrUnreadable from everything, and that other guilds do not suffer.
func unreadable(t *testing.T, client goredis.UniversalClient) {
	t.Helper()
	r := history.NewReader(client, history.ReaderOptions{})
	p := history.NewPublisher(client, history.PublisherOptions{})
	_, failed := p.Publish(t.Context(), pool, message(1))
	_, after := r.After(t.Context(), guild, history.Position{}, 10)
	_, somewhere := r.After(t.Context(), guild, history.Position{Time: 5}, 10)
	_, marks := r.Marks(t.Context(), guild, history.Position{}, 10)
	lasts, err := r.Last(t.Context(), []string{guild, "1"})
	if err != nil || lasts[1].Err != nil {
		t.Errorf("the end of another guild: %+v, %v", lasts[1], err)
	}
	for i, err := range []error{failed, after, somewhere, marks, lasts[0].Err} {
		if !errors.Is(err, history.ErrUnreadable) || errors.Is(err, history.ErrUnavailable) {
			t.Errorf("error %d is %v", i, err)
		}
	}
}

func TestUserHasNoRights(t *testing.T) {
	s := redistest.Start(t)
	admin := s.Client()
	user := func(rules ...any) *goredis.Client {
		t.Helper()
		args := append([]any{"ACL", "SETUSER", "u", "reset", "on", ">p"}, rules...)
		if err := admin.Do(t.Context(), args...).Err(); err != nil {
			t.Fatal(err)
		}
		o := *admin.Options()
		o.Username, o.Password = "u", "p"
		c := goredis.NewClient(&o)
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	unreadable(t, user("+@all", "allchannels", "~guildcast:history:{1}"))
	// What Redis refuses in part is as if it had never been published.
	for _, rules := range [][]any{
		{"+@all", "allkeys"},                                     // no channel
		{"+@all", "-publish", "allkeys", "allchannels"},          //
		{"+@all", "-pexpire", "allkeys", "allchannels"},          //
		{"+@all", "-xrange", "allkeys", "allchannels"},           //
		{"+@all", "-evalsha", "-eval", "allkeys", "allchannels"}, //
	} {
		p := history.NewPublisher(user(rules...), history.PublisherOptions{})
		next := time.Now().Add(2 * time.Millisecond)
		clock(t, admin, uint64(next.UnixMilli())) // the script looks at most things once a millisecond
		if _, err := p.Publish(t.Context(), pool, message(1)); !errors.Is(err, history.ErrUnreadable) {
			t.Errorf("%v: %v", rules, err)
		}
		if n := admin.XLen(t.Context(), key).Val(); n != 0 {
			t.Errorf("%v: %d entries", rules, n)
		}
	}
	// These commands are enough, and docs/reference/redis.md says so.
	enough := user("~guildcast:history:*", "&*", "+eval", "+evalsha", "+xadd", "+xrange", "+pexpire", "+publish",
		"+xdel", "+xlen", "+xrevrange", "+xtrim", "+xgroup|create", "+xgroup|destroy", "+xinfo|stream", "+memory|usage")
	p := history.NewPublisher(enough, history.PublisherOptions{MaxAge: 1})
	first := add(t, p, pool, large(4<<20))
	for range 4 {
		clock(t, admin, first.Time+5)
		first = add(t, p, pool, large(4<<20))
	}
	reader := history.NewReader(user("~guildcast:history:*", "+eval", "+evalsha", "+exists", "+xrange", "+xrevrange",
		"+xinfo|stream", "+xinfo|groups"), history.ReaderOptions{})
	after(t, reader, history.Position{}, 1, false)
	after(t, reader, first, 1, true)
	if _, err := reader.Marks(t.Context(), guild, first, 1); err != nil {
		t.Error(err)
	}
	if _, err := reader.Last(t.Context(), []string{guild}); err != nil {
		t.Error(err)
	}
}

func TestGarbageHasAPlace(t *testing.T) {
	redistest.Each(t, func(t *testing.T, client goredis.UniversalClient) {
		p := history.NewPublisher(client, history.PublisherOptions{})
		r := history.NewReader(client, history.ReaderOptions{})
		want := []history.Entry{{Position: add(t, p, logs, message(1)), Topic: logs, Message: message(1)}}
		for _, values := range [][]string{
			{"x", "y"}, {"t", "pool"}, {"m", "{}"}, {"t", "other", "m", "{}"}, {"t", "", "m", "{}"},
			{"t", "pool", "m", "{}", "x", "y"}, {"t", "Pool", "m", "{}"}, {"T", "pool", "m", "{}"},
			{"m", "pool", "t", "{}"},
		} {
			id, err := client.XAdd(t.Context(), &goredis.XAddArgs{Stream: key, Values: values}).Result()
			if err != nil {
				t.Fatal(err)
			}
			position, err := history.ParsePosition(id)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, history.Entry{Position: position, Topic: pool})
		}
		want = append(want, history.Entry{Position: add(t, p, pool, message(2)), Topic: pool, Message: message(2)})
		equal(t, after(t, r, history.Position{}, 100, true).Entries, want)
		m, err := r.Marks(t.Context(), guild, history.Position{}, 100)
		if err != nil || len(m.Marks) != len(want) {
			t.Fatalf("%+v, %v", m, err)
		}
		for i, mark := range m.Marks {
			if mark.Position != want[i].Position || mark.Event != (want[i].Message != nil) {
				t.Errorf("mark %d is %+v", i, mark)
			}
		}
		after(t, r, want[3].Position, 100, true) // it has a place
	})
}

func TestPositionsFromNowhere(t *testing.T) {
	redistest.Each(t, func(t *testing.T, client goredis.UniversalClient) {
		p := history.NewPublisher(client, history.PublisherOptions{})
		r := history.NewReader(client, history.ReaderOptions{})
		past := history.Position{Time: 5, Seq: 5}
		future := history.Position{Time: 1<<64 - 1, Seq: 1<<64 - 1}
		for _, position := range []history.Position{past, future} {
			if page := after(t, r, position, 10, false); len(page.Entries) != 0 {
				t.Errorf("after %v: %+v", position, page)
			}
		}
		last := add(t, p, pool, message(1))
		for position, n := range map[history.Position]int{past: 1, future: 0, {Time: last.Time, Seq: last.Seq + 1}: 0} {
			if page := after(t, r, position, 10, false); len(page.Entries) != n {
				t.Errorf("after %v: %+v", position, page)
			}
			if m, err := r.Marks(t.Context(), guild, position, 10); err != nil || m.Whole || len(m.Marks) != n ||
				m.Last != last {
				t.Errorf("marks after %v: %+v, %v", position, m, err)
			}
		}
	})
}

func TestHistoryIsGone(t *testing.T) {
	redistest.Each(t, func(t *testing.T, client goredis.UniversalClient) {
		p := history.NewPublisher(client, history.PublisherOptions{})
		r := history.NewReader(client, history.ReaderOptions{})
		before := add(t, p, pool, message(1))
		if err := client.Del(t.Context(), key).Err(); err != nil { // as FLUSHALL, on each of a cluster's servers
			t.Fatal(err)
		}
		after(t, r, before, 10, false)
		if lasts, err := r.Last(t.Context(), []string{guild}); err != nil || lasts[0] != (history.Last{}) {
			t.Errorf("%+v, %v", lasts, err)
		}
		// In the same millisecond the new history's first entry would have the old one's position.
		wait.Until(t, "the next millisecond", func() bool { return time.Now().UnixMilli() > int64(before.Time) })
		add(t, p, pool, message(2))
		after(t, r, before, 10, false)
	})
}

func TestRedisIsAway(t *testing.T) {
	s := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	c := s.Client()
	p := history.NewPublisher(c, history.PublisherOptions{MaxEntries: 3})
	r := history.NewReader(c, history.ReaderOptions{})
	var last history.Position
	for i := range 5 {
		last = add(t, p, pool, message(i))
	}
	s.Stop()
	_, published := p.Publish(t.Context(), pool, message(2))
	_, read := r.After(t.Context(), guild, last, 1)
	_, marks := r.Marks(t.Context(), guild, last, 1)
	_, lasts := r.Last(t.Context(), []string{guild, "1"})
	for i, err := range []error{published, read, marks, lasts} {
		if !errors.Is(err, history.ErrUnavailable) || errors.Is(err, history.ErrUnreadable) {
			t.Errorf("error %d is %v", i, err)
		}
	}
	s.Start() // with its data: what was trimmed is known too
	after(t, r, last, 10, true)
	after(t, r, history.Position{}, 10, false)
	add(t, p, pool, message(3))
	if page := after(t, r, last, 10, true); len(page.Entries) != 1 {
		t.Errorf("%+v", page)
	}
}

func TestShardedTopics(t *testing.T) {
	redistest.Real(t, func(t *testing.T, client goredis.UniversalClient) {
		sub := client.SSubscribe(t.Context(), pool.ShardedChannel("gc:"), logs.ShardedChannel("gc:"))
		defer sub.Close()
		for range 2 {
			if _, err := sub.Receive(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		p := history.NewPublisher(client, history.PublisherOptions{TopicPrefix: "gc:", Sharded: true})
		for _, topic := range []event.Topic{pool, logs} {
			position := add(t, p, topic, message(1))
			m, err := sub.ReceiveMessage(t.Context())
			if err != nil || m.Channel != topic.ShardedChannel("gc:") ||
				m.Payload != fmt.Sprintf("%v %s", position, message(1)) {
				t.Errorf("heard %+v, %v", m, err)
			}
		}
	})
}
