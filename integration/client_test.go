//go:build integration

package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/architus/guildcast/internal/test/traffic"
)

// browsers is a Node.js process with real socket.io-client connections.
type browsers struct {
	p *process

	mu      sync.Mutex
	clients map[string]*client
	next    int
	trouble []error // traffic that is not as the schemas say
}

// client is one connection. What it hears is kept in order until it is taken.
type client struct {
	b  *browsers
	id string

	mu    sync.Mutex
	log   []heard
	taken int           // log[:taken] was looked at by expect
	more  chan struct{} // closed and replaced when log grows
	acks  int
	asked map[int]heard // by their acknowledgements, until those come

	session *traffic.Session
}

// heard is one line of the driver.
type heard struct {
	ID        string            `json:"id"`
	Type      string            `json:"type"`
	SID       string            `json:"sid"`
	Recovered bool              `json:"recovered"`
	Event     string            `json:"event"`
	Args      []json.RawMessage `json:"args"`
	Ack       int               `json:"ack"`
	Message   string            `json:"message"`
	Reason    string            `json:"reason"`
}

func (h heard) String() string {
	b, _ := json.Marshal(h)
	return string(b)
}

func startBrowsers(t testing.TB) *browsers {
	t.Helper()
	b := &browsers{clients: map[string]*client{}}
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, err := range b.trouble {
			t.Errorf("not as the schemas say: %v", err)
		}
	})
	ready := make(chan struct{})
	var once sync.Once
	b.p = start(t, "browsers", nil, func(line []byte) {
		var h heard
		if err := json.Unmarshal(line, &h); err != nil {
			panic(fmt.Sprintf("driver line %q: %v", line, err))
		}
		if h.Type == "ready" {
			once.Do(func() { close(ready) })
			return
		}
		b.mu.Lock()
		c := b.clients[h.ID]
		b.mu.Unlock()
		if c == nil {
			return
		}
		if err := c.check(h); err != nil {
			b.mu.Lock()
			b.trouble = append(b.trouble, err)
			b.mu.Unlock()
		}
		c.hear(h)
	}, "node", "nodejs/client.mjs")
	select {
	case <-ready:
	case <-b.p.done:
		t.Fatalf("the browsers ended:\n%s", b.p.output())
	case <-time.After(patience):
		t.Fatal("the browsers did not start")
	}
	return b
}

func (b *browsers) send(t testing.TB, command map[string]any) {
	t.Helper()
	line, err := json.Marshal(command)
	if err != nil {
		t.Fatal(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := b.p.in.Write(append(line, '\n')); err != nil {
		t.Fatalf("browsers: %v", err)
	}
}

// dial starts a connection without waiting for it.
func (b *browsers) dial(t testing.TB, url string, options map[string]any) *client {
	t.Helper()
	b.mu.Lock()
	b.next++
	c := &client{
		b: b, id: fmt.Sprint("c", b.next), more: make(chan struct{}), asked: map[int]heard{},
		session: traffic.NewSession(),
	}
	b.clients[c.id] = c
	b.mu.Unlock()
	b.send(t, map[string]any{"op": "connect", "id": c.id, "url": url, "options": options})
	return c
}

// connect dials and returns once connected, with the socket's id.
func (b *browsers) connect(t testing.TB, url string, options map[string]any) (*client, string) {
	t.Helper()
	c := b.dial(t, url, options)
	return c, c.wait(t, "connect", func(h heard) bool { return h.Type == "connect" }).SID
}

// check checks an event or an acknowledgement of a node.
func (c *client) check(h heard) error {
	switch h.Type {
	case "event":
		return c.session.Event(h.Event, h.Args)
	case "ack":
		c.mu.Lock()
		asked := c.asked[h.Ack]
		delete(c.asked, h.Ack)
		c.mu.Unlock()
		if !traffic.Known(asked.Event) {
			return nil // an event of another server of the cluster
		}
		return traffic.Exchange(asked.Event, asked.Args, h.Args)
	}
	return nil
}

// note notes a request, for when it is answered. Ack is 0 if there is no acknowledgement.
func (c *client) note(t testing.TB, event string, args []any, ack int) {
	t.Helper()
	request := heard{Event: event}
	for _, arg := range args {
		b, err := json.Marshal(arg)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte(`{"$bin":`)) { // which the driver sends as binary
			b = []byte("null")
		}
		request.Args = append(request.Args, b)
	}
	c.session.Request(event, request.Args)
	if ack != 0 {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.asked[ack] = request
	}
}

func (c *client) hear(h heard) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log = append(c.log, h)
	close(c.more)
	c.more = make(chan struct{})
}

// wait returns the first thing heard since the last wait that matches; what comes before it counts as looked at.
func (c *client) wait(t testing.TB, what string, match func(heard) bool) heard {
	t.Helper()
	deadline := time.After(patience)
	for {
		c.mu.Lock()
		for i := c.taken; i < len(c.log); i++ {
			if h := c.log[i]; match(h) {
				if h.Type != "ack" { // what came before an acknowledgement is still to be looked at
					c.taken = i + 1
				}
				c.mu.Unlock()
				return h
			}
		}
		more := c.more
		c.mu.Unlock()
		select {
		case <-more:
		case <-deadline:
			c.mu.Lock()
			defer c.mu.Unlock()
			t.Fatalf("%s waited for %s; heard %v", c.id, what, c.log)
		}
	}
}

// event waits for an event and decodes its first argument into v, unless v is nil.
func (c *client) event(t testing.TB, name string, v any) heard {
	t.Helper()
	h := c.wait(t, "event "+name, func(h heard) bool { return h.Type == "event" && h.Event == name })
	if v != nil {
		if len(h.Args) == 0 {
			t.Fatalf("%s has no argument", name)
		}
		if err := json.Unmarshal(h.Args[0], v); err != nil {
			t.Fatalf("%s %s: %v", name, h.Args[0], err)
		}
	}
	return h
}

func (c *client) emit(t testing.TB, event string, args ...any) {
	t.Helper()
	if args == nil {
		args = []any{}
	}
	c.note(t, event, args, 0)
	c.b.send(t, map[string]any{"op": "emit", "id": c.id, "event": event, "args": args})
}

// call emits with an acknowledgement and returns its arguments.
func (c *client) call(t testing.TB, event string, args ...any) []json.RawMessage {
	t.Helper()
	if args == nil {
		args = []any{}
	}
	c.mu.Lock()
	c.acks++
	ack := c.acks
	c.mu.Unlock()
	c.note(t, event, args, ack)
	c.b.send(t, map[string]any{"op": "emit", "id": c.id, "event": event, "args": args, "ack": ack})
	return c.wait(t, "ack of "+event, func(h heard) bool { return h.Type == "ack" && h.Ack == ack }).Args
}

// events returns all events of the given names that were heard so far, in order.
func (c *client) events(names ...string) []heard {
	c.mu.Lock()
	defer c.mu.Unlock()
	var es []heard
	for _, h := range c.log {
		if h.Type == "event" && slices.Contains(names, h.Event) {
			es = append(es, h)
		}
	}
	return es
}
