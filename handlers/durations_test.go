package handlers_test

import (
	"fmt"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
)

// histogram returns a histogram, of the client event if that is not empty.
func (n *node) histogram(name, clientEvent string) *dto.Histogram {
	n.t.Helper()
	families, err := n.metrics.Gather()
	if err != nil {
		n.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "guildcast_"+name && (clientEvent == "" || m.GetLabel()[0].GetValue() == clientEvent) {
				return m.GetHistogram()
			}
		}
	}
	n.t.Fatalf("no histogram %s of %q", name, clientEvent)
	return nil
}

// TestDeliveryDurations delivers events that are some time old.
func TestDeliveryDurations(t *testing.T) {
	n := start(t, nil)
	c := elevated(t, n, mint(t, nil))
	c.emit("spectate", map[string]any{"guild_id": guildA, "token": mint(t, nil)})
	c.expect("spectate_return")
	topic, now := event.Topic{Guild: guildA}, time.Now()
	const public = `{"kind":"member","payload":1}`
	stamped := func(ms int64) string { return fmt.Sprintf(`{"kind":"member","payload":1,"ts":%d}`, ms) }
	ago := func(d time.Duration) int64 { return now.Add(-d).UnixMilli() }
	for i, step := range []struct {
		position         history.Position
		message          string
		received         time.Time
		arrived, publish float64 // least seconds that are observed; -1: nothing is
	}{
		{history.Position{}, public, time.Time{}, -1, -1},
		{history.Position{}, public, now.Add(-2 * time.Second), 2, -1},
		{history.Position{}, stamped(ago(3 * time.Second)), time.Time{}, -1, 2.9},
		{history.Position{Time: uint64(ago(4 * time.Second))}, public, now.Add(-time.Second), 1, 3.9},
		{history.Position{}, `{"kind":"member","payload":1,"ts":"yesterday"}`, time.Time{}, -1, -1},
		{history.Position{}, stamped(ago(-time.Hour)), time.Time{}, -1, 0},
		{history.Position{}, `{"kind":"nonsense","payload":1}`, now.Add(-time.Second), -1, -1},
		{history.Position{}, `{"kind":"administrator","payload":1}`, now.Add(-time.Second), -1, -1},
	} {
		const arrived, publish = "redis_to_socket_seconds", "publish_to_socket_seconds"
		arrivals, publishings := n.histogram(arrived, ""), n.histogram(publish, "")
		n.gateway.Receive(topic, step.position, []byte(step.message), step.received)
		wantObserved(t, fmt.Sprint(i, arrived), arrivals, n.histogram(arrived, ""), step.arrived)
		wantObserved(t, fmt.Sprint(i, publish), publishings, n.histogram(publish, ""), step.publish)
	}
	h := n.histogram("redis_to_socket_seconds", "")
	if len(h.GetBucket()) == 0 || len(h.GetPositiveSpan()) == 0 {
		t.Errorf("it is not both classic and native: %v", h)
	}
}

// wantObserved fails unless a histogram has one more observation, of at least so many seconds; or none if that is
// negative.
func wantObserved(t *testing.T, what string, before, after *dto.Histogram, least float64) {
	t.Helper()
	count, sum := after.GetSampleCount()-before.GetSampleCount(), after.GetSampleSum()-before.GetSampleSum()
	if least < 0 && count != 0 || least >= 0 && (count != 1 || sum < least || sum > least+patience.Seconds()) {
		t.Errorf("%s: %d observations, of %v s; want %v", what, count, sum, least)
	}
}

// TestRequestDurations counts the requests that were answered, and those that were not known.
func TestRequestDurations(t *testing.T) {
	n := start(t, nil)
	tok := mint(t, nil)
	c := elevated(t, n, tok)
	c.ask("spectate", map[string]any{"guild_id": guildA, "token": tok})
	c.ask("spectate", map[string]any{"guild_id": guildB, "token": tok}) // 403 is an answer too
	c.ask("spectate", map[string]any{"guild_id": guildA, "token": tok, "backlog": 3})
	c.ask("interpret", map[string]any{"action": 3001, "guild_id": 1, "message_id": 2, "content": "!help"})
	c.ask("made_up", 1)
	for name, want := range map[string]uint64{"request_elevation": 1, "spectate": 3, "interpret": 1, "pool": 0} {
		if got := n.histogram("request_seconds", name).GetSampleCount(); got != want {
			t.Errorf("%d requests of %s, want %d", got, name, want)
		}
	}
	if got := n.histogram("handler_seconds", "spectate").GetSampleCount(); got != 3 {
		t.Errorf("%d runs of the handler of spectate", got)
	}
	families, err := n.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "guildcast_request_seconds" && len(f.GetMetric()) != 5 {
			t.Errorf("%d events have a label", len(f.GetMetric()))
		}
	}
}
