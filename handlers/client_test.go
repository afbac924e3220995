package handlers_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/websocket"
)

// patience is how long a test waits for what must come.
const patience = time.Minute

// client is a Socket.IO client over WebSocket, just big enough for these tests.
type client struct {
	t   testing.TB
	ws  *websocket.Conn
	sid string

	writing sync.Mutex
	reading sync.Mutex // held while the client doesn't read

	mu     sync.Mutex
	log    []heard
	taken  int
	acks   map[int]chan json.RawMessage
	nextID int
	closed bool
	more   chan struct{} // closed and replaced when log grows or the connection ends
}

// heard is one event.
type heard struct {
	event string
	arg   json.RawMessage
}

func (h heard) String() string { return h.event + " " + string(h.arg) }

// as decodes the event's argument, which must be an object.
func (h heard) as(t testing.TB) map[string]any {
	t.Helper()
	return object(t, h.arg)
}

func object(t testing.TB, raw []byte) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatalf("%s is no object: %v", raw, err)
	}
	return m
}

func connect(t testing.TB, server *httptest.Server, auth any) *client {
	t.Helper()
	return connectQuery(t, server, "", auth)
}

func connectQuery(t testing.TB, server *httptest.Server, query string, auth any) *client {
	t.Helper()
	url := "ws" + strings.TrimPrefix(server.URL, "http") + "/socket.io/?EIO=4&transport=websocket" + query
	ws, err := websocket.Dial(url, "", server.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, ws: ws, acks: map[int]chan json.RawMessage{}, more: make(chan struct{})}
	t.Cleanup(c.close)
	if open := c.read(); !strings.HasPrefix(open, "0") {
		t.Fatalf("open packet %q", open)
	}
	packet := "40"
	if auth != nil {
		packet += marshal(auth)
	}
	c.write(packet)
	reply := c.read()
	if !strings.HasPrefix(reply, "40") {
		t.Fatalf("connect packet %q", reply)
	}
	c.sid, _ = object(t, []byte(reply[2:]))["sid"].(string)
	go c.listen()
	return c
}

func marshal(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func (c *client) read() string {
	var s string
	if err := websocket.Message.Receive(c.ws, &s); err != nil {
		c.t.Fatal(err)
	}
	return s
}

func (c *client) write(s string) {
	c.writing.Lock()
	defer c.writing.Unlock()
	_ = websocket.Message.Send(c.ws, s) // a test that minds waits for the answer
}

func (c *client) close() { _ = c.ws.Close() }

func (c *client) listen() {
	defer func() {
		c.mu.Lock()
		c.closed = true
		close(c.more)
		c.more = make(chan struct{})
		c.mu.Unlock()
	}()
	for {
		c.mayRead()
		var s string
		if err := websocket.Message.Receive(c.ws, &s); err != nil {
			return
		}
		switch {
		case s == "2":
			c.write("3")
		case strings.HasPrefix(s, "42"):
			var parts []json.RawMessage
			var h heard
			if json.Unmarshal([]byte(s[2:]), &parts) == nil && json.Unmarshal(parts[0], &h.event) == nil {
				if len(parts) > 1 {
					h.arg = parts[1]
				}
				c.mu.Lock()
				c.log = append(c.log, h)
				close(c.more)
				c.more = make(chan struct{})
				c.mu.Unlock()
			}
		case strings.HasPrefix(s, "43"):
			i := strings.IndexByte(s, '[')
			id, _ := strconv.Atoi(s[2:i])
			c.mu.Lock()
			ack := c.acks[id]
			c.mu.Unlock()
			ack <- json.RawMessage(s[i:])
		}
	}
}

// pause makes the client stop to read, after the next message at the latest; resume ends that.
func (c *client) pause() { c.reading.Lock() }

func (c *client) resume() { c.reading.Unlock() }

func (c *client) mayRead() {
	c.reading.Lock()
	defer c.reading.Unlock()
}

// emit sends an event with its payload; a string stays a string.
func (c *client) emit(event string, payload any) {
	c.write("42" + marshal([]any{event, payload}))
}

// ask emits and gives the arguments of the acknowledgement.
func (c *client) ask(event string, payload any) json.RawMessage {
	c.t.Helper()
	return c.await(func(id int) { c.write(fmt.Sprintf("42%d%s", id, marshal([]any{event, payload}))) })
}

// await returns the arguments of the acknowledgement of what send sends.
func (c *client) await(send func(id int)) json.RawMessage {
	c.t.Helper()
	c.mu.Lock()
	c.nextID++
	id, ack := c.nextID, make(chan json.RawMessage, 1)
	c.acks[id] = ack
	c.mu.Unlock()
	send(id)
	select {
	case args := <-ack:
		return args
	case <-time.After(patience):
		c.t.Fatal("no acknowledgement")
		return nil
	}
}

// next gives the next event not yet taken.
func (c *client) next() heard {
	c.t.Helper()
	late := time.After(patience)
	for {
		c.mu.Lock()
		if c.taken < len(c.log) {
			h := c.log[c.taken]
			c.taken++
			c.mu.Unlock()
			return h
		}
		closed, more := c.closed, c.more
		c.mu.Unlock()
		if closed {
			c.t.Fatal("the connection was closed")
		}
		select {
		case <-more:
		case <-late:
			c.t.Fatal("no event came")
		}
	}
}

// expect gives the next event, which must be this one.
func (c *client) expect(event string) heard {
	c.t.Helper()
	h := c.next()
	if h.event != event {
		c.t.Fatalf("got %v, want %s", h, event)
	}
	return h
}

// gone waits until the server has closed the connection.
func (c *client) gone() {
	c.t.Helper()
	late := time.After(patience)
	for {
		c.mu.Lock()
		closed, more := c.closed, c.more
		c.mu.Unlock()
		if closed {
			return
		}
		select {
		case <-more:
		case <-late:
			c.t.Fatal("the connection stays open")
		}
	}
}

// unquoted is the text of a JSON string.
func unquoted(t testing.TB, raw []byte) string {
	t.Helper()
	if len(raw) < 2 || raw[0] != '"' {
		t.Fatalf("%s is no string", raw)
	}
	return strings.Trim(object(t, []byte(`{"s":`+string(raw)+`}`))["s"].(string), "\x00")
}

// marshalRaw is text as a JSON string, without the escapes that JavaScript doesn't use.
func marshalRaw(text string) string {
	r := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	return fmt.Sprintf(`"%s"`, r.Replace(text))
}

// elevated connects with a token.
func elevated(t testing.TB, n *node, token string) *client {
	t.Helper()
	c := connect(t, n.server, map[string]any{"token": token})
	if h := c.expect("request_elevation_return").as(t); h["success"] != true {
		t.Fatalf("elevation failed: %v", h)
	}
	return c
}

// wantError checks an error's code and word, and that the shape is the protocol's.
func wantError(t testing.TB, e map[string]any, code int, word string) {
	t.Helper()
	if e["code"] != float64(code) || e["message"] != word {
		t.Fatalf("got error %v, want %d %s", e, code, word)
	}
	_, human := e["human"].(string)
	_, details := e["details"]
	_, context := e["context"].([]any)
	if !human || !details || !context {
		t.Fatalf("%v is not the shape of an error", e)
	}
}
