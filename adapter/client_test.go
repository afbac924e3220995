package adapter

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/engine"
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

// client speaks Socket.IO over long polling. Its events come from a goroutine that ends with the test.
type client struct {
	t      *testing.T
	url    string
	sid    string // of the socket
	nsp    string
	events chan event
	acks   func(event) []any // answers events that want an acknowledgement

	mu   sync.Mutex
	open *event // waits for attachments
	left int
	raw  []string
	id   string
}

// connect connects a client to a namespace of n; join puts it into rooms, on the server.
func (n *node) connect(nsp string, join ...socket.Room) *client {
	n.t.Helper()
	url := n.http.URL + "/socket.io/?EIO=4&transport=polling"
	c := &client{t: n.t, url: url, nsp: nsp, events: make(chan event, 5000)}
	var open struct{ Sid string }
	handshake, _ := c.get(context.Background())
	if err := json.Unmarshal([]byte(strings.TrimPrefix(handshake, "0")), &open); err != nil {
		n.t.Fatal(err)
	}
	c.url += "&sid=" + open.Sid
	connected := make(chan string, 1)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			payload, ok := c.get(ctx)
			if !ok {
				return
			}
			for _, p := range strings.Split(payload, "\x1e") {
				c.packet(p, connected)
			}
		}
	}()
	n.t.Cleanup(func() {
		c.post("1")
		select {
		case <-done: // it has fetched all: a server that shuts down would wait for that
		case <-time.After(patience):
			n.t.Error("the server does not let the client go")
		}
		cancel()
		<-done
	})
	c.post("40" + c.prefix())
	select {
	case c.sid = <-connected:
	case <-time.After(patience):
		n.t.Fatal("no connection")
	}
	s := await(n.t, func() (*socket.Socket, bool) { return n.io.Of(nsp, nil).Sockets().Load(socket.SocketId(c.sid)) })
	if len(join) > 0 {
		s.Join(join...)
	}
	return c
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

func (c *client) prefix() string {
	if c.nsp == "/" {
		return ""
	}
	return c.nsp + ","
}

// get polls. It returns false when the session is closed.
func (c *client) get(ctx context.Context) (string, bool) {
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", false
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err == nil && resp.StatusCode == http.StatusOK
}

func (c *client) post(p string) {
	resp, err := http.Post(c.url, "text/plain", strings.NewReader(p))
	if err == nil {
		resp.Body.Close()
	}
}

// packet handles one Engine.IO packet.
func (c *client) packet(p string, connected chan string) {
	if p == "" {
		return
	}
	if p[0] == 'b' {
		b, _ := base64.StdEncoding.DecodeString(p[1:])
		c.attachment(b)
		return
	}
	switch {
	case p == "2":
		c.post("3")
	case strings.HasPrefix(p, "40"):
		var v struct{ Sid string }
		json.Unmarshal([]byte(strings.TrimPrefix(p[2:], c.prefix())), &v)
		connected <- v.Sid
	case strings.HasPrefix(p, "42"), strings.HasPrefix(p, "45"):
		c.event(p)
	}
}

func (c *client) event(p string) {
	body := p[2:]
	n := 0
	if p[1] == '5' {
		count, rest, _ := strings.Cut(body, "-")
		fmt.Sscan(count, &n)
		body = rest
	}
	body = strings.TrimPrefix(body, c.prefix())
	i := max(strings.IndexByte(body, '['), 0)
	var e event
	if err := json.Unmarshal([]byte(body[i:]), &e); err != nil {
		c.t.Errorf("client got %q: %v", p, err)
		return
	}
	c.mu.Lock()
	c.open, c.left, c.id = &e, n, body[:i]
	c.raw = nil
	c.mu.Unlock()
	if n == 0 {
		c.complete(nil)
	}
}

func (c *client) attachment(b []byte) {
	c.mu.Lock()
	c.raw = append(c.raw, string(b))
	full := len(c.raw) == c.left
	c.mu.Unlock()
	if full {
		c.complete(c.raw)
	}
}

func (c *client) complete(attachments []string) {
	c.mu.Lock()
	e, id := *c.open, c.id
	c.mu.Unlock()
	for i := range e {
		e[i] = fill(e[i], attachments)
	}
	if id != "" && c.acks != nil {
		answer := c.acks(e)
		c.answer(id, answer)
	}
	c.events <- e
}

// answer sends an acknowledgement; a []byte at the top goes as binary.
func (c *client) answer(id string, args []any) {
	var attachments string
	n := 0
	for i, a := range args {
		if b, ok := a.([]byte); ok {
			args[i] = map[string]any{"_placeholder": true, "num": n}
			attachments += "\x1eb" + base64.StdEncoding.EncodeToString(b)
			n++
		}
	}
	if args == nil {
		args = []any{}
	}
	text, _ := json.Marshal(args)
	head := "43"
	if n > 0 {
		head = fmt.Sprintf("46%d-", n)
	}
	c.post(head + c.prefix() + id + string(text) + attachments)
}

// fill puts attachments in the place of their placeholders.
func fill(v any, attachments []string) any {
	switch x := v.(type) {
	case []any:
		for i := range x {
			x[i] = fill(x[i], attachments)
		}
	case map[string]any:
		if x["_placeholder"] == true {
			return []byte(attachments[int(x["num"].(float64))])
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
