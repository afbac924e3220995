package history_test

import (
	"errors"
	"strings"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/internal/test/redistest"
)

func TestMarker(t *testing.T) {
	for _, reason := range []string{"relay_lost", "x", strings.Repeat("a", 64)} {
		m := history.Marker(reason)
		if got, ok := history.ParseMarker(m); !ok || got != reason {
			t.Errorf("%s is %q, %v", m, got, ok)
		}
		// A node that does not know it drops it.
		var malformed *event.ParseError
		if _, err := event.Parse(pool, m); !errors.As(err, &malformed) {
			t.Errorf("%s is an event: %v", m, err)
		}
	}
	for _, m := range []string{
		``, `{}`, `{"resync":""}`, `{"resync":"A"}`, `{"resync":"a b"}`, `{"resync":"a","payload":1}`,
		`{"resync":"a\""}`,
		`{"resync":"` + strings.Repeat("a", 65) + `"}`, ` {"resync":"a"}`, `{"resync":"a"} `, `{"resync":1}`,
		`{"resync":"a`, `{"resync":"}`, `{"resync":"`,
	} {
		if reason, ok := history.ParseMarker([]byte(m)); ok {
			t.Errorf("%s is a marker: %q", m, reason)
		}
	}
}

// A marker has its place in a history, which is whole there, and is no event.
func TestMarkerInHistory(t *testing.T) {
	redistest.Each(t, func(t *testing.T, client goredis.UniversalClient) {
		p := history.NewPublisher(client, history.PublisherOptions{})
		if _, err := p.Publish(t.Context(), pool, history.Marker("relay_lost")); err == nil {
			t.Error("it was published as an event")
		}
		first := add(t, p, pool, message(1))
		marker := history.Marker("relay_lost")
		if err := client.Eval(t.Context(), history.Script, []string{key}, guild, marker, 10, 1000).Err(); err != nil {
			t.Fatal(err)
		}
		page := after(t, history.NewReader(client, history.ReaderOptions{}), first, 10, true)
		if len(page.Entries) != 1 || string(page.Entries[0].Message) != `{"resync":"relay_lost"}` {
			t.Errorf("%+v", page)
		}
	})
}
