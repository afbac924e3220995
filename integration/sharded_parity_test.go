//go:build integration

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter"
	"github.com/architus/guildcast/internal/test/wait"
)

// TestShardedParity: in clusters of Go and Node.js servers with sharded pub/sub nobody can tell who is who.
func TestShardedParity(t *testing.T) {
	t.Parallel()
	b := startBrowsers(t)
	eachShardedRedis(t, func(t *testing.T, r shardedRedis) {
		for _, mode := range []adapter.SubscriptionMode{adapter.Dynamic, adapter.Static, adapter.DynamicPrivate} {
			for _, kinds := range [][]string{
				{"go", "redis", "ioredis"}, {"go", "go", "redis"}, {"go", "go", "ioredis"},
			} {
				if len(r.addrs) > 1 && slices.Contains(kinds, "ioredis") && testing.Short() {
					continue
				}
				name := string(mode) + "/" + strings.Join(kinds, "+")
				t.Run(name, func(t *testing.T) {
					prefix := "p-" + strings.ReplaceAll(name, "/", "-")
					c := &shardedCluster{b: b, client: r.client(), prefix: prefix, mode: mode,
						emitter: adapter.NewShardedEmitter(r.client(), adapter.ShardedEmitterOptions{
							ChannelPrefix: prefix, SubscriptionMode: mode,
						})}
					for _, k := range kinds {
						if k == "go" {
							c.members = append(c.members,
								startGoMember(t, adapter.NewSharded(r.client(), c.options(patience))))
						} else {
							c.members = append(c.members, startNodeMember(t, k, r, prefix, mode))
						}
					}
					c.run(t)
				})
			}
		}
	})
}

// shardedCluster is three servers with a client each.
type shardedCluster struct {
	b       *browsers
	client  goredis.UniversalClient
	prefix  string
	mode    adapter.SubscriptionMode
	emitter *adapter.Emitter
	members []shardedMember
	clients []*client
	ids     []string
	marks   int
}

// options are those of a server that waits so long for answers.
func (c *shardedCluster) options(timeout time.Duration) adapter.ShardedOptions {
	return adapter.ShardedOptions{ChannelPrefix: c.prefix, SubscriptionMode: c.mode, RequestsTimeout: timeout}
}

func (c *shardedCluster) run(t *testing.T) {
	for _, m := range c.members {
		wait.Until(t, "three servers", func() bool { return shardedResult[int](t, m, order{Op: "serverCount"}) == 3 })
	}
	c.subscribed(t, "/chat", "", len(c.members))
	for _, m := range c.members {
		cl, id := c.b.connect(t, m.url(), nil)
		c.clients, c.ids = append(c.clients, cl), append(c.ids, id)
	}
	for _, id := range c.ids {
		c.subscribed(t, "/", id, 1)
	}
	for _, step := range []struct {
		name string
		f    func(*testing.T)
	}{
		{"broadcast", c.broadcast}, {"payloads", c.payloads}, {"burst", c.burst}, {"acks", c.acks},
		{"sockets", c.sockets},
		{"server-side", c.serverSide}, {"namespaces", c.namespaces}, {"emitter", c.emit}, {"commands", c.commands},
		{"mute", c.mute},
	} {
		if !t.Run(step.name, step.f) {
			return
		}
	}
}

// subscribed waits until Redis has n servers subscribed to the channel of a room, or of the namespace if room is "":
// Node.js does not wait for that when a room is joined. A room without a channel of its own needs none.
func (c *shardedCluster) subscribed(t testing.TB, nsp, room string, n int) {
	t.Helper()
	channel := c.prefix + "#" + nsp + "#"
	if room != "" {
		const private = 20 // length of the names of private rooms
		if c.mode == adapter.Static || c.mode == adapter.Dynamic && len(room) == private {
			return
		}
		channel += room + "#"
	}
	wait.Until(t, fmt.Sprintf("%d servers to hear %s", n, channel), func() bool {
		var count atomic.Int64
		must(t, eachServer(c.client, func(ctx context.Context, s *goredis.Client) error {
			subs, err := s.PubSubShardNumSub(ctx, channel).Result()
			count.Add(subs[channel])
			return err
		}))
		return count.Load() == int64(n)
	})
}

// eachServer calls f for each primary.
func eachServer(client goredis.UniversalClient, f func(context.Context, *goredis.Client) error) error {
	if c, ok := client.(*goredis.ClusterClient); ok {
		return c.ForEachMaster(context.Background(), f)
	}
	return f(context.Background(), client.(*goredis.Client))
}

// only sends a last event to everybody and waits for it: what has not come by then will not come. (In a cluster it may,
// for the channels of rooms are not ordered with that of the namespace.)
func (c *shardedCluster) only(t testing.TB, event string, want ...int) {
	t.Helper()
	for _, i := range want {
		c.clients[i].event(t, event, nil)
	}
	c.marks++
	mark := fmt.Sprint("mark", c.marks)
	for _, m := range c.members {
		m.do(t, order{Op: "emit", Event: mark})
	}
	for i, cl := range c.clients {
		for range c.members {
			cl.event(t, mark, nil)
		}
		n := 0
		if slices.Contains(want, i) {
			n = 1
		}
		if got := cl.events(event); len(got) != n {
			t.Errorf("client %d got %s %d times instead of %d", i, event, len(got), n)
		}
	}
}

func (c *shardedCluster) broadcast(t *testing.T) {
	twenty := strings.Repeat("x", 20)
	for i, names := range [][]string{{"r1"}, {"r1", "r2", "ü#x", "42", twenty}, {"r2"}} {
		c.members[i].do(t, order{Op: "join", ID: c.ids[i], Names: names})
	}
	for room, n := range map[string]int{"r1": 2, "r2": 2, "ü#x": 1, "42": 1, twenty: 1} {
		c.subscribed(t, "/", room, n)
	}
	for i, m := range c.members {
		for j, test := range []struct {
			order
			want []int
		}{
			{order{}, []int{0, 1, 2}},
			{order{Rooms: []string{"r1"}}, []int{0, 1}},
			{order{Rooms: []string{"r1", "r2"}}, []int{0, 1, 2}},
			{order{Rooms: []string{"r1", "r2"}, Except: []string{"r1"}}, []int{2}},
			{order{Except: []string{c.ids[0]}}, []int{1, 2}},
			{order{Rooms: []string{"ü#x"}}, []int{1}},
			{order{Rooms: []string{"42"}}, []int{1}},
			{order{Rooms: []string{twenty}}, []int{1}},
			{order{Rooms: []string{c.ids[0]}}, []int{0}},
			{order{Rooms: []string{c.ids[1]}}, []int{1}},
			{order{Rooms: []string{c.ids[2]}}, []int{2}},
			{order{Rooms: []string{"nobody"}}, nil},
			{order{Flags: map[string]any{"local": true}}, []int{i}},
			{order{Rooms: []string{"r1"}, Flags: map[string]any{"volatile": true, "compress": false}}, []int{0, 1}},
		} {
			test.Op, test.Event = "emit", fmt.Sprintf("e%d-%d", i, j)
			m.do(t, test.order)
			c.only(t, test.Event, test.want...)
		}
	}
}

func (c *shardedCluster) payloads(t *testing.T) {
	for i, args := range []string{
		`[]`, `[null]`, `["☃ é \u0000 \" \\ 👍"]`, `[1, -1, 0.5, 1e300, 9007199254740991, -0.000001]`,
		`[true, false, {}, [], {"a": {"b": [null, {"c": ""}]}}]`,
		`[{"$bin": "AAECgP8="}]`, `[{"deep": [{"$bin": ""}, {"x": {"$bin": "AQ=="}}]}, "after"]`,
		`["` + strings.Repeat("long", 30000) + `"]`,
	} {
		for j, m := range c.members {
			event := fmt.Sprintf("payload%d-%d", i, j)
			m.do(t, order{Op: "emit", Event: event, Args: json.RawMessage(args)})
			for k, cl := range c.clients {
				if h := cl.event(t, event, nil); canonical(t, h.Args) != canonical(t, json.RawMessage(args)) {
					t.Errorf("%s to client %d: got %.200s, want %.200s", m.name(), k, canonical(t, h.Args), args)
				}
			}
		}
	}
}

// canonical is JSON in one form.
func canonical(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	must(t, err)
	var x any
	must(t, json.Unmarshal(b, &x))
	b, err = json.Marshal(x)
	must(t, err)
	return string(b)
}

func (c *shardedCluster) burst(t *testing.T) {
	const count = 1000
	for i, m := range c.members {
		event := fmt.Sprint("burst", i)
		m.do(t, order{Op: "burst", Rooms: []string{"r1"}, Event: event, Count: count})
		for _, j := range []int{0, 1} {
			for k := range count {
				var n int
				if c.clients[j].event(t, event, &n); n != k {
					t.Fatalf("%s to client %d: got %d instead of %d", m.name(), j, n, k)
				}
			}
		}
	}
}

func (c *shardedCluster) acks(t *testing.T) {
	unhurried := map[string]any{"timeout": int(patience.Milliseconds())}
	for _, m := range c.members {
		r := shardedResult[ackResult](t, m, order{
			Op: "emitWithAck", Event: "ask", Args: json.RawMessage(`["v"]`), Flags: unhurried,
		})
		if r.Error != "" || canonical(t, r.Responses) != `["v","v","v"]` {
			t.Errorf("%s: %+v", m.name(), r)
		}
		r = shardedResult[ackResult](t, m, order{
			Op: "emitWithAck", Rooms: []string{"r1"}, Except: []string{"r2"}, Event: "ask",
			Args: json.RawMessage(`[{"b": {"$bin": "AAE="}}]`), Flags: unhurried,
		})
		if r.Error != "" || canonical(t, r.Responses) != `[{"b":{"$bin":"AAE="}}]` {
			t.Errorf("%s: %+v", m.name(), r)
		}
		r = shardedResult[ackResult](t, m, order{
			Op: "emitWithAck", Rooms: []string{"nobody"}, Event: "ask", Flags: unhurried,
		})
		if r.Error != "" || len(r.Responses) != 0 {
			t.Errorf("%s: %+v", m.name(), r)
		}
		for i := range c.ids {
			got := m.do(t, order{
				Op: "emitToRemote", Rooms: []string{c.ids[i]}, Event: "single", Args: json.RawMessage(`["s"]`),
			})
			if string(got) != `"s"` {
				t.Errorf("%s to the socket of %s: %s", m.name(), c.members[i].name(), got)
			}
		}
	}
}

func (c *shardedCluster) sockets(t *testing.T) {
	for i, m := range c.members {
		m.do(t, order{
			Op: "setData", ID: c.ids[i], Data: json.RawMessage(fmt.Sprintf(`{"user": %d, "bin": {"$bin": "AQ=="}}`, i)),
		})
	}
	for _, m := range c.members {
		all := shardedResult[[]socketInfo](t, m, order{Op: "fetch"})
		if len(all) != 3 {
			t.Fatalf("%s fetched %d sockets", m.name(), len(all))
		}
		for _, s := range all {
			i := slices.Index(c.ids, s.ID)
			if i < 0 {
				t.Fatalf("%s fetched %s", m.name(), s.ID)
			}
			if canonical(t, s.Data) != fmt.Sprintf(`{"bin":{"$bin":"AQ=="},"user":%d}`, i) {
				t.Errorf("%s: data of %s's socket: %s", m.name(), c.members[i].name(), s.Data)
			}
			h := s.Handshake
			if !slices.Contains(s.Rooms, s.ID) || h.Query["EIO"] == nil || h.Address == "" || h.URL == "" ||
				h.Time == "" || h.Issued == 0 || h.Auth == nil || len(h.Headers) == 0 {
				t.Errorf("%s: %s's socket: %+v", m.name(), c.members[i].name(), s)
			}
		}
		if some := shardedResult[[]socketInfo](t, m, order{Op: "fetch", Rooms: []string{"r1"}}); len(some) != 2 {
			t.Errorf("%s fetched %d sockets of r1", m.name(), len(some))
		}
	}
}

func (c *shardedCluster) serverSide(t *testing.T) {
	for i, m := range c.members {
		m.do(t, order{
			Op: "serverEmit", Event: "hello", Args: json.RawMessage(fmt.Sprintf(`[%d,{"x":null},{"$bin":"AQ=="}]`, i)),
		})
		var want []string
		for j, other := range c.members {
			if j == i {
				continue
			}
			if got := other.heard(t); got != fmt.Sprintf(`hello[%d,{"x":null},{"$bin":"AQ=="}]`, i) {
				t.Errorf("%s heard %s from %s", other.name(), got, m.name())
			}
			kind, _, _ := strings.Cut(other.name(), "/")
			want = append(want, fmt.Sprintf(`["%s",1]`, kind))
		}
		r := shardedResult[ackResult](t, m,
			order{Op: "serverEmitWithAck", Event: "question", Args: json.RawMessage(`[1]`)})
		var got []string
		for _, v := range r.Responses {
			got = append(got, canonical(t, v))
		}
		slices.Sort(got)
		slices.Sort(want)
		if r.Error != "" || !slices.Equal(got, want) {
			t.Errorf("%s: %+v, want %v", m.name(), r, want)
		}
	}
}

// mute has a server more, which does not wait for long, ask what nobody answers: it gets what came, and an error that
// says how many are missing.
func (c *shardedCluster) mute(t *testing.T) {
	m := startGoMember(t, adapter.NewSharded(c.client, c.options(200*time.Millisecond)))
	wait.Until(t, "four servers", func() bool { return shardedResult[int](t, m, order{Op: "serverCount"}) == 4 })
	r := shardedResult[ackResult](t, m, order{Op: "serverEmitWithAck", Event: "mute"})
	if len(r.Responses) != 0 || !strings.Contains(r.Error, "0 of 3") {
		t.Errorf("%+v", r)
	}
}

func (c *shardedCluster) namespaces(t *testing.T) {
	var clients []*client
	for _, m := range c.members {
		cl, id := c.b.connect(t, m.url()+"/chat", nil)
		clients = append(clients, cl)
		c.subscribed(t, "/chat", id, 1)
	}
	for i, m := range c.members {
		event := fmt.Sprint("chat", i)
		m.do(t, order{Op: "emit", Nsp: "/chat", Event: event})
		for _, cl := range clients {
			cl.event(t, event, nil)
		}
		c.only(t, event)
	}
}

// emit goes through NewShardedEmitter.
func (c *shardedCluster) emit(t *testing.T) {
	must(t, c.emitter.Emit("emitted", 1, []byte{1}))
	c.only(t, "emitted", 0, 1, 2)
	must(t, c.emitter.To("r1").Except("r2").Volatile().Emit("emitted-one"))
	c.only(t, "emitted-one", 0)
	must(t, c.emitter.Of("chat").Emit("emitted-chat"))
	c.only(t, "emitted-chat")
	for i, id := range c.ids {
		must(t, c.emitter.To(socket.Room(id)).Emit("emitted-to-"+id))
		c.only(t, "emitted-to-"+id, i)
	}
	must(t, c.emitter.In("r1").SocketsJoin("e1", "e2"))
	must(t, c.emitter.In("r1").SocketsLeave("e2"))
	for _, m := range c.members {
		wait.Until(t, "joined", func() bool {
			return len(shardedResult[[]socketInfo](t, m, order{Op: "fetch", Rooms: []string{"e1"}})) == 2 &&
				len(shardedResult[[]socketInfo](t, m, order{Op: "fetch", Rooms: []string{"e2"}})) == 0
		})
	}
	must(t, c.emitter.ServerSideEmit("hello", "all"))
	for _, m := range c.members {
		if got := m.heard(t); got != `hello["all"]` {
			t.Errorf("%s heard %s", m.name(), got)
		}
	}
}

func (c *shardedCluster) commands(t *testing.T) {
	for i, m := range c.members {
		room := fmt.Sprint("made", i)
		m.do(t, order{Op: "joinAll", Rooms: []string{"r1"}, Names: []string{room, "other"}})
		for _, other := range c.members {
			wait.Until(t, "joined", func() bool {
				return len(shardedResult[[]socketInfo](t, other, order{Op: "fetch", Rooms: []string{room}})) == 2
			})
		}
		c.subscribed(t, "/", room, 2)
		m.do(t, order{Op: "emit", Rooms: []string{room}, Event: "in-" + room})
		c.only(t, "in-"+room, 0, 1)
		m.do(t, order{Op: "leaveAll", Except: []string{"r2"}, Names: []string{room}})
		for _, other := range c.members {
			wait.Until(t, "left", func() bool {
				return len(shardedResult[[]socketInfo](t, other, order{Op: "fetch", Rooms: []string{room}})) == 1
			})
		}
	}
	for i, m := range c.members { // each disconnects the client of the next
		j := (i + 1) % len(c.members)
		m.do(t, order{Op: "disconnectAll", Rooms: []string{c.ids[j]}, Close: i%2 == 0})
		c.clients[j].wait(t, "disconnect", func(h heard) bool { return h.Type == "disconnect" })
	}
}
