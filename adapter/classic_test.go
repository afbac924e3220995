package adapter

import (
	"context"
	"fmt"
	"maps"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io-go-parser/v2/parser"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/internal/test/race"
	"github.com/architus/guildcast/internal/test/redistest"
)

// classicCluster makes n servers on one Redis.
func classicCluster(t *testing.T, c redis.UniversalClient, n int, o Options) []*node {
	t.Helper()
	if o.RequestsTimeout == 0 {
		o.RequestsTimeout = patience
	}
	nodes := make([]*node, n)
	for i := range nodes {
		nodes[i] = newNode(t, New(c, o))
	}
	return nodes
}

// each runs a test on miniredis, a Redis and a Redis Cluster, by pattern and by room channels.
func each(t *testing.T, test func(t *testing.T, c redis.UniversalClient, o Options)) {
	t.Run("pattern", func(t *testing.T) {
		redistest.Each(t, func(t *testing.T, c redis.UniversalClient) {
			test(t, c, Options{PatternSubscription: true})
		})
	})
	t.Run("rooms", func(t *testing.T) {
		redistest.Each(t, func(t *testing.T, c redis.UniversalClient) { test(t, c, Options{}) })
	})
}

func TestClassicBroadcast(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c redis.UniversalClient, o Options) {
		nodes := classicCluster(t, c, 3, o)
		c1, c2, c3 := nodes[0].connect("/", "r1"), nodes[1].connect("/", "r1", "r2", "42"), nodes[2].connect("/", "r2")

		nodes[0].io.Emit("all", "a", 1, nil, map[string]any{"k": []any{true}})
		for _, c := range []*client{c1, c2, c3} {
			c.wants("all", "a", 1., nil, map[string]any{"k": []any{true}})
		}
		nodes[1].io.To("r1").Emit("room")
		c1.wants("room")
		c2.wants("room")
		nodes[2].io.To("r1").To("r2").Emit("rooms")
		c1.wants("rooms")
		c2.wants("rooms")
		c3.wants("rooms")
		nodes[2].io.To("r1", "r2").Except("r1").Emit("except")
		c3.wants("except")
		nodes[0].io.To("42").Emit("numeric")
		c2.wants("numeric")
		nodes[0].io.To(socket.Room(c3.sid)).Emit("private", []byte{1, 2}, map[string]any{"b": []byte{}})
		c3.wants("private", []byte{1, 2}, map[string]any{"b": []byte{}})
		nodes[0].io.Local().Emit("local")
		c1.wants("local")
		nodes[1].io.Of("/", nil).Emit("buffers", types.NewBytesBuffer([]byte("x")), strings.NewReader("text"))
		for _, c := range []*client{c1, c2, c3} {
			c.wants("buffers", []byte("x"), "text")
		}
		wantNothing(t, c1, c2, c3)
	})
}

func TestClassicNamespaces(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c redis.UniversalClient, o Options) {
		names := []string{"/", "/a", "/a*", "/[a]", `/\?`, "/日本"}
		if o.Key = "k*[x]"; !o.PatternSubscription || !strings.HasSuffix(t.Name(), "/miniredis") {
			names = append(names, "/a#b") // miniredis delivers for one of several matching patterns only
		}
		nodes := classicCluster(t, c, 2, o)
		clients := map[string]*client{}
		for _, name := range names {
			for _, n := range nodes {
				n.io.Of(name, nil)
			}
		}
		for _, name := range names {
			clients[name] = nodes[1].connect(name, "b", "x y#")
		}
		for _, name := range names {
			nodes[0].io.Of(name, nil).Emit("to", name)
			nodes[0].io.Of(name, nil).To("x y#").Emit("room", name)
		}
		for _, name := range names {
			clients[name].wants("to", name)
			clients[name].wants("room", name)
		}
		wantNothing(t, slices.Collect(maps.Values(clients))...)
	})
}

func TestClassicOrder(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c redis.UniversalClient, o Options) {
		nodes := classicCluster(t, c, 2, o)
		c1 := nodes[1].connect("/", "r1", "r2")
		targets := []*socket.BroadcastOperator{
			nodes[0].io.To("r1"), nodes[0].io.To("r1", "r2"), nodes[0].io.Except("none"), nodes[0].io.To("r2"),
		}
		const n = 1000
		for i := range n {
			targets[i%len(targets)].Emit("n", i)
		}
		for i := range n {
			c1.wants("n", float64(i))
		}
		wantNothing(t, c1)
	})
}

func TestClassicAcks(t *testing.T) {
	if race.Enabled {
		t.Skip("the library's EmitWithAck has a data race")
	}
	t.Parallel()
	redistest.Each(t, func(t *testing.T, c redis.UniversalClient) {
		nodes := classicCluster(t, c, 3, Options{})
		for i := range 4 {
			cl := nodes[i%3].connect("/", "r1")
			cl.acks = func(e event) []any { return []any{fmt.Sprint("answer ", i, e[1])} }
		}
		type result struct {
			values []any
			err    error
		}
		done := make(chan result, 1)
		ask := func(b *socket.BroadcastOperator) result {
			b.EmitWithAck("ask", "q")(func(v []any, err error) { done <- result{v, err} })
			return <-done
		}
		got := ask(nodes[0].io.To("r1").Timeout(patience))
		slices.SortFunc(got.values, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		if fmt.Sprint(got) != "{[answer 0q answer 1q answer 2q answer 3q] <nil>}" {
			t.Errorf("got %v", got)
		}
		// nobody in the room
		if got := ask(nodes[0].io.To("empty").Timeout(patience)); len(got.values) != 0 || got.err != nil {
			t.Errorf("got %v", got)
		}
		// one does not answer
		mute := nodes[1].connect("/", "r1")
		mute.acks = nil
		inTime(t, func(timeout time.Duration) bool {
			got := ask(nodes[0].io.To("r1").Timeout(timeout))
			if got.err == nil {
				t.Errorf("got %v", got)
			}
			return len(got.values) == 4
		})
		// a remote socket answers with a single value
		f := fetch(t, nodes[2].io.In("r1").Except(socket.Room(mute.sid)))
		if f.err != nil || len(f.sockets) != 4 {
			t.Fatalf("fetched %v", f)
		}
		for _, s := range f.sockets {
			s.Timeout(patience).EmitWithAck("ask", "s")(func(v []any, err error) { done <- result{v, err} })
			got := <-done
			if got.err != nil || len(got.values) != 1 || !strings.HasPrefix(fmt.Sprint(got.values[0]), "answer") {
				t.Errorf("got %v", got)
			}
		}
	})
}

func TestClassicAlone(t *testing.T) {
	t.Parallel()
	_, c := redistest.Mini(t)
	n := classicCluster(t, c, 1, Options{})[0]
	done := make(chan error, 1)
	n.io.ServerSideEmitWithAck("x")(func(v []any, err error) {
		if v == nil {
			t.Error("no list")
		}
		done <- err
	})
	if err := <-done; err != nil {
		t.Error(err)
	}
	if f := fetch(t, n.io); f.err != nil || len(f.sockets) != 0 {
		t.Error(f)
	}
}

func TestClassicSpecificResponseChannel(t *testing.T) {
	t.Parallel()
	_, c := redistest.Mini(t)
	nodes := classicCluster(t, c, 3, Options{PublishOnSpecificResponseChannel: true})
	nodes[1].connect("/", "r1")
	if f := fetch(t, nodes[0].io); f.err != nil || len(f.sockets) != 1 {
		t.Error(f)
	}
}

func TestClassicCodec(t *testing.T) {
	t.Parallel()
	_, c := redistest.Mini(t)
	nodes := classicCluster(t, c, 2, Options{Codec: reversed{}})
	c1 := nodes[1].connect("/", "r1")
	c1.acks = func(event) []any { return []any{"yes"} }
	nodes[0].io.To("r1").Emit("x", "text", []byte{7})
	c1.wants("x", "text", []byte{7})
	if race.Enabled {
		return
	}
	done := make(chan []any, 1)
	nodes[0].io.Timeout(patience).EmitWithAck("y")(func(v []any, err error) { done <- v })
	if v := <-done; fmt.Sprint(v) != "[yes]" {
		t.Error(v)
	}
}

// TestClassicBroadcastWithAck goes past the library's operator, so that it can be run under the race detector.
func TestClassicBroadcastWithAck(t *testing.T) {
	t.Parallel()
	_, c := redistest.Mini(t)
	nodes := classicCluster(t, c, 3, Options{})
	for i := range 6 {
		cl := nodes[i%3].connect("/", "r1")
		cl.acks = func(e event) []any { return []any{[]byte{byte(i)}, "second"}[:i%3] }
	}
	timeout := patience
	for _, single := range []bool{false, true} {
		counts, acks := make(chan uint64, 10), make(chan []any, 10)
		opts := &socket.BroadcastOptions{
			Rooms: types.NewSet[socket.Room]("r1"),
			Flags: &socket.BroadcastFlags{Timeout: &timeout, ExpectSingleResponse: single},
		}
		nodes[0].classic("/").BroadcastWithAck(&parser.Packet{Type: parser.EVENT, Data: []any{"ask"}}, opts,
			func(n uint64) { counts <- n }, func(args []any, _ error) { acks <- args })
		for range 3 {
			if n := <-counts; n != 2 {
				t.Errorf("%d clients", n)
			}
		}
		got := map[string]int{}
		for range 6 {
			args := <-acks
			if single {
				args = args[0].([]any)
			}
			if len(args) != 1 {
				t.Fatalf("got %v", args)
			}
			got[string(bytesOf(args[0]))]++
		}
		if fmt.Sprint(got) != fmt.Sprint(map[string]int{"": 2, "\x01": 1, "\x02": 1, "\x04": 1, "\x05": 1}) {
			t.Errorf("got %v", got)
		}
	}
}

// TestClassicServersAreCounted gives one constructor to two servers of a process.
func TestClassicServersAreCounted(t *testing.T) {
	t.Parallel()
	_, c := redistest.Mini(t)
	shared := New(c, Options{})
	nodes := []*node{newNode(t, shared), newNode(t, shared)}
	if n := nodes[0].classic("/").ServerCount(); n != 2 {
		t.Errorf("%d servers", n)
	}
	cl := nodes[1].connect("/")
	nodes[0].io.Emit("x")
	cl.wants("x")
	if s := shared.Stats(); s.Broadcasts != 1 || s.Bus.Subscriptions == 0 {
		t.Errorf("%+v", s)
	}
}

// TestClassicOnStockServer runs the adapter on the library's own engine.
func TestClassicOnStockServer(t *testing.T) {
	t.Parallel()
	_, c := redistest.Mini(t)
	opts := socket.DefaultServerOptions()
	opts.SetAdapter(New(c, Options{}))
	io := socket.NewServer(nil, opts)
	stock := &node{t: t, io: io, http: httptest.NewServer(io.ServeHandler(nil))}
	t.Cleanup(func() {
		io.Close(nil)
		stock.http.CloseClientConnections()
		stock.http.Close()
	})
	ours := newNode(t, New(c, Options{}))
	c1, c2 := stock.connect("/", "r1"), ours.connect("/", "r1")
	for i, n := range []*node{stock, ours} {
		n.io.To("r1").Emit("x", i, []byte{7})
		c1.wants("x", float64(i), []byte{7})
		c2.wants("x", float64(i), []byte{7})
	}
	if f := fetch(t, ours.io); f.err != nil || len(f.sockets) != 2 {
		t.Errorf("fetched %v", f)
	}
}

// TestClassicLegacyEmitter publishes what an emitter of 2014 wrote.
func TestClassicLegacyEmitter(t *testing.T) {
	t.Parallel()
	_, rc := redistest.Mini(t)
	n := classicCluster(t, rc, 1, Options{LegacyEmitter: true})[0]
	n.io.Of("/chat", nil)
	c, chat := n.connect("/", "r1"), n.connect("/chat")
	seen := 0
	for _, v := range vectors(t) {
		if v.Channel != "socket.io#emitter" || v.Expect.Kind != "broadcast" || v.Expect.Nsp != "/" ||
			len(v.Expect.Rooms) > 0 {
			continue
		}
		if strings.Contains(v.Call, "Buffer") || strings.Contains(v.Call, "bin") {
			continue // in a dialect of msgpack that is gone
		}
		seen++
		if err := rc.Publish(context.Background(), v.Channel, v.Payload).Err(); err != nil {
			t.Fatal(err)
		}
		c.wants(append([]any{v.Expect.Event}, fromNotation(v.Expect.Args).([]any)...)...)
	}
	if seen == 0 {
		t.Error("no vectors")
	}
	wantNothing(t, chat)
}
