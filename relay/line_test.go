package relay

import (
	"testing"
	"time"

	"github.com/architus/guildcast/event"
)

// TestPublishedBeforeHeard has the same message published several times before it is heard, as happens on a Redis
// Cluster. Each time counts.
func TestPublishedBeforeHeard(t *testing.T) {
	now := time.Now()
	topic, message := event.Topic{Guild: "5"}, []byte("{}")
	ls := lines{maxEntries: 100, maxBytes: 1000, maxLineEntries: 100, maxLineBytes: 1000, unordered: true}
	ls.reset()
	hash := hashOf(topic, message)
	ls.done("5", hash, now)
	ls.done("5", hash, now.Add(time.Second))
	ls.done("5", hash, now.Add(earlyFor))
	for i, publish := range []bool{false, false, true} { // the first was forgotten meanwhile
		if got := ls.add(topic, message, now.Add(earlyFor)); got != publish {
			t.Errorf("message %d: to publish is %t", i, got)
		}
	}
	if ls.entries != 1 || len(ls.of["5"].early) != 0 {
		t.Errorf("%d are pending, %d are remembered", ls.entries, len(ls.of["5"].early))
	}
	ls.done("5", hash, now)
	if len(ls.of) != 0 {
		t.Errorf("%d lines are left", len(ls.of))
	}
}
