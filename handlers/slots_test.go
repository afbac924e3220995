package handlers_test

import (
	"context"
	"testing"
	"time"

	"github.com/architus/guildcast/handlers"
)

// stuck interprets nothing until it is released.
type stuck struct{ released chan struct{} }

func (s stuck) InterpretJSON(ctx context.Context, _ []byte) ([]byte, error) {
	select {
	case <-s.released:
	case <-ctx.Done():
	}
	return []byte(`{}`), ctx.Err()
}

// Sockets that are not elevated, however many, take no slot that a member needs; and give theirs back.
func TestSlotsOfMembers(t *testing.T) {
	interpreter := stuck{make(chan struct{})}
	n := start(t, func(c *handlers.Config, p *handlers.Parts) {
		c.InterpretTimeout = time.Hour
		c.Limits.RequestsPerNode = 64 // 16 of them for sockets that are not elevated
		p.Interpreter = interpreter
	})
	n.requests.answer = func(_ context.Context, _, _ string, _ map[string]any, part func(string) error) error {
		return part(`{"data":[],"nonexistent":["1"]}`)
	}
	tok := mint(t, nil)
	member := elevated(t, n, tok)
	refused := 0
	flood := make([]*client, 70)
	for i := range flood {
		flood[i] = connect(t, n.server, nil)
		flood[i].emit("interpret", map[string]any{"content": "x"})
		flood[i].emit("demote", map[string]any{}) // its answer comes after the refusal, if there is one
		e := flood[i].expect("error").as(t)
		if e["message"] == "too_many_requests" {
			refused++
			flood[i].expect("error")
		}
	}
	if refused != 70-16 {
		t.Errorf("%d of 70 are refused", refused)
	}
	for i := range 40 {
		member.emit("pool", map[string]any{"type": "role", "guild_id": guildA, "ids": "1", "token": tok, "_id": i})
		if h := member.next(); h.event != "pool_response" {
			t.Fatalf("a member got %v", h)
		}
	}
	close(interpreter.released)
	eventually(t, func() bool { return n.gauge("guildcast_requests_in_progress") == 0 })
	flood[69].emit("interpret", map[string]any{"content": "x"})
	flood[69].expect("interpret_response")
}

// gauge is the value of a gauge without labels.
func (n *node) gauge(name string) float64 {
	families, err := n.metrics.Gather()
	if err != nil {
		n.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	n.t.Fatalf("there is no %s", name)
	return 0
}
