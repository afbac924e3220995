//go:build integration

package integration

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter"
	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/internal/test/redistest"
)

// member is a server of a cluster under test, in Go or in Node.js. Both understand the same commands, those of
// node/sharded/server.mjs.
type shardedMember interface {
	name() string
	url() string
	do(t testing.TB, c order) json.RawMessage
	// heard returns the next server-side event.
	heard(t testing.TB) string
}

// order is a command.
type order struct {
	N      int             `json:"n"`
	Op     string          `json:"op"`
	Nsp    string          `json:"nsp,omitempty"`
	Rooms  []string        `json:"rooms,omitempty"`
	Except []string        `json:"except,omitempty"`
	Flags  map[string]any  `json:"flags,omitempty"`
	Event  string          `json:"event,omitempty"`
	Args   json.RawMessage `json:"args,omitempty"`
	Names  []string        `json:"names,omitempty"`
	ID     string          `json:"id,omitempty"`
	Data   json.RawMessage `json:"data,omitempty"`
	Close  bool            `json:"close,omitempty"`
	Count  int             `json:"count,omitempty"`
}

// ackResult is the result of emitWithAck and serverEmitWithAck.
type ackResult struct {
	Error     string            `json:"error"`
	Responses []json.RawMessage `json:"responses"`
}

// socketInfo is one of the result of fetch.
type socketInfo struct {
	ID        string          `json:"id"`
	Rooms     []string        `json:"rooms"`
	Data      json.RawMessage `json:"data"`
	Handshake struct {
		Headers map[string]any `json:"headers"`
		Query   map[string]any `json:"query"`
		Address string         `json:"address"`
		URL     string         `json:"url"`
		Time    string         `json:"time"`
		Issued  int64          `json:"issued"`
		Auth    map[string]any `json:"auth"`
	} `json:"handshake"`
}

// result decodes what a member answered.
func shardedResult[T any](t testing.TB, m shardedMember, c order) T {
	t.Helper()
	var v T
	raw := m.do(t, c)
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%s: %s: %s: %v", m.name(), c.Op, raw, err)
	}
	return v
}

// shardedRedis is a Redis or a Redis Cluster.
type shardedRedis struct {
	addrs  []string
	client func() goredis.UniversalClient
}

func eachShardedRedis(t *testing.T, f func(*testing.T, shardedRedis)) {
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		s := redistest.Start(t)
		f(t, shardedRedis{[]string{s.Addr()}, func() goredis.UniversalClient { return s.Client() }})
	})
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		c := redistest.StartCluster(t)
		f(t, shardedRedis{c.Addrs(), func() goredis.UniversalClient { return c.Client() }})
	})
}

// nodeMember is node/sharded/server.mjs.
type nodeMember struct {
	p    *process
	kind string
	port int

	mu      sync.Mutex
	n       int
	waiting map[int]chan nodeLine
	events  chan string
}

type nodeLine struct {
	N      int             `json:"n"`
	Result json.RawMessage `json:"result"`
	Error  string          `json:"error"`
	Heard  string          `json:"heard"`
	Args   json.RawMessage `json:"args"`
	Ready  int             `json:"ready"`
}

func startNodeMember(t testing.TB, kind string, r shardedRedis, prefix string,
	mode adapter.SubscriptionMode) *nodeMember {
	t.Helper()
	m := &nodeMember{kind: kind, waiting: map[int]chan nodeLine{}, events: make(chan string, 100)}
	ready := make(chan int, 1)
	m.p = start(t, "node "+kind, []string{
		"CLIENT=" + kind, "REDIS_ADDRS=" + strings.Join(r.addrs, ","), "PREFIX=" + prefix, "MODE=" + string(mode),
		"NSPS=/,/chat",
	}, func(line []byte) {
		var l nodeLine
		if err := json.Unmarshal(line, &l); err != nil {
			panic(fmt.Sprintf("node line %q: %v", line, err))
		}
		switch {
		case l.Ready > 0:
			ready <- l.Ready
		case l.Heard != "":
			m.events <- l.Heard + string(l.Args)
		default:
			m.mu.Lock()
			c := m.waiting[l.N]
			delete(m.waiting, l.N)
			m.mu.Unlock()
			if c != nil {
				c <- l
			}
		}
	}, "node", "nodejs/sharded/server.mjs")
	select {
	case m.port = <-ready:
	case <-m.p.done:
		t.Fatalf("node server ended:\n%s", m.p.output())
	case <-time.After(patience):
		t.Fatalf("node server did not start:\n%s", m.p.output())
	}
	return m
}

func (m *nodeMember) name() string { return "node/" + m.kind }
func (m *nodeMember) url() string  { return fmt.Sprintf("http://127.0.0.1:%d", m.port) }

func (m *nodeMember) do(t testing.TB, c order) json.RawMessage {
	t.Helper()
	answer := make(chan nodeLine, 1)
	m.mu.Lock()
	m.n++
	c.N = m.n
	m.waiting[c.N] = answer
	line, err := json.Marshal(c)
	if err == nil {
		_, err = m.p.in.Write(append(line, '\n'))
	}
	m.mu.Unlock()
	if err != nil {
		t.Fatalf("%s: %v", m.name(), err)
	}
	select {
	case l := <-answer:
		if l.Error != "" {
			t.Fatalf("%s: %s: %s", m.name(), c.Op, l.Error)
		}
		return l.Result
	case <-time.After(patience):
		t.Fatalf("%s: %s: no answer\n%s", m.name(), c.Op, m.p.output())
		return nil
	}
}

func (m *nodeMember) heard(t testing.TB) string {
	t.Helper()
	return nextHeard(t, m.name(), m.events)
}

func nextHeard(t testing.TB, name string, events chan string) string {
	t.Helper()
	select {
	case e := <-events:
		return e
	case <-time.After(patience):
		t.Fatalf("%s heard nothing", name)
		return ""
	}
}

// goMember is a server of this process.
type goMember struct {
	io     *socket.Server
	http   *httptest.Server
	events chan string
}

func startGoMember(t testing.TB, c socket.AdapterConstructor) *goMember {
	t.Helper()
	opts := socket.DefaultServerOptions()
	opts.SetAdapter(c)
	io, handler := engine.NewServer(opts, engine.Options{})
	m := &goMember{io: io, http: httptest.NewServer(handler), events: make(chan string, 100)}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := handler.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		io.Close(nil)
		m.http.CloseClientConnections()
		m.http.Close()
	})
	for _, nsp := range []string{"/", "/chat"} {
		n := io.Of(nsp, nil)
		n.On("hello", func(args ...any) { m.events <- "hello" + string(withBin(args)) })
		n.On("question", func(args ...any) {
			ack := args[len(args)-1].(socket.Ack)
			ack([]any{append([]any{"go"}, args[:len(args)-1]...)}, nil)
		})
		n.On("mute", func(...any) {})
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		if err := adapter.Ready(ctx, n); err != nil {
			t.Fatal(err)
		}
		cancel()
	}
	return m
}

func (m *goMember) name() string { return "go" }
func (m *goMember) url() string  { return m.http.URL }

func (m *goMember) heard(t testing.TB) string {
	t.Helper()
	return nextHeard(t, m.name(), m.events)
}

// withBin is the JSON of v with binary as {"$bin": base64}.
func withBin(v any) json.RawMessage {
	b, err := json.Marshal(encodeBin(v))
	if err != nil {
		panic(err)
	}
	return b
}

func encodeBin(v any) any {
	switch x := v.(type) {
	case []byte:
		return map[string]any{"$bin": base64.StdEncoding.EncodeToString(x)}
	case interface{ Bytes() []byte }:
		return encodeBin(x.Bytes())
	case []any:
		out := make([]any, len(x))
		for i := range x {
			out[i] = encodeBin(x[i])
		}
		return out
	case map[string]any:
		out := map[string]any{}
		for k := range x {
			out[k] = encodeBin(x[k])
		}
		return out
	}
	return v
}

func decodeBin(v any) any {
	switch x := v.(type) {
	case []any:
		for i := range x {
			x[i] = decodeBin(x[i])
		}
	case map[string]any:
		if s, ok := x["$bin"].(string); ok {
			b, _ := base64.StdEncoding.DecodeString(s)
			return b
		}
		for k := range x {
			x[k] = decodeBin(x[k])
		}
	}
	return v
}

func argsOf(raw json.RawMessage) []any {
	var args []any
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &args); err != nil {
			panic(err)
		}
	}
	return decodeBin(args).([]any)
}

func rooms(names []string) []socket.Room {
	out := make([]socket.Room, len(names))
	for i, n := range names {
		out[i] = socket.Room(n)
	}
	return out
}

func (m *goMember) nsp(c order) socket.Namespace {
	if c.Nsp == "" {
		return m.io.Of("/", nil)
	}
	return m.io.Of(c.Nsp, nil)
}

func (m *goMember) target(c order) *socket.BroadcastOperator {
	b := m.nsp(c).To(rooms(c.Rooms)...).Except(rooms(c.Except)...)
	if c.Flags["volatile"] == true {
		b = b.Volatile()
	}
	if c.Flags["local"] == true {
		b = b.Local()
	}
	if v, ok := c.Flags["compress"].(bool); ok {
		b = b.Compress(v)
	}
	if ms, ok := c.Flags["timeout"].(int); ok {
		b = b.Timeout(time.Duration(ms) * time.Millisecond)
	}
	return b
}

func acked(start func(socket.Ack)) json.RawMessage {
	done := make(chan json.RawMessage, 1)
	start(func(values []any, err error) {
		r := map[string]any{"responses": []any{}}
		if values != nil {
			r["responses"] = values
		}
		if err != nil {
			r["error"] = err.Error()
		}
		done <- withBin(r)
	})
	select {
	case r := <-done:
		return r
	case <-time.After(patience):
		return json.RawMessage(`{"error":"no acknowledgement"}`)
	}
}

func (m *goMember) do(t testing.TB, c order) json.RawMessage {
	t.Helper()
	switch c.Op {
	case "emit":
		must(t, m.target(c).Emit(c.Event, argsOf(c.Args)...))
	case "burst":
		for i := range c.Count {
			must(t, m.target(c).Emit(c.Event, i))
		}
	case "emitWithAck":
		return acked(m.target(c).EmitWithAck(c.Event, argsOf(c.Args)...))
	case "emitToRemote":
		s := m.fetch(t, c)[0]
		var r struct{ Responses json.RawMessage }
		raw := acked(s.Timeout(patience).EmitWithAck(c.Event, argsOf(c.Args)...))
		var list ackResult
		must(t, json.Unmarshal(raw, &list))
		must(t, json.Unmarshal(raw, &r))
		if list.Error != "" || len(list.Responses) != 1 {
			t.Fatalf("remote socket: %s", raw)
		}
		return list.Responses[0]
	case "fetch":
		var out []any
		for _, s := range m.fetch(t, c) {
			out = append(out, map[string]any{
				"id": s.Id(), "rooms": s.Rooms().Keys(), "data": encodeBin(s.Data()),
				"handshake": map[string]any{
					"headers": s.Handshake().Headers, "query": s.Handshake().Query, "address": s.Handshake().Address,
					"url": s.Handshake().Url, "time": s.Handshake().Time, "issued": s.Handshake().Issued,
					"auth": s.Handshake().Auth,
				},
			})
		}
		return withBin(out)
	case "joinAll":
		m.target(c).SocketsJoin(rooms(c.Names)...)
	case "leaveAll":
		m.target(c).SocketsLeave(rooms(c.Names)...)
	case "disconnectAll":
		m.target(c).DisconnectSockets(c.Close)
	case "join", "leave", "setData":
		m.change(t, c)
	case "serverEmit":
		must(t, m.nsp(c).ServerSideEmit(c.Event, argsOf(c.Args)...))
	case "serverEmitWithAck":
		return acked(func(a socket.Ack) { must(t, m.nsp(c).ServerSideEmitWithAck(c.Event, argsOf(c.Args)...)(a)) })
	case "serverCount":
		return withBin(m.nsp(c).Adapter().ServerCount())
	default:
		t.Fatalf("unknown op %s", c.Op)
	}
	return json.RawMessage("null")
}

func (m *goMember) change(t testing.TB, c order) {
	t.Helper()
	s, ok := m.nsp(c).Sockets().Load(socket.SocketId(c.ID))
	if !ok {
		t.Fatalf("no socket %s", c.ID)
	}
	switch c.Op {
	case "join":
		s.Join(rooms(c.Names)...)
	case "leave":
		for _, r := range rooms(c.Names) {
			s.Leave(r)
		}
	case "setData":
		var data any
		must(t, json.Unmarshal(c.Data, &data))
		s.SetData(decodeBin(data))
	}
}

func (m *goMember) fetch(t testing.TB, c order) []*socket.RemoteSocket {
	t.Helper()
	type fetched struct {
		sockets []*socket.RemoteSocket
		err     error
	}
	done := make(chan fetched, 1)
	m.target(c).FetchSockets()(func(s []*socket.RemoteSocket, err error) { done <- fetched{s, err} })
	f := <-done
	must(t, f.err)
	return f.sockets
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
