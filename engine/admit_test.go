package engine

import (
	"fmt"
	"strings"
	"testing"

	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/internal/test/wait"
)

func TestEventName(t *testing.T) {
	for body, want := range map[string]string{
		`["e",1]`: "e", " [\n\"a b\" ]": "a b", `["é\u0041\"",{}]`: `éA"`, `[""]`: "", `["e"`: "e",
		`[5,{"broken":`: "5", `[ -1.50e1]`: "-15", `[1e2`: "100",
	} {
		if got, ok := eventName([]byte(body)); !ok || got != want {
			t.Errorf("%s: %q, %v; want %q", body, got, ok, want)
		}
	}
	for _, body := range []string{
		"", "[", "[]", `{"e":1}`, `[1-2]`, `[-]`, `[1e999]`, `[null]`, `[[1]]`, `["e`, `["e\`, "[\"a\nb\"]", `["\x"]`,
		`"e"`,
	} {
		if got, ok := eventName([]byte(body)); ok {
			t.Errorf("%s: %q", body, got)
		}
	}
}

// Admit sees every event in order before it is decoded, and can answer it; what it refuses reaches no listener.
func TestAdmit(t *testing.T) {
	asked := make(chan string, 10)
	handled := make(chan any, 10)
	admit := func(_ *socket.Socket, in Incoming) bool {
		asked <- fmt.Sprintf("%s %d %s", in.Event, in.AttachmentBytes, in.Payload)
		if in.Event == "5" {
			return false
		}
		if in.Event != "no" {
			return true
		}
		if !in.Acknowledge("refused") {
			t.Error("no acknowledgement")
		}
		return false
	}
	s := serve(t, nil, Options{Admit: admit}, func(s *socket.Socket) {
		s.OnAny(func(args ...any) { handled <- args[0] })
	})
	c := s.connect(t, "")
	c.send(`427["no",{"broken":`, `42[5.0,{"broken":`, `451-["yes",{"_placeholder":true,"num":0}]`)
	c.sendBinary([]byte{1, 2, 3})
	c.expect(`437["refused"]`)
	if got := receive(t, handled, "event"); got != "yes" {
		t.Errorf("handled %v", got)
	}
	for _, want := range []string{
		`no 0 ["no",{"broken":`, `5 0 [5.0,{"broken":`, `yes 3 ["yes",{"_placeholder":true,"num":0}]`,
	} {
		if got := receive(t, asked, "question"); got != want {
			t.Errorf("asked %s, want %s", got, want)
		}
	}
}

// While Admit, or a listener, of one client's large event waits, that of another is handled: the application's code
// takes no turn at the processors.
func TestApplicationWaitsWithoutATurn(t *testing.T) {
	others := make(chan struct{}) // closed when the other's event was handled
	handled := make(chan any, 10)
	admit := func(_ *socket.Socket, in Incoming) bool {
		if in.Event == "waits" {
			<-others
		}
		return true
	}
	s := serve(t, nil, Options{Admit: admit}, func(s *socket.Socket) {
		_ = s.On("other", func(...any) { close(others) })
		for _, event := range []string{"waits", "waits later"} {
			_ = s.On(event, func(...any) {
				<-others
				handled <- event
			})
		}
	})
	large := strings.Repeat("x", 100_000)
	one, two, three := s.connect(t, ""), s.connect(t, ""), s.connect(t, "")
	one.send(`42["waits","` + large + `"]`)
	two.send(`42["waits later","` + large + `"]`)
	three.send(`42["other","` + large + `"]`)
	receive(t, handled, "event")
	receive(t, handled, "event")
}

// An event that nobody listens to costs no memory, whatever its JSON would become.
func TestUnheardEventIsNotDecoded(t *testing.T) {
	s := serve(t, nil, Options{}, func(s *socket.Socket) { _ = s.On("e", func(...any) {}) })
	s.connect(t, "")
	c := s.handler.srv.conns()[0]
	wait.Until(t, "open", func() bool {
		c.inbox.mu.Lock()
		defer c.inbox.mu.Unlock()
		return c.inbox.boxes.state == boxOpen
	})
	allocs := func(event string) float64 {
		p := &packet{kind: '2', body: []byte(`["` + event + `"` + strings.Repeat(`,{"":0}`, 1000) + `]`)}
		return testing.AllocsPerRun(5, func() {
			again := *p // which loses its JSON when it is decoded
			c.handle(c.inbox.boxes, &again)
		})
	}
	if heard, unheard := allocs("e"), allocs("unknown"); heard < 1000 || unheard > 10 {
		t.Errorf("%v allocations for an event that is heard, %v for one that is not", heard, unheard)
	}
}

// An event that nobody listens to closes the connection all the same if it is no JSON, or has a name that no client may
// use.
func TestUnheardEventIsChecked(t *testing.T) {
	s := serve(t, nil, Options{}, func(*socket.Socket) {})
	for _, packet := range []string{`42["unknown",{]`, `42["disconnect"]`, `42[]`} {
		c := s.connect(t, "")
		c.send(packet)
		c.expectClosed()
	}
}
