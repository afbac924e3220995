package handlers

import (
	"fmt"
	"testing"
	"time"

	"github.com/architus/guildcast/event"
)

func TestComplaints(t *testing.T) {
	var c complaints
	now := time.Now()
	about := complaint{event.Topic{Guild: "1"}, malformedEvent}
	if !c.allow(about, now) || c.allow(about, now.Add(59*time.Second)) || !c.allow(about, now.Add(time.Minute)) {
		t.Fatal("not one a minute")
	}
	if !c.allow(complaint{event.Topic{Guild: "1", Logs: true}, malformedEvent}, now) {
		t.Fatal("topics share their line")
	}
	if !c.allow(complaint{about.topic, unknownKind}, now) {
		t.Fatal("an unknown kind and a malformed message share their line")
	}
	for i := range 10 * maxComplaints {
		c.allow(complaint{topic: event.Topic{Guild: fmt.Sprint(i)}}, now)
	}
	if len(c.last) > maxComplaints {
		t.Fatalf("%d complaints are remembered", len(c.last))
	}
	if !c.allow(about, now.Add(time.Hour)) {
		t.Fatal("full for ever")
	}
}
