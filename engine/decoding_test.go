package engine

import (
	"strings"
	"testing"

	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/internal/test/wait"
)

// grows is a JSON array that takes sixty times its text.
func grows(objects int) string { return `[0` + strings.Repeat(`,{"":0}`, objects) + `]` }

// question reads the event "q", and returns the id of the acknowledgement that it asks for.
func (w *wire) question() string {
	w.t.Helper()
	id, ok := strings.CutSuffix(w.expectPrefix("42"), `["q"]`)
	if !ok {
		w.t.Fatalf("got %s", id)
	}
	return id[2:]
}

// A packet whose JSON would take more than is allowed is not decoded, whatever it is, and closes the connection.
func TestMaxDecodedBytes(t *testing.T) {
	s := serve(t, nil, Options{MaxDecodedBytes: 1 << 20}, func(s *socket.Socket) {
		_ = s.On("e", func(args ...any) { args[1].(socket.Ack)(nil, nil) })
		s.EmitWithAck("q")(func([]any, error) {})
	})
	for name, packet := range map[string]string{
		"event": `42["e",` + grows(4000) + `]`, "acknowledgement": `43ID` + grows(4000),
	} {
		c := s.connect(t, "")
		id := c.question()
		c.send(`427["e",` + grows(1000) + `]`)
		c.expect(`437[]`)
		c.send(strings.Replace(packet, "ID", id, 1))
		c.expectClosed()
		t.Log(name)
	}
	c := s.dial(t, "EIO=4")
	c.send(`40{"a":` + grows(1000) + `}`) // a handshake keeps it
	c.expectClosed()
}

// An acknowledgement that nobody waits for is not decoded, but has to be valid.
func TestUnexpectedAck(t *testing.T) {
	s := serve(t, nil, Options{}, func(s *socket.Socket) {
		_ = s.On("e", func(args ...any) { args[0].(socket.Ack)(nil, nil) })
	})
	for _, packet := range []string{`437{"a":1}`, `437[`, `43"x"`} {
		c := s.connect(t, "")
		c.send(packet)
		c.expectClosed()
	}
	c := s.connect(t, "")
	c.send(`437[1,{"a":2}]`, `43`, `427["e"]`)
	c.expect(`437[]`)
	for _, c := range s.handler.srv.conns() {
		p := &packet{kind: '3', hasID: true, id: 7, body: []byte(grows(1000))}
		if allocs := testing.AllocsPerRun(5, func() { c.handle(c.inbox.boxes, p) }); allocs > 10 {
			t.Errorf("%v allocations", allocs)
		}
	}
}

// Large events wait while the budget is spent. Small events and acknowledgements do not.
func TestDecodingBudget(t *testing.T) {
	handling := make(chan string, 10)
	release := make(chan struct{})
	s := serve(t, nil, Options{MaxDecodingBudget: 1 << 20}, func(s *socket.Socket) {
		_ = s.On("large", func(args ...any) {
			handling <- "large"
			<-release
			s.EmitWithAck("q")(func([]any, error) { handling <- "acknowledged" })
		})
		_ = s.On("medium", func(...any) { handling <- "medium" })
		_ = s.On("small", func(...any) { handling <- "small" })
	})
	large := `42["large",` + grows(1500) + `]`
	first, second, third := s.connect(t, ""), s.connect(t, ""), s.connect(t, "")
	first.send(large)
	if got := receive(t, handling, "event"); got != "large" {
		t.Fatal(got)
	}
	second.send(large)
	wait.Until(t, "the second is under way", func() bool {
		busy := 0
		for _, c := range s.handler.srv.conns() {
			c.inbox.mu.Lock()
			if b := c.inbox.boxes; b.events.busy && b.events.head == nil {
				busy++
			}
			c.inbox.mu.Unlock()
		}
		return busy == 2
	})
	for _, event := range []string{"small", "medium"} {
		third.send(`42["` + event + `"` + strings.Repeat(`,{"":0}`, map[string]int{"medium": 50}[event]) + `]`)
		if got := receive(t, handling, "event"); got != event {
			t.Fatalf("%s while %s is due", got, event)
		}
	}
	select {
	case got := <-handling:
		t.Fatalf("%s is handled over the budget", got)
	default:
	}
	close(release)
	for _, c := range []*wire{first, second} {
		c.send(`43` + c.question() + grows(1500))
	}
	got := map[string]int{}
	for range 3 {
		got[receive(t, handling, "event")]++
	}
	if got["large"] != 1 || got["acknowledged"] != 2 {
		t.Errorf("handled %v", got)
	}
}
