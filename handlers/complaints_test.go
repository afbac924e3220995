package handlers

import (
	"testing"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/internal/throttle"
)

// A malformed message of one topic must not keep another complaint out of the log.
func TestComplaintsAreApart(t *testing.T) {
	var c throttle.Minutely[complaint]
	topic := event.Topic{Guild: "1"}
	for _, about := range []complaint{
		{topic, malformedEvent}, {topic, unknownKind}, {event.Topic{Guild: "1", Logs: true}, malformedEvent},
	} {
		if !c.Allow(about) || c.Allow(about) {
			t.Errorf("%v is not logged, or logged twice", about)
		}
	}
}
