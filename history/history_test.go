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
	"github.com/architus/guildcast/internal/botwire"
	"github.com/architus/guildcast/internal/test/redistest"
)

const guild = "607637793107345431"

var (
	pool = event.Topic{Guild: guild}
	logs = event.Topic{Guild: guild, Logs: true}
	key  = botwire.HistoryKey(guild)
)

// message is an event that says which it is.
func message(n int) []byte { return fmt.Appendf(nil, `{"kind":"member","payload":{"n":%d}}`, n) }

// add publishes and fails the test if that does not work.
func add(t *testing.T, p *history.Publisher, topic event.Topic, message []byte) history.Position {
	t.Helper()
	position, err := p.Publish(t.Context(), topic, message)
	if err != nil {
		t.Fatal(err)
	}
	return position
}

// after reads one page and fails the test if that does not work, or if it is not whole as is wanted.
func after(t *testing.T, r *history.Reader, p history.Position, limit int, whole bool) history.Page {
	t.Helper()
	page, err := r.After(t.Context(), guild, p, limit)
	if err != nil {
		t.Fatal(err)
	}
	if page.Whole != whole {
		t.Errorf("after %v: whole is %v", p, page.Whole)
	}
	return page
}

func TestPublishedIsHeardAndKept(t *testing.T) {
	redistest.Each(t, func(t *testing.T, client goredis.UniversalClient) {
		sub := client.Subscribe(t.Context(), pool.Channel("gc:"), logs.Channel("gc:"))
		defer sub.Close()
		for range 2 {
			if _, err := sub.Receive(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		p := history.NewPublisher(client, history.PublisherOptions{TopicPrefix: "gc:"})
		r := history.NewReader(client, history.ReaderOptions{})
		var want []history.Entry
		for i := range 10 {
			topic := pool
			if i%3 == 0 {
				topic = logs
			}
			position := add(t, p, topic, message(i))
			want = append(want, history.Entry{Topic: topic, Message: message(i), Position: position})
		}
		for i, w := range want {
			m, err := sub.ReceiveMessage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			position, body, durable, err := history.Cut([]byte(m.Payload))
			if m.Channel != w.Topic.Channel("gc:") || position != w.Position || string(body) != string(w.Message) ||
				!durable || err != nil {
				t.Errorf("event %d was heard on %s as %s", i, m.Channel, m.Payload)
			}
		}
		for i := range 11 {
			var from history.Position
			if i > 0 {
				from = want[i-1].Position
			}
			page := after(t, r, from, 4, true)
			equal(t, page.Entries, want[i:min(i+4, 10)])
			if page.More != (i+4 < 10) {
				t.Errorf("after %d: more is %v", i, page.More)
			}
			marks, err := r.Marks(t.Context(), guild, from, 4)
			if err != nil || !marks.Whole || marks.More != page.More || marks.Last != want[9].Position ||
				len(marks.Marks) != len(page.Entries) {
				t.Fatalf("marks after %d: %+v, %v", i, marks, err)
			}
			for j, m := range marks.Marks {
				if e := page.Entries[j]; m.Position != e.Position || m.Topic != e.Topic || !m.Event {
					t.Errorf("mark %d after %d is %+v", j, i, m)
				}
			}
		}
		lasts, err := r.Last(t.Context(), []string{"1", guild, "2"})
		if err != nil || lasts[0] != (history.Last{}) || lasts[1].Position != want[9].Position ||
			lasts[2] != (history.Last{}) {
			t.Errorf("lasts are %+v, %v", lasts, err)
		}
	})
}

// An event that is published again because its answer was lost comes once.
func TestScriptKnowsWhatItHasPublished(t *testing.T) {
	redistest.Each(t, func(t *testing.T, client goredis.UniversalClient) {
		sub := client.Subscribe(t.Context(), guild, guild+"_logs")
		defer sub.Close()
		for range 2 {
			if _, err := sub.Receive(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		run := func(channel, message string, more ...any) string {
			t.Helper()
			args := append([]any{channel, message, 10, 60000}, more...)
			id, err := client.Eval(t.Context(), history.Script, []string{key}, args...).Text()
			if err != nil {
				t.Fatal(err)
			}
			return id
		}
		// This one has no topic and no message.
		garbage := &goredis.XAddArgs{Stream: key, Values: []string{"x", "y"}}
		if err := client.XAdd(t.Context(), garbage).Err(); err != nil {
			t.Fatal(err)
		}
		const one, beginning = `{"idempotency_key":"k1","payload":1}`, `{"idempotency_key":"k1",`
		first := run(guild, one, beginning, "0-0")
		other := run(guild, `{"idempotency_key":"k2","payload":1}`, `{"idempotency_key":"k2",`, first)
		var again []string
		for _, more := range [][]any{{beginning}, {beginning, "0-0"}, {beginning, "1"}} {
			again = append(again, run(guild, one, more...))
		}
		for _, id := range again {
			if id != first {
				t.Errorf("the event is at %s and %s", first, id)
			}
		}
		want := []string{first, other}
		want = append(want,
			run(guild+"_logs", one, beginning, "0-0"), // on the other topic
			run(guild, one, beginning, other),         // before the position
			run(guild, one), run(guild, one, ""),      // nothing is to be looked for
		)
		for _, position := range want {
			m, err := sub.ReceiveMessage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(m.Payload, position+" ") {
				t.Errorf("heard %s, want position %s", m.Payload, position)
			}
		}
		if n := client.XLen(t.Context(), key).Val(); n != int64(len(want))+1 {
			t.Errorf("%d entries, want %d", n, len(want)+1)
		}
	})
}

func equal(t *testing.T, got, want []history.Entry) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d entries, want %d", len(got), len(want))
	}
	for i, w := range want {
		if g := got[i]; g.Position != w.Position || g.Topic != w.Topic || string(g.Message) != string(w.Message) ||
			(g.Message == nil) != (w.Message == nil) {
			t.Errorf("entry %d is %+v, want %+v", i, g, w)
		}
	}
}

func TestHistoryIsBoundedByNumber(t *testing.T) {
	redistest.Each(t, func(t *testing.T, client goredis.UniversalClient) {
		p := history.NewPublisher(client, history.PublisherOptions{MaxEntries: 5})
		r := history.NewReader(client, history.ReaderOptions{})
		after(t, r, history.Position{}, 10, true) // there is nothing, and nothing is missing
		var ps []history.Position
		for i := range 8 {
			ps = append(ps, add(t, p, pool, message(i)))
			page := after(t, r, history.Position{}, 10, i < 5)
			if len(page.Entries) != min(i+1, 5) {
				t.Fatalf("%d entries after %d events", len(page.Entries), i+1)
			}
		}
		after(t, r, ps[2], 10, false)
		after(t, r, ps[3], 10, true)
		add(t, history.NewPublisher(client, history.PublisherOptions{MaxEntries: 1}), pool, message(8))
		if page := after(t, r, ps[7], 10, false); len(page.Entries) != 1 {
			t.Errorf("%d entries, want the newest alone", len(page.Entries))
		}
	})
}

func TestHistoryIsBoundedByAge(t *testing.T) {
	redistest.Each(t, func(t *testing.T, client goredis.UniversalClient) {
		hour := history.NewPublisher(client, history.PublisherOptions{})
		r := history.NewReader(client, history.ReaderOptions{})
		first, second := add(t, hour, pool, message(1)), add(t, hour, logs, message(2))
		clock(t, client, second.Time+50)
		p := history.NewPublisher(client, history.PublisherOptions{MaxAge: 20 * time.Millisecond})
		third := add(t, p, pool, message(3))
		if page := after(t, r, first, 10, false); len(page.Entries) != 1 {
			t.Fatalf("%d entries, want the newest alone", len(page.Entries))
		}
		// Nobody who has read up to the last one that was trimmed misses anything.
		for range 2 {
			if page := after(t, r, second, 10, true); page.Entries[0].Position != third {
				t.Errorf("after the trimmed one comes %+v", page.Entries[0])
			}
			add(t, p, pool, message(4))
		}
		// Until more is trimmed, in whatever way.
		add(t, history.NewPublisher(client, history.PublisherOptions{MaxEntries: 1}), pool, message(5))
		after(t, r, second, 10, false)
		after(t, r, history.Position{}, 10, false)
		ttl, err := client.PTTL(t.Context(), key).Result()
		if err != nil || ttl < 24*time.Hour || ttl > 25*time.Hour {
			t.Errorf("the history goes in %v, %v", ttl, err)
		}
	})
}

// clock waits until Redis's clock shows ms.
func clock(t *testing.T, client goredis.UniversalClient, ms uint64) {
	t.Helper()
	for {
		now, err := client.Time(t.Context()).Result()
		if err != nil {
			t.Fatal(err)
		}
		if uint64(now.UnixMilli()) >= ms {
			return
		}
	}
}

func TestMalformedEventsAreRefused(t *testing.T) {
	_, client := redistest.Mini(t)
	p := history.NewPublisher(client, history.PublisherOptions{})
	for _, m := range []string{``, `{}`, `5-5 {"payload":1}`, `{"payload":1`} {
		var malformed *event.ParseError
		if _, err := p.Publish(t.Context(), pool, []byte(m)); !errors.As(err, &malformed) {
			t.Errorf("%s: %v", m, err)
		}
	}
	if _, err := p.Publish(t.Context(), event.Topic{Guild: "x"}, message(1)); err == nil {
		t.Error("published for a guild that is none")
	}
	if n := client.Exists(context.Background(), key).Val(); n != 0 {
		t.Error("something was kept")
	}
}
