//go:build integration

package integration

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/engine"
)

// peer is a Socket.IO server of a cluster under test, in Go or Node.js. Both do the same operations.
type peer interface {
	url() string
	// call does an operation (see node/adapter/server.mjs) and returns its result.
	call(t *testing.T, op string, args call) json.RawMessage
	// heard returns the next event that another server emitted with serverSideEmit.
	heard(t *testing.T) string
}

// call holds the arguments of an operation.
type call map[string]any

// result does an operation and decodes its result.
func result[T any](t *testing.T, p peer, op string, args call) T {
	t.Helper()
	var v T
	raw := p.call(t, op, args)
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%s: result %s: %v", op, raw, err)
	}
	return v
}

// answers is the result of "ask" and "sseAck".
type answers struct {
	Values []any
	Error  string
}

// sorted gives the values an order.
func (a answers) sorted() string {
	var out []string
	for _, v := range a.Values {
		b, _ := json.Marshal(v)
		out = append(out, string(b))
	}
	slices.Sort(out)
	return strings.Join(out, " ") + a.Error
}

// described is one socket of "fetch".
type described struct {
	ID        string
	Rooms     []string
	Data      any
	Handshake struct {
		Headers, Query map[string]any
		Time, Address  string
		Xdomain        bool
		Secure         bool
		Issued         float64
		URL            string
		Auth           any
	}
}

// nodePeer is a server of Node.js.
type nodePeer struct {
	adapter string
	p       *process
	port    int

	mu      sync.Mutex
	next    int
	results map[int]chan json.RawMessage
	events  chan string
}

// startNodePeer starts a server with one of the adapters in node/adapter/server.mjs, or "redis-5".
func startNodePeer(t *testing.T, redisURL, adapter, options string, namespaces ...string) *nodePeer {
	t.Helper()
	n := &nodePeer{adapter: adapter, results: map[int]chan json.RawMessage{}, events: make(chan string, 1000)}
	ready := make(chan int, 1)
	env := []string{
		"REDIS_URL=" + redisURL, "ADAPTER=" + adapter, "OPTIONS=" + options,
		"NAMESPACES=" + strings.Join(append([]string{"/"}, namespaces...), ","),
	}
	script := "nodejs/adapter/server.mjs"
	if adapter == "redis-5" {
		script = "nodejs/adapter/server5.mjs"
	}
	n.p = start(t, "node "+adapter, env, func(line []byte) { n.line(line, ready) }, "node", script)
	select {
	case n.port = <-ready:
	case <-n.p.done:
		t.Fatalf("%s ended:\n%s", adapter, n.p.output())
	case <-time.After(patience):
		t.Fatalf("%s is not ready:\n%s", adapter, n.p.output())
	}
	return n
}

func (n *nodePeer) line(line []byte, ready chan int) {
	var m struct {
		Type   string
		Port   int
		N      int
		Result json.RawMessage
		Error  string
		Event  string
		Args   json.RawMessage
	}
	if json.Unmarshal(line, &m) != nil {
		return
	}
	switch m.Type {
	case "ready":
		ready <- m.Port
	case "heard":
		n.events <- m.Event + " " + string(m.Args)
	case "result":
		n.mu.Lock()
		c := n.results[m.N]
		n.mu.Unlock()
		if m.Error != "" {
			m.Result, _ = json.Marshal(map[string]string{"error": m.Error})
		}
		c <- m.Result
	}
}

func (n *nodePeer) url() string { return fmt.Sprint("http://127.0.0.1:", n.port) }

func (n *nodePeer) call(t *testing.T, op string, args call) json.RawMessage {
	t.Helper()
	done := make(chan json.RawMessage, 1)
	o := call{"nsp": "/", "args": []any{}}
	for k, v := range args {
		o[k] = v
	}
	n.mu.Lock()
	n.next++
	n.results[n.next] = done
	o["n"], o["op"] = n.next, op
	line, _ := json.Marshal(o)
	_, err := n.p.in.Write(append(line, '\n'))
	n.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	select {
	case r := <-done:
		return r
	case <-n.p.done:
		t.Fatalf("the server has ended:\n%s", n.p.output())
	case <-time.After(patience):
		t.Fatalf("%s has no result", op)
	}
	return nil
}

func (n *nodePeer) heard(t *testing.T) string { return next(t, n.events) }

func next(t *testing.T, events chan string) string {
	t.Helper()
	select {
	case e := <-events:
		return e
	case <-time.After(patience):
		t.Fatal("no event")
		return ""
	}
}

// goPeer is a server of this project, in the test's process.
type goPeer struct {
	io     *socket.Server
	http   *httptest.Server
	events chan string
}

// startGoPeer starts a server with an adapter.
func startGoPeer(t *testing.T, adapter socket.AdapterConstructor, namespaces ...string) *goPeer {
	t.Helper()
	opts := socket.DefaultServerOptions()
	opts.SetAdapter(adapter)
	io, handler := engine.NewServer(opts, engine.Options{})
	g := &goPeer{io: io, http: httptest.NewServer(handler), events: make(chan string, 1000)}
	for _, name := range append([]string{"/"}, namespaces...) {
		nsp := io.Of(name, nil)
		nsp.On("hello", func(args ...any) {
			text, _ := json.Marshal(notation(args))
			g.events <- "hello " + string(text)
		})
		nsp.On("ask", func(args ...any) {
			last := len(args) - 1
			args[last].(socket.Ack)([]any{append([]any{"answer"}, args[:last]...)}, nil)
		})
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := handler.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		io.Close(nil)
		g.http.CloseClientConnections()
		g.http.Close()
	})
	return g
}

// goRedis is a client for Go peers.
func goRedis(t *testing.T, url string) redis.UniversalClient {
	t.Helper()
	o, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(o)
	t.Cleanup(func() { c.Close() })
	return c
}

// notation turns binary into {"$bin": base64}, and back.
func notation(v any) any {
	switch x := v.(type) {
	case []any:
		out := make([]any, len(x))
		for i, e := range x {
			out[i] = notation(e)
		}
		return out
	case map[string]any:
		if b, ok := x["$bin"].(string); ok {
			raw, _ := base64.StdEncoding.DecodeString(b)
			return raw
		}
		if ms, ok := x["$date"].(float64); ok {
			return time.UnixMilli(int64(ms)).UTC()
		}
		out := make(map[string]any, len(x))
		for k, e := range x {
			out[k] = notation(e)
		}
		return out
	case []byte:
		return map[string]any{"$bin": base64.StdEncoding.EncodeToString(x)}
	case interface{ Bytes() []byte }:
		return notation(x.Bytes())
	}
	return v
}

func (g *goPeer) url() string { return g.http.URL }

func (g *goPeer) heard(t *testing.T) string { return next(t, g.events) }

// selection are the arguments that all operations share, as JSON has them.
type selection struct {
	Nsp     string
	Rooms   []socket.Room
	Except  []socket.Room
	Targets []socket.Room
	Flags   struct {
		Local, Volatile bool
		Timeout         int
	}
	Event string
	Args  []any
	Count int
	Close bool
	ID    socket.SocketId
	Data  any
}

func (s selection) operator(io *socket.Server) *socket.BroadcastOperator {
	b := io.Of(s.Nsp, nil).Except(s.Except...).To(s.Rooms...)
	if s.Flags.Local {
		b = b.Local()
	}
	if s.Flags.Volatile {
		b = b.Volatile()
	}
	if s.Flags.Timeout > 0 {
		b = b.Timeout(time.Duration(s.Flags.Timeout) * time.Millisecond)
	}
	return b
}

func (g *goPeer) call(t *testing.T, op string, args call) json.RawMessage {
	t.Helper()
	raw, _ := json.Marshal(args)
	s := selection{Nsp: "/"}
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	s.Args, _ = notation(s.Args).([]any)
	out, err := json.Marshal(g.do(t, op, s))
	if err != nil {
		t.Fatalf("%s: %v", op, err)
	}
	return out
}

func (g *goPeer) do(t *testing.T, op string, s selection) any {
	b, nsp := s.operator(g.io), g.io.Of(s.Nsp, nil)
	switch op {
	case "emit":
		b.Emit(s.Event, s.Args...)
	case "burst":
		for i := range s.Count {
			b.Emit(s.Event, i)
		}
	case "ask":
		return asked(t, func(ack socket.Ack) { b.EmitWithAck(s.Event, s.Args...)(ack) })
	case "sse":
		if err := nsp.ServerSideEmit(s.Event, s.Args...); err != nil {
			t.Fatal(err)
		}
	case "sseAck":
		return asked(t, func(ack socket.Ack) {
			if err := nsp.ServerSideEmitWithAck(s.Event, s.Args...)(ack); err != nil {
				t.Fatal(err)
			}
		})
	case "fetch":
		out := []any{}
		for _, r := range g.fetch(t, b) {
			h := r.Handshake()
			out = append(out, map[string]any{
				"id": r.Id(), "rooms": r.Rooms().Keys(), "data": notation(r.Data()), "handshake": h,
			})
		}
		return out
	case "remote":
		got := asked(t, func(ack socket.Ack) {
			g.fetch(t, b)[0].Timeout(patience).EmitWithAck(s.Event, s.Args...)(ack)
		})
		if len(got.Values) != 1 || got.Error != "" {
			t.Fatalf("remote socket answered %+v", got)
		}
		return got.Values[0]
	case "join":
		b.SocketsJoin(s.Targets...)
	case "leave":
		b.SocketsLeave(s.Targets...)
	case "disconnect":
		b.DisconnectSockets(s.Close)
	case "allRooms":
		rooms, err := nsp.Adapter().(interface {
			AllRooms(context.Context) ([]socket.Room, error)
		}).AllRooms(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		return rooms
	case "sockets":
		return nsp.Adapter().Sockets(types.NewSet(s.Rooms...)).Keys()
	case "serverCount":
		return nsp.Adapter().ServerCount()
	case "own":
		so, ok := nsp.Sockets().Load(s.ID)
		if !ok {
			t.Fatalf("no socket %s", s.ID)
		}
		if s.Data != nil {
			so.SetData(notation(s.Data))
		}
		so.Join(s.Targets...)
	default:
		t.Fatalf("no operation %s", op)
	}
	return nil
}

func asked(t *testing.T, ask func(socket.Ack)) answers {
	t.Helper()
	done := make(chan answers, 2)
	ask(func(values []any, err error) {
		a := answers{Values: notation(values).([]any)}
		if err != nil {
			a.Error = err.Error()
		}
		done <- a
	})
	select {
	case a := <-done:
		return a
	case <-time.After(patience):
		t.Fatal("no answer")
		return answers{}
	}
}

func (g *goPeer) fetch(t *testing.T, b *socket.BroadcastOperator) []*socket.RemoteSocket {
	t.Helper()
	done := make(chan []*socket.RemoteSocket, 1)
	b.FetchSockets()(func(s []*socket.RemoteSocket, err error) {
		if err != nil {
			t.Errorf("fetch: %v", err)
		}
		done <- s
	})
	return <-done
}
