package guildcasttest

import (
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/architus/guildcast/internal/test/sioclient"
)

// Client is a browser's connection. It keeps what it receives until the test asks for it. What does not come in time
// fails the test, and so does what is not as the protocol's schemas say. All methods may be called concurrently.
type Client struct {
	ID string // of the socket; its room after an elevation is ID and "_auth"

	node  *Node
	token string
	conn  *sioclient.Client

	lastID atomic.Int64 // of the pool requests

	mu   sync.Mutex // held while one waits
	kept []Received // that Wait has passed over
}

// Received is an event that a client received.
type Received struct {
	Name     string
	Payload  json.RawMessage
	Position string // of a durable event, if the client spectates with positions; "" otherwise
}

// Connect connects a client. Token elevates it, unless it is "". Connect returns once that has succeeded, or fails the
// test.
func (n *Node) Connect(token string) *Client {
	n.t.Helper()
	o := sioclient.Options{Patience: n.timeout}
	if token != "" {
		o.Auth = string(n.encode(map[string]string{"token": token}))
	}
	conn := sioclient.Connect(n.t, n.addr, o)
	c := &Client{ID: conn.SID(), node: n, token: token, conn: conn}
	if token == "" {
		return c
	}
	var answer struct{ Success bool }
	c.decode(c.Wait("request_elevation_return").Payload, &answer)
	if !answer.Success {
		n.t.Fatalf("the elevation failed: %v", answer)
	}
	return c
}

// Spectate makes the client spectate a guild and returns once what is published reaches it. Fields are further members
// of the request, such as "include_logs" or "since"; nil for none.
func (c *Client) Spectate(guild string, fields map[string]any) (answer json.RawMessage) {
	c.node.t.Helper()
	request := map[string]any{"guild_id": guild, "token": c.token}
	for name, value := range fields {
		request[name] = value
	}
	c.Emit("spectate", request)
	got := c.wait(func(e Received) bool {
		return e.Name == "spectate_return" || e.about("spectate")
	}, "spectate_return")
	if got.Name != "spectate_return" {
		c.node.t.Fatalf("spectate %s: %s", guild, got.Payload)
	}
	return got.Payload
}

// about reports whether an event is an error about a request.
func (r Received) about(request string) bool {
	var fields struct{ Context []string }
	return r.Name == "error" && json.Unmarshal(r.Payload, &fields) == nil && len(fields.Context) > 0 &&
		fields.Context[0] == request
}

// Pool returns all entities in the answer to a pool request, and the ids that don't exist. Query is the request without
// its token.
func (c *Client) Pool(query map[string]any) (entities []json.RawMessage, nonexistent []string) {
	c.node.t.Helper()
	request := map[string]any{"token": c.token, "_id": c.lastID.Add(1)}
	for name, value := range query {
		request[name] = value
	}
	id := fmt.Sprint(request["_id"])
	c.Emit("pool", request)
	for {
		e := c.wait(func(e Received) bool {
			return (e.Name == "pool_response" || e.Name == "error") && idOf(e.Payload) == id
		}, "the answer to a pool request")
		if e.Name == "error" {
			c.node.t.Fatalf("pool %v: %s", query, e.Payload)
		}
		var part struct {
			Type        string
			Data        []json.RawMessage
			Nonexistent []string
			Finished    bool
		}
		c.decode(e.Payload, &part)
		if part.Type == request["type"] { // and not the users of members
			entities = append(entities, part.Data...)
		}
		if part.Finished {
			return entities, part.Nonexistent
		}
	}
}

func idOf(payload json.RawMessage) string {
	var fields struct {
		ID any `json:"_id"`
	}
	_ = json.Unmarshal(payload, &fields) // what is no object has none
	return fmt.Sprint(fields.ID)
}

// Emit sends an event. A string is sent as a string, anything else as JSON.
func (c *Client) Emit(event string, payload any) { c.conn.Emit(event, payload) }

// Ask sends an event and returns its acknowledgement. The answer comes as an event, too.
func (c *Client) Ask(event string, payload any) json.RawMessage {
	c.node.t.Helper()
	return c.conn.Ask(event, payload)
}

// Wait takes the first event of this name that was not taken yet. Events of other names stay.
func (c *Client) Wait(event string) Received {
	c.node.t.Helper()
	return c.wait(func(e Received) bool { return e.Name == event }, event)
}

// WaitFor is Wait for an event that match accepts.
func (c *Client) WaitFor(match func(Received) bool) Received {
	c.node.t.Helper()
	return c.wait(match, "an event that matches")
}

func (c *Client) wait(match func(Received) bool, what string) Received {
	c.node.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, e := range c.kept {
		if match(e) {
			c.kept = append(c.kept[:i:i], c.kept[i+1:]...)
			return e
		}
	}
	for {
		next, err := c.conn.TryNext()
		if err != nil {
			c.node.t.Fatalf("wait for %s: %v; received %s", what, err, c.kept)
		}
		e := received(next)
		if match(e) {
			return e
		}
		c.kept = append(c.kept, e)
	}
}

func received(e sioclient.Event) Received {
	r := Received{Name: e.Name, Payload: e.Arg()}
	if len(e.Args) > 1 {
		_ = json.Unmarshal(e.Args[1], &r.Position) // null leaves ""
	}
	return r
}

func (r Received) String() string { return fmt.Sprintf("%s %s", r.Name, r.Payload) }

// Taken returns the events that have come and were not taken yet, in order, and takes them. To know that an event did
// not come, publish another one after it and Wait for that.
func (c *Client) Taken() []Received {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.kept
	c.kept = nil
	for {
		e, ok := c.conn.Take()
		if !ok {
			return list
		}
		list = append(list, received(e))
	}
}

// Close disconnects the client. The end of the test does, too.
func (c *Client) Close() { c.conn.Close() }

func (c *Client) decode(data json.RawMessage, v any) {
	c.node.t.Helper()
	c.node.must(json.Unmarshal(data, v))
}
