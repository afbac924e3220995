package handlers_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/architus/guildcast/internal/test/sioclient"
)

// patience is how long a test waits for what must come.
const patience = time.Minute

// client is a sioclient.Client with the names that these tests have for what they do.
type client struct {
	*sioclient.Client
	t   testing.TB
	sid string
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
	return connectWith(t, server, auth, sioclient.Options{})
}

func connectWith(t testing.TB, server *httptest.Server, auth any, opts sioclient.Options) *client {
	t.Helper()
	if auth != nil {
		opts.Auth = marshal(auth)
	}
	c := sioclient.Connect(t, strings.TrimPrefix(server.URL, "http://"), opts)
	return &client{Client: c, t: t, sid: c.SID()}
}

func marshal(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func (c *client) write(packet string) { _ = c.Send(packet) } // a test that minds waits for the answer

func (c *client) close()  { c.Close() }
func (c *client) pause()  { c.Pause() }
func (c *client) resume() { c.Resume() }
func (c *client) gone()   { c.t.Helper(); c.Gone() }

// emit sends an event with its payload; a string stays a string.
func (c *client) emit(event string, payload any) { c.Emit(event, payload) }

// ask emits and returns the arguments of the acknowledgement, an array.
func (c *client) ask(event string, payload any) json.RawMessage {
	c.t.Helper()
	return c.await(func(id int) { c.write(fmt.Sprintf("42%d%s", id, marshal([]any{event, payload}))) })
}

// await returns the arguments of the acknowledgement of what send sends.
func (c *client) await(send func(id int)) json.RawMessage {
	c.t.Helper()
	var args [][]byte
	for _, arg := range c.Await(send).Args {
		args = append(args, arg)
	}
	return slices.Concat([]byte("["), bytes.Join(args, []byte(",")), []byte("]"))
}

// next takes the next event.
func (c *client) next() heard {
	c.t.Helper()
	e := c.Next()
	return heard{e.Name, e.Arg()}
}

// expect takes the next event, which must be this one.
func (c *client) expect(event string) heard {
	c.t.Helper()
	return heard{event, c.Expect(event).Arg()}
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
