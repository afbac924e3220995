package adapter

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io-go-parser/v2/parser"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter/internal/wire"
	"github.com/architus/guildcast/internal/test/redistest"
)

// shardedCluster makes n servers on one Redis, or Redis Cluster.
func shardedCluster(t *testing.T, c redis.UniversalClient, n int, o ShardedOptions) []*node {
	t.Helper()
	if o.RequestsTimeout == 0 {
		o.RequestsTimeout = patience
	}
	nodes := make([]*node, n)
	for i := range nodes {
		nodes[i] = newNode(t, NewSharded(c, o))
		if err := Ready(context.Background(), nodes[i].io.Of("/", nil)); err != nil {
			t.Fatal(err)
		}
	}
	return nodes
}

func (n *node) sharded(nsp string) *sharded { return n.io.Of(nsp, nil).Adapter().(*sharded) }

var modes = []SubscriptionMode{Static, Dynamic, DynamicPrivate}

// eachSharded runs a test on a Redis and a Redis Cluster, in all modes.
func eachSharded(t *testing.T, test func(t *testing.T, c redis.UniversalClient, o ShardedOptions)) {
	redistest.Real(t, func(t *testing.T, c redis.UniversalClient) {
		for _, mode := range modes {
			t.Run(string(mode), func(t *testing.T) {
				test(t, c, ShardedOptions{SubscriptionMode: mode, ChannelPrefix: "t-" + string(mode)})
			})
		}
	})
}

func TestShardedBroadcast(t *testing.T) {
	t.Parallel()
	eachSharded(t, func(t *testing.T, c redis.UniversalClient, o ShardedOptions) {
		nodes := shardedCluster(t, c, 3, o)
		nodes[1].io.Of("/other", nil)
		twenty := socket.Room(strings.Repeat("é", 20)) // as long as the id of a Node.js socket
		c1, c3 := nodes[0].connect("/", "r1"), nodes[2].connect("/", "r2")
		c2 := nodes[1].connect("/", "r1", "r2", "42", twenty)
		other := nodes[1].connect("/other", "r1")

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
		nodes[0].io.To(twenty).Emit("twenty")
		c2.wants("twenty")
		nodes[0].io.To(socket.Room(c3.sid)).Emit("private", []byte{1, 2}, map[string]any{"b": []byte{}})
		c3.wants("private", []byte{1, 2}, map[string]any{"b": []byte{}})
		nodes[0].io.Local().Emit("local")
		c1.wants("local")
		wantNothing(t, c1, c2, c3, other)
	})
}

func TestShardedOrder(t *testing.T) {
	t.Parallel()
	eachSharded(t, func(t *testing.T, c redis.UniversalClient, o ShardedOptions) {
		nodes := shardedCluster(t, c, 2, o)
		c1 := nodes[1].connect("/", "r1")
		const n = 1000
		for i := range n {
			nodes[0].io.To("r1").Emit("n", i)
		}
		for i := range n {
			c1.wants("n", float64(i))
		}
		wantNothing(t, c1)
	})
}

// TestShardedJoin shows that whatever is sent to a room after a join arrives.
func TestShardedJoin(t *testing.T) {
	t.Parallel()
	eachSharded(t, func(t *testing.T, c redis.UniversalClient, o ShardedOptions) {
		nodes := shardedCluster(t, c, 2, o)
		c1 := nodes[0].connect("/")
		s, _ := nodes[0].io.Sockets().Sockets().Load(socket.SocketId(c1.sid))
		for i := range 100 {
			room := socket.Room(fmt.Sprint("room", i))
			s.Join(room)
			nodes[1].io.To(room).Emit("after", i)
			c1.wants("after", float64(i))
			s.Leave(room)
			nodes[1].io.To(room).Emit("left")
		}
		wantNothing(t, c1)
		nodes[1].io.To(socket.Room(c1.sid)).Emit("own")
		c1.wants("own")
		nodes[0].io.DisconnectSockets(true)
		a := nodes[0].sharded("/")
		await(t, func() (int, bool) { n := a.bus.Stats().Subscriptions; return n, n == 2 })
		a.rooms.mu.Lock()
		defer a.rooms.mu.Unlock()
		if len(a.rooms.held) != 0 {
			t.Errorf("channels are left: %v", a.rooms.held)
		}
	})
}

func TestShardedAcks(t *testing.T) {
	t.Parallel()
	eachSharded(t, func(t *testing.T, c redis.UniversalClient, o ShardedOptions) {
		nodes := shardedCluster(t, c, 3, o)
		for i := range 4 {
			cl := nodes[i%3].connect("/", "r1")
			cl.acks = func(e event) []any { return []any{fmt.Sprint("answer ", i, e[1])} }
		}
		opts := &socket.BroadcastOptions{Rooms: types.NewSet[socket.Room]("r1"), Flags: &socket.BroadcastFlags{}}
		values := nodes[0].ask(opts, 3, 4)
		slices.SortFunc(values, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		if fmt.Sprint(values) != "[answer 0q answer 1q answer 2q answer 3q]" {
			t.Errorf("got %v", values)
		}
		opts.Rooms = types.NewSet[socket.Room]("empty")
		nodes[0].ask(opts, 3, 0)
		f := fetch(t, nodes[2].io.In("r1"))
		if f.err != nil || len(f.sockets) != 4 {
			t.Fatalf("fetched %v", f)
		}
		for _, s := range f.sockets { // as RemoteSocket.Emit does
			opts := &socket.BroadcastOptions{
				Rooms: types.NewSet(socket.Room(s.Id())), Flags: &socket.BroadcastFlags{ExpectSingleResponse: true},
			}
			values := nodes[0].ask(opts, 3, 1)
			list, ok := values[0].([]any)
			if !ok || len(list) != 1 || !strings.HasPrefix(fmt.Sprint(list[0]), "answer") {
				t.Errorf("got %v", values)
			}
		}
	})
}

// ask does what the library's BroadcastOperator does, which has a data race in its counters: it waits for the counts of
// so many servers and the answers of so many clients.
func (n *node) ask(opts *socket.BroadcastOptions, servers, clients int) []any {
	n.t.Helper()
	counts, answers := make(chan uint64, 10), make(chan []any, 10)
	packet := &parser.Packet{Type: parser.EVENT, Data: []any{"ask", "q"}}
	n.sharded("/").BroadcastWithAck(packet, opts, func(c uint64) { counts <- c }, func(v []any, err error) {
		if err != nil || len(v) != 1 {
			n.t.Errorf("acknowledged with %v, %v", v, err)
		}
		answers <- v
	})
	deadline := time.After(patience)
	var sum uint64
	var values []any
	for servers > 0 || len(values) < clients {
		select {
		case c := <-counts:
			sum += c
			servers--
		case v := <-answers:
			values = append(values, v...)
		case <-deadline:
			n.t.Fatalf("%d counts missing, %d of %d answers", servers, len(values), clients)
		}
	}
	if sum != uint64(clients) {
		n.t.Errorf("%d clients counted instead of %d", sum, clients)
	}
	return values
}

func TestShardedEmitter(t *testing.T) {
	t.Parallel()
	eachSharded(t, func(t *testing.T, c redis.UniversalClient, o ShardedOptions) {
		nodes := shardedCluster(t, c, 2, o)
		heard := make(chan string, 10)
		for i, n := range nodes {
			n.io.On("hello", func(args ...any) { heard <- fmt.Sprint(i, args) })
		}
		c1, c2 := nodes[0].connect("/", "r1"), nodes[1].connect("/", "r1", "r2")
		e := NewShardedEmitter(c, ShardedEmitterOptions{
			ChannelPrefix: o.ChannelPrefix, SubscriptionMode: o.SubscriptionMode,
		})
		check := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		check(e.Emit("all", 1))
		c1.wants("all", 1.)
		c2.wants("all", 1.)
		check(e.To("r1").Except("r2").Compress(false).Emit("one", []byte{9}))
		c1.wants("one", []byte{9})
		check(e.To("r2").Emit("two"))
		c2.wants("two")
		check(e.In("r2").SocketsJoin("r3"))
		await(t, func() (int, bool) {
			f := fetch(t, nodes[0].io.In("r3"))
			return len(f.sockets), len(f.sockets) == 1
		})
		check(e.In("r3").SocketsLeave("r1"))
		await(t, func() (int, bool) {
			f := fetch(t, nodes[0].io.In("r1"))
			return len(f.sockets), len(f.sockets) == 1
		})
		check(e.ServerSideEmit("hello", "x"))
		got := []string{<-heard, <-heard}
		slices.Sort(got)
		if fmt.Sprint(got) != "[0 [x] 1 [x]]" {
			t.Errorf("heard %v", got)
		}
		check(e.In("r3").DisconnectSockets(true))
		await(t, func() (int, bool) { n := nodes[1].io.Sockets().Sockets().Len(); return n, n == 0 })
	})
}

// TestShardedAlone shows that a single server does not wait for others.
func TestShardedAlone(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	n := shardedCluster(t, server.Client(), 1, ShardedOptions{RequestsTimeout: time.Minute})[0]
	n.cluster("/").times.close = 10 * time.Millisecond // what it emits without Redis stays in the queue
	c1 := n.connect("/", "r1")
	if f := fetch(t, n.io.In("r1")); f.err != nil || len(f.sockets) != 1 {
		t.Errorf("fetched %v", f)
	}
	all, err := n.sharded("/").AllRooms(context.Background())
	if err != nil || len(all) != 2 {
		t.Errorf("rooms %v, %v", all, err)
	}
	server.Stop()
	n.io.Emit("still", "here")
	c1.wants("still", "here")
}

// TestShardedOdd shows that nothing that arrives can harm a server.
func TestShardedOdd(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := server.Client()
	stats := NewSharded(c, ShardedOptions{})
	n := newNode(t, stats)
	c1 := n.connect("/", "r1")
	a := n.sharded("/")
	for _, m := range []string{
		"", "{", "[]", "null", `{"type":3}`, `{"type":3,"data":null,"uid":"x","nsp":"/"}`,
		`{"type":3,"data":{"packet":{"type":1,"data":["x"]},"opts":{"rooms":[],"except":[],"flags":{}}},"uid":"x","nsp":"/"}`,
		`{"type":3,"data":{"packet":{"type":2,"data":["disconnect"]},"opts":{"rooms":[]}},"uid":"x","nsp":"/"}`,
		`{"type":3,"data":{"packet":{"type":2,"data":["other"]},"opts":{"rooms":[]}},"uid":"x","nsp":"/other"}`,
		`{"type":3,"data":{"packet":{"type":2,"data":["nobody"]},"opts":{"rooms":[null]}},"uid":"x","nsp":"/"}`,
		`{"type":4,"data":{"opts":{"rooms":[],"except":[],"flags":{}},"rooms":{}},"uid":"x","nsp":"/"}`,
		`{"type":7,"data":{"opts":{"rooms":[]}},"uid":"x","nsp":"/"}`,
		`{"type":9,"data":{"packet":[]},"uid":"x","nsp":"/"}`,
		`{"type":9,"data":{"packet":["connection",{}]},"uid":"x","nsp":"/"}`,
		`{"type":9,"data":{"packet":"x"},"uid":"x","nsp":"/"}`, `{"type":99,"data":{},"uid":"x","nsp":"/"}`,
		`{"type":2,"uid":"x","nsp":"/"}`,
		"\xdd\xff\xff\xff\xff", "\x84\xa4type\x03\xa4data\xdf\xff\xff\xff\xff",
	} {
		for _, channel := range []string{a.base, a.base + "r1#", a.answers + a.uid + "#", a.base + "#"} {
			if err := c.SPublish(context.Background(), channel, m).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := NewShardedEmitter(c, ShardedEmitterOptions{}).Emit("sane"); err != nil {
		t.Fatal(err)
	}
	c1.wants("sane")
	wantNothing(t, c1)
	dropped, err := json.Marshal(stats.Stats().Dropped)
	if err != nil || stats.Stats().Dropped["malformed"] == 0 || stats.Stats().Dropped["packet_type"] == 0 {
		t.Errorf("dropped %s, %v", dropped, err)
	}
}

func FuzzDecodeMessage(f *testing.F) {
	f.Add([]byte(`{"type":3,"data":{"packet":{"type":2,"data":["x",1]},` +
		`"opts":{"rooms":["r"],"except":[],"flags":{}}},"uid":"0123456789abcdef","nsp":"/"}`))
	f.Add([]byte("\x84\xa4type\x03\xa4data\x81\xa6packet\x80\xa3uid\xa1x\xa3nsp\xa1/"))
	for _, v := range vectors(f) {
		f.Add(v.Payload)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := wire.DecodeMessage(b)
		if err != nil {
			return
		}
		if m.Type < 1 || m.Type > 13 {
			t.Errorf("type %d", m.Type)
		}
		if o, err := wire.DecodeOptions(m.Data.Get("opts")); err == nil && o.Rooms.All && len(o.Rooms.Names) > 0 {
			t.Errorf("everybody, but %q", o.Rooms.Names)
		}
		if p, err := wire.DecodePacket(m.Data.Get("packet")); err == nil {
			if args, _, err := p.Args(); err == nil && !json.Valid(args) {
				t.Errorf("arguments %q", args)
			}
		}
		// The same in the protocol's other form.
		v, err := wire.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		other, err := wire.AppendMsgpack(nil, v)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := wire.DecodeMessage(other); err != nil || n.Type != m.Type || n.UID != m.UID || n.Nsp != m.Nsp {
			t.Errorf("%q is %+v, and as msgpack %+v, %v", b, m, n, err)
		}
	})
}
