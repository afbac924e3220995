package adapter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/bus"
)

// everywhere runs a test with both protocols, in all ways to subscribe, on every kind of Redis that they work with.
func everywhere(t *testing.T, test func(t *testing.T, servers func(n int) []*node)) {
	t.Run("classic", func(t *testing.T) {
		each(t, func(t *testing.T, c redis.UniversalClient, o Options) {
			test(t, func(n int) []*node { return classicCluster(t, c, n, o) })
		})
	})
	t.Run("sharded", func(t *testing.T) {
		eachSharded(t, func(t *testing.T, c redis.UniversalClient, o ShardedOptions) {
			test(t, func(n int) []*node { return shardedCluster(t, c, n, o) })
		})
	})
}

// adapter is the adapter of a namespace.
func (n *node) adapter(nsp string) interface {
	socket.Adapter
	AllRooms(context.Context) ([]socket.Room, error)
} {
	if a, ok := n.io.Of(nsp, nil).Adapter().(*classic); ok {
		return a
	}
	return n.sharded(nsp)
}

// cluster is what the adapters of both protocols have in common.
func (n *node) cluster(nsp string) *cluster {
	if a, ok := n.io.Of(nsp, nil).Adapter().(*classic); ok {
		return &a.cluster
	}
	return &n.sharded(nsp).cluster
}

func TestClusterSockets(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, servers func(int) []*node) {
		nodes := servers(3)
		c1, c2, c3 := nodes[0].connect("/", "r1"), nodes[1].connect("/", "r1"), nodes[2].connect("/", "r2")
		if n := nodes[0].cluster("/").ServerCount(); n != 3 {
			t.Errorf("%d servers", n)
		}
		s, _ := nodes[1].io.Sockets().Sockets().Load(socket.SocketId(c2.sid))
		data := map[string]any{"user": "u1"}
		if nodes[0].cluster("/").kind == bus.Shard { // the classic protocol answers in JSON
			data["picture"] = []byte{7}
		}
		s.SetData(data)
		f := fetch(t, nodes[0].io.In("r1"))
		if f.err != nil || len(f.sockets) != 2 {
			t.Fatalf("fetched %+v", f)
		}
		for _, s := range f.sockets {
			if string(s.Id()) != c2.sid {
				continue
			}
			h, got := s.Handshake(), s.Data().(map[string]any)
			if !s.Rooms().Has("r1") || got["user"] != "u1" || h.Query["EIO"][0] != "4" || h.Url == "" ||
				h.Issued == 0 || h.Address == "" || len(h.Headers["User-Agent"]) != 1 {
				t.Errorf("got %+v %+v", s, h)
			}
			if data["picture"] != nil && string(bytesOf(got["picture"])) != "\x07" {
				t.Errorf("got %v", got)
			}
		}
		if ids := nodes[2].adapter("/").Sockets(nil); ids.Len() != 3 {
			t.Errorf("sockets %v", ids.Keys())
		}
		//lint:ignore SA1019 deprecated or not, the library calls the adapter for it
		ids, err := nodes[2].io.In("r1").AllSockets()
		if err != nil || ids.Len() != 2 || !ids.Has(socket.SocketId(c1.sid)) {
			t.Errorf("sockets %v, %v", ids.Keys(), err)
		}
		all, err := nodes[0].adapter("/").AllRooms(context.Background())
		slices.Sort(all)
		want := []socket.Room{"r1", "r2", socket.Room(c1.sid), socket.Room(c2.sid), socket.Room(c3.sid)}
		slices.Sort(want)
		if err != nil || !slices.Equal(all, want) {
			t.Errorf("rooms %v, %v; want %v", all, err, want)
		}

		nodes[2].io.In("r1").SocketsJoin("new", "more")
		await(t, func() (int, bool) {
			f := fetch(t, nodes[0].io.In("new"))
			return len(f.sockets), len(f.sockets) == 2
		})
		confirmed(t, nodes[0].cluster("/").bus)
		confirmed(t, nodes[1].cluster("/").bus)
		nodes[0].io.To("more").Emit("hello")
		c1.wants("hello")
		c2.wants("hello")
		nodes[0].io.In("new").SocketsLeave("new")
		await(t, func() (int, bool) {
			f := fetch(t, nodes[1].io.In("new"))
			return len(f.sockets), len(f.sockets) == 0
		})
		nodes[0].io.In("r2").DisconnectSockets(true)
		await(t, func() (int, bool) { n := nodes[2].io.Sockets().Sockets().Len(); return n, n == 0 })
	})
}

func TestClusterServerSideEmit(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, servers func(int) []*node) {
		nodes := servers(3)
		heard := make(chan string, 10)
		for i, n := range nodes {
			n.io.On("hello", func(args ...any) { heard <- fmt.Sprint(i, args) })
			n.io.On("ask", func(args ...any) {
				ack := args[len(args)-1].(socket.Ack)
				ack([]any{fmt.Sprint("pong ", i)}, nil)
				ack([]any{"twice"}, nil)
			})
			n.io.On("mute", func(args ...any) {
				if i == 1 {
					args[0].(socket.Ack)([]any{[]any{1, 2}}, nil)
				}
			})
		}
		if err := nodes[0].io.ServerSideEmit("hello", "a", 1, map[string]any{"x": nil}); err != nil {
			t.Fatal(err)
		}
		got := []string{<-heard, <-heard}
		slices.Sort(got)
		if fmt.Sprint(got) != "[1 [a 1 map[x:<nil>]] 2 [a 1 map[x:<nil>]]]" {
			t.Errorf("heard %v", got)
		}
		type result struct {
			values []any
			err    error
		}
		done := make(chan result, 1)
		ask := func(event string) result {
			nodes[0].io.ServerSideEmitWithAck(event)(func(v []any, err error) { done <- result{v, err} })
			return <-done
		}
		r := ask("ask")
		slices.SortFunc(r.values, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		if fmt.Sprint(r) != "{[pong 1 pong 2] <nil>}" {
			t.Errorf("got %v", r)
		}
		var e *IncompleteError
		inTime(t, func(timeout time.Duration) bool {
			nodes[0].cluster("/").requestsTimeout = timeout
			r = ask("mute")
			return errors.As(r.err, &e) && e.Got == 1
		})
		if e.Want != 2 || fmt.Sprint(r.values) != "[[1 2]]" {
			t.Fatalf("got %v", r)
		}
		if want := []string{nodes[2].cluster("/").uid}; !slices.Equal(e.Missing, want) {
			t.Errorf("missing %v, want %v (%v)", e.Missing, want, e)
		}
		if !errors.Is(e, context.DeadlineExceeded) {
			t.Error(e)
		}
	})
}

// A server carries out its own command at once: what it broadcasts next reaches who has joined. What comes back from
// Redis later changes nothing.
func TestClusterCommandsOfThisServer(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, servers func(int) []*node) {
		nodes := servers(2)
		c := nodes[0].connect("/")
		s, _ := nodes[0].io.Sockets().Sockets().Load(socket.SocketId(c.sid))
		for i := range 20 {
			nodes[0].io.In(socket.Room(c.sid)).SocketsJoin("room")
			nodes[0].io.To("room").Emit("joined", i)
			c.wants("joined", float64(i))
			nodes[0].io.In("room").SocketsLeave("room")
			nodes[0].io.To("room").Emit("left", i)
		}
		nodes[0].io.In(socket.Room(c.sid)).SocketsJoin("room")
		s.Leave("room")
		if f := fetch(t, nodes[1].io.In("room")); f.err != nil || len(f.sockets) != 0 {
			t.Errorf("fetched %+v", f) // the question comes after the command
		}
		wantNothing(t, c)
	})
}
