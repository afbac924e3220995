package handlers

import (
	"fmt"
	"testing"
	"time"

	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/permissions"
)

// TestTracesCostNothingWhenOff compares an event that a publisher has traced with one that it has not, on a node that
// makes no traces.
func TestTracesCostNothingWhenOff(t *testing.T) {
	bench := newBench(t, Config{})
	bench.g.outlet = discard{new(engine.Message)}
	claims, err := permissions.ParseClaims(fmt.Appendf(nil, `{"sub":"1","exp":%d,"guilds":{"7":0}}`,
		time.Now().Add(time.Hour).Unix()))
	if err != nil {
		t.Fatal(err)
	}
	view := permissions.View{Guild: "7", Claims: claims}
	if err := bench.g.filter.Spectate(new(engine.Conn), view, time.Now()); err != nil {
		t.Fatal(err)
	}
	allocs := func(message string) float64 {
		data := []byte(message)
		return testing.AllocsPerRun(1000, func() {
			bench.g.Message(event.Topic{Guild: "7"}, history.Position{}, data)
		})
	}
	plain := allocs(`{"other":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","kind":"guild","payload":{}}`)
	traced := allocs(`{"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","kind":"guild","payload":{}}`)
	if traced > plain {
		t.Errorf("%v allocations for an event with a trace, %v for one without", traced, plain)
	}
}
