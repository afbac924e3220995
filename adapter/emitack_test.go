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
	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/internal/test/race"
	"github.com/architus/guildcast/internal/test/redistest"
)

// muteServer is one that never answers.
type muteServer struct {
	uid   string
	leave func()
}

// eachProtocol runs a test with clusters of both protocols. mute adds a server to a cluster that never answers.
func eachProtocol(t *testing.T, test func(t *testing.T, servers func(n int) []*node, mute func() muteServer)) {
	const timeout = patience
	muteOn := func(
		t *testing.T, c redis.UniversalClient, uid string,
		subscribe func(*bus.Subscription, ...string) error, channels ...string,
	) muteServer {
		b := bus.New(c, bus.Options{})
		leave := func() { b.Close(context.Background()) }
		t.Cleanup(leave)
		if err := subscribe(b.NewSubscription(bus.HandlerFunc(func(bus.Message) {})), channels...); err != nil {
			t.Fatal(err)
		}
		return muteServer{uid, leave}
	}
	t.Run("classic", func(t *testing.T) {
		_, c := redistest.Mini(t)
		servers := func(n int) []*node { return classicCluster(t, c, n, Options{RequestsTimeout: timeout}) }
		test(t, servers, func() muteServer {
			uid := randomID(6)
			return muteOn(t, c, uid, func(s *bus.Subscription, channels ...string) error {
				return s.Subscribe(context.Background(), bus.Channel, channels...)
			}, "socket.io#/#", "socket.io-request#/#", "socket.io-response#/#", "socket.io-response#/#"+uid+"#")
		})
	})
	t.Run("sharded", func(t *testing.T) {
		c := redistest.Shared(t).Client()
		servers := func(n int) []*node { return shardedCluster(t, c, n, ShardedOptions{RequestsTimeout: timeout}) }
		test(t, servers, func() muteServer {
			uid := randomHex()
			return muteOn(t, c, uid, func(s *bus.Subscription, channels ...string) error {
				return s.Subscribe(context.Background(), bus.Shard, channels...)
			}, "socket.io#/#", "socket.io#/#"+uid+"#")
		})
	})
}

func toRoom(room socket.Room) *socket.BroadcastOptions {
	return &socket.BroadcastOptions{Rooms: types.NewSet(room)}
}

func TestEmitWithAck(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, servers func(int) []*node, _ func() muteServer) {
		nodes := servers(3)
		for i := range 4 {
			c := nodes[i%3].connect("/", "r1")
			c.acks = func(e event) []any { return []any{fmt.Sprint("answer ", i, e[1]), "second"} }
		}
		nsp := nodes[0].io.Of("/", nil)
		for range 10 {
			values, err := EmitWithAck(context.Background(), nsp, toRoom("r1"), "ask", "q")
			slices.SortFunc(values, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
			if err != nil || fmt.Sprint(values) != "[answer 0q answer 1q answer 2q answer 3q]" {
				t.Fatalf("got %v, %v", values, err)
			}
		}
		values, err := EmitWithAck(context.Background(), nsp, toRoom("empty"), "ask", "q")
		if err != nil || values == nil || len(values) > 0 {
			t.Errorf("no client: %v, %v", values, err)
		}
		local := toRoom("r1")
		local.Flags = &socket.BroadcastFlags{Local: true}
		if values, err := EmitWithAck(context.Background(), nsp, local, "ask", "q"); err != nil || len(values) != 2 {
			t.Errorf("local: %v, %v", values, err)
		}
		if _, err := EmitWithAck(context.Background(), nsp, nil, "disconnect"); err == nil {
			t.Error("a reserved event was emitted")
		}
		if local.Flags.Timeout != nil {
			t.Error("the caller's options were changed")
		}
	})
	io, handler := engine.NewServer(nil, engine.Options{})
	defer handler.Shutdown(context.Background())
	if _, err := EmitWithAck(context.Background(), io.Of("/", nil), nil, "ask"); err == nil {
		t.Error("an adapter of another kind was asked")
	}
}

// TestEmitWithAckIncomplete has a server and a client that never answer: they cost their own answers only.
func TestEmitWithAckIncomplete(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, servers func(int) []*node, mute func() muteServer) {
		nodes := servers(2)
		for _, n := range nodes {
			n.connect("/", "r1").acks = func(event) []any { return []any{"yes"} }
		}
		nodes[1].connect("/", "r1")
		uid := mute().uid
		var e *IncompleteError
		inTime(t, func(timeout time.Duration) bool {
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			values, err := EmitWithAck(ctx, nodes[0].io.Of("/", nil), toRoom("r1"), "ask")
			return errors.As(err, &e) && fmt.Sprint(values) == "[yes yes]"
		})
		if e.Got != 1 || e.Want != 2 || e.Clients != 1 || !slices.Equal(e.Missing, []string{uid}) ||
			!errors.Is(e, context.DeadlineExceeded) {
			t.Errorf("got %+v: %v", e, e)
		}
	})
}

// TestServersLeave has servers that leave while they are asked: they are not waited for, unlike one that is slow.
func TestServersLeave(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, servers func(int) []*node, mute func() muteServer) {
		nodes := servers(2)
		for _, n := range nodes {
			n.connect("/").acks = func(event) []any { return []any{"yes"} }
		}
		asked := nodes[0].cluster("/")
		asked.times.look = 20 * time.Millisecond
		type result struct {
			n   int
			err error
		}
		// begin asks in two ways, and returns when the servers have been counted for both, or the first has ended.
		begin := func(ctx context.Context) chan result {
			done := make(chan result, 2)
			go func() {
				rooms, err := nodes[0].adapter("/").AllRooms(ctx)
				done <- result{len(rooms), err}
			}()
			go func() {
				values, err := EmitWithAck(ctx, nodes[0].io.Of("/", nil), nil, "ask")
				done <- result{len(values), err}
			}()
			await(t, func() (any, bool) {
				return nil, len(done) > 0 || asked.pending.n.Load() > 0 && !asked.acks.empty()
			})
			return done
		}
		gone := mute()
		done := begin(context.Background())
		gone.leave()
		for range 2 {
			var e *IncompleteError
			r := receive(t, done)
			if r.n != 2 || !errors.As(r.err, &e) || e.Got != 1 || e.Want != 2 || len(e.Missing) > 0 ||
				e.Cause != ErrLeft {
				t.Errorf("%d, %v", r.n, r.err)
			}
		}

		slow := mute()
		inTime(t, func(timeout time.Duration) bool { // longer than the looks for the server that left
			gone := mute()
			ctx, cancel := context.WithTimeout(t.Context(), 2*timeout)
			defer cancel()
			done := begin(ctx)
			gone.leave()
			complete := true
			for range 2 {
				var e *IncompleteError
				r := receive(t, done)
				if !errors.As(r.err, &e) || e.Cause != context.DeadlineExceeded {
					t.Errorf("with a slow server: %d, %v", r.n, r.err)
				}
				complete = complete && r.n == 2 && e.Got == 1 && e.Want == 3 &&
					slices.Equal(e.Missing, []string{slow.uid})
			}
			return complete
		})
	})
}

// TestOperatorWithAck is about the library's operator, which has a data race in its counters.
func TestOperatorWithAck(t *testing.T) {
	if race.Enabled {
		t.Skip("the library's operator has a data race")
	}
	t.Parallel()
	eachProtocol(t, func(t *testing.T, servers func(int) []*node, mute func() muteServer) {
		nodes := servers(3)
		for _, n := range nodes {
			n.connect("/", "r1").acks = func(event) []any { return []any{"yes"} }
		}
		type result struct {
			values []any
			err    error
		}
		ask := func(b *socket.BroadcastOperator) result {
			done := make(chan result, 10)
			b.EmitWithAck("ask")(func(values []any, err error) { done <- result{values, err} })
			r := <-done
			select {
			case again := <-done:
				t.Errorf("called again, with %v", again)
			default:
			}
			return r
		}
		for range 20 {
			// Only this server is asked, and the library expects the others too.
			if r := ask(nodes[0].io.Local().Timeout(time.Minute)); fmt.Sprint(r) != "{[yes] <nil>}" {
				t.Fatalf("local: %v", r)
			}
			if r := ask(nodes[0].io.Timeout(time.Minute)); fmt.Sprint(r) != "{[yes yes yes] <nil>}" {
				t.Fatalf("all: %v", r)
			}
		}
		// A server that does not answer is counted, and the log names it.
		mute()
		var asked uint64
		inTime(t, func(timeout time.Duration) bool {
			asked++
			r := ask(nodes[0].io.Timeout(timeout))
			if r.err == nil {
				t.Errorf("with a mute server: %v", r)
			}
			return fmt.Sprint(r.values) == "[yes yes yes]"
		})
		await(t, func() (uint64, bool) { n := nodes[0].cluster("/").Stats().Incomplete; return n, n == asked })
	})
}
