package adapter

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/internal/test/sioclient"
)

// patience is how long a test waits for what should come, silence how long for what should not.
const (
	patience = time.Minute
	silence  = 150 * time.Millisecond
)

// node is a server of a cluster under test.
type node struct {
	t    *testing.T
	io   *socket.Server
	http *httptest.Server
}

func newNode(t *testing.T, c socket.AdapterConstructor) *node {
	t.Helper()
	opts := socket.DefaultServerOptions()
	opts.SetAdapter(c)
	io, handler := engine.NewServer(opts, engine.Options{})
	n := &node{t: t, io: io, http: httptest.NewServer(handler)}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := handler.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		n.io.Close(nil)
		n.http.CloseClientConnections()
		n.http.Close()
	})
	return n
}

// adapterOf is the adapter of a namespace.
func (n *node) classic(nsp string) *classic { return n.io.Of(nsp, nil).Adapter().(*classic) }

// confirmed waits until Redis has confirmed every channel of b: a join waits for that too, but not for ever on a busy
// machine.
func confirmed(t *testing.T, b *bus.Bus) {
	t.Helper()
	await(t, func() (int, bool) { n := b.Stats().UnconfirmedSubs; return n, n == 0 })
}

// event is what a client got: the name and the arguments. Binary is a []byte.
type event []any

// client is a client of one test. Its events come from a goroutine that ends with the test.
type client struct {
	*sioclient.Client
	t      *testing.T
	sid    string // of the socket
	events chan event
	acks   func(event) []any // answers events that want an acknowledgement
}

// connect connects a client to a namespace of n; join puts it into rooms, on the server.
func (n *node) connect(nsp string, join ...socket.Room) *client {
	n.t.Helper()
	var hearing sync.WaitGroup
	n.t.Cleanup(hearing.Wait)
	opts := sioclient.Options{Headers: "User-Agent: test\r\n"}
	if nsp != "/" {
		opts.Namespace = nsp
	}
	c := &client{
		Client: sioclient.Connect(n.t, strings.TrimPrefix(n.http.URL, "http://"), opts), t: n.t,
		events: make(chan event, 5000),
	}
	c.sid = c.SID()
	hearing.Go(func() { c.Each(c.hear) })
	s := await(n.t, func() (*socket.Socket, bool) { return n.io.Of(nsp, nil).Sockets().Load(socket.SocketId(c.sid)) })
	if len(join) > 0 {
		s.Join(join...)
	}
	return c
}

// hear answers an event if it wants that, and keeps it.
func (c *client) hear(heard sioclient.Event) {
	e := event{heard.Name}
	for _, arg := range heard.Args {
		var v any
		if err := json.Unmarshal(arg, &v); err != nil {
			c.t.Errorf("client got %s: %v", heard, err)
		}
		e = append(e, fill(v, heard.Attachments))
	}
	if heard.WantsAnswer() && c.acks != nil {
		c.Answer(heard, c.acks(e)...)
	}
	c.events <- e
}

// await polls f until it is true.
func await[T any](t *testing.T, f func() (T, bool)) T {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		if v, ok := f(); ok {
			return v
		}
		if time.Now().After(deadline) {
			t.Fatal("did not happen in time")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// inTime calls f, which asks with a timeout that has to pass, until all that should come before it has come: a busy
// machine gets ever longer ones.
func inTime(t *testing.T, f func(timeout time.Duration) bool) {
	t.Helper()
	for timeout := 100 * time.Millisecond; !f(timeout); timeout *= 2 {
		if timeout > patience {
			t.Fatalf("did not come within %v", timeout)
		}
	}
}

// fill puts attachments in the place of their placeholders.
func fill(v any, attachments [][]byte) any {
	switch x := v.(type) {
	case []any:
		for i := range x {
			x[i] = fill(x[i], attachments)
		}
	case map[string]any:
		if x["_placeholder"] == true {
			return attachments[int(x["num"].(float64))]
		}
		for k := range x {
			x[k] = fill(x[k], attachments)
		}
	}
	return v
}

// wants fails the test unless the next event is e.
func (c *client) wants(e ...any) {
	c.t.Helper()
	if got := c.next(); !reflect.DeepEqual(got, event(e)) {
		c.t.Fatalf("got %v, want %v", got, e)
	}
}

// next waits for an event.
func (c *client) next() event {
	c.t.Helper()
	select {
	case e := <-c.events:
		return e
	case <-time.After(patience):
		c.t.Fatal("nothing comes")
		return nil
	}
}

// wantNothing fails the test if an event comes to any of clients.
func wantNothing(t *testing.T, clients ...*client) {
	t.Helper()
	time.Sleep(silence)
	for _, c := range clients {
		select {
		case got := <-c.events:
			t.Errorf("got %v", got)
		default:
		}
	}
}

// fetched is what FetchSockets gives.
type fetched struct {
	sockets []*socket.RemoteSocket
	err     error
}

func fetch(t *testing.T, b interface {
	FetchSockets() func(func([]*socket.RemoteSocket, error))
}) fetched {
	t.Helper()
	done := make(chan fetched, 1)
	b.FetchSockets()(func(s []*socket.RemoteSocket, err error) { done <- fetched{s, err} })
	select {
	case f := <-done:
		return f
	case <-time.After(2 * patience):
		t.Fatal("fetch does not end")
		return fetched{}
	}
}

// bytesOf is the content of binary in the types of the library.
func bytesOf(v any) []byte {
	switch x := v.(type) {
	case []byte:
		return x
	case interface{ Bytes() []byte }:
		return bytes.Clone(x.Bytes())
	}
	return nil
}
