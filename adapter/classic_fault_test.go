package adapter

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/zishang520/socket.io-go-parser/v2/parser"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/internal/test/redistest"
)

// TestClassicRedisLostAndFound stops Redis and starts it again: that is announced, calls end by their deadline with an
// error, what is local goes on, and everything works again afterwards.
func TestClassicRedisLostAndFound(t *testing.T) {
	t.Parallel()
	for _, rooms := range []bool{false, true} {
		t.Run(fmt.Sprint("rooms=", rooms), func(t *testing.T) {
			server := redistest.Start(t)
			states := make(chan bus.State, 100)
			nodes := classicCluster(t, server.Client(), 2, Options{
				RequestsTimeout: time.Second, PatternSubscription: !rooms, OnState: func(s bus.State) { states <- s },
			})
			c0, c1 := nodes[0].connect("/", "r1"), nodes[1].connect("/", "r1")
			hear(t, states, true, 2)
			server.Stop()
			hear(t, states, false, 2)

			nodes[0].io.To("r1").Emit("local")
			c0.wants("local")
			f := fetch(t, nodes[0].io)
			if f.err == nil || len(f.sockets) != 1 {
				t.Errorf("fetched %v", f)
			}
			late := nodes[0].connect("/", "late") // a join without Redis

			server.Start()
			hear(t, states, true, 2)
			drain(c1)
			nodes[1].io.To("r1").Emit("again", 1)
			c0.wants("again", 1.)
			nodes[0].io.To("r1").Emit("again", 2)
			await(t, func() (event, bool) { e := <-c1.events; return e, e[0] == "again" && e[1] == 2. })
			await(t, func() (event, bool) {
				nodes[1].io.To("late").Emit("late")
				select {
				case e := <-late.events:
					return e, true
				case <-time.After(50 * time.Millisecond):
					return nil, false
				}
			})
			await(t, func() (fetched, bool) {
				f := fetch(t, nodes[0].io)
				return f, f.err == nil && len(f.sockets) == 3
			})
		})
	}
}

// hear waits until n servers have announced that they hear, or not.
func hear(t *testing.T, states chan bus.State, hearing bool, n int) {
	t.Helper()
	for range n {
		await(t, func() (bus.State, bool) {
			select {
			case s := <-states:
				return s, s.Hearing == hearing
			case <-time.After(patience):
				t.Fatalf("nobody said hearing=%v", hearing)
				return bus.State{}, false
			}
		})
	}
}

func drain(c *client) {
	for {
		select {
		case <-c.events:
		case <-time.After(silence):
			return
		}
	}
}

// TestClassicStartsWithoutRedis makes a server while Redis is away.
func TestClassicStartsWithoutRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Stop()
	early := New(server.Client(), Options{})
	early.times.start = 10 * time.Millisecond
	n := newNode(t, early)
	c := n.connect("/", "r1")
	n.io.Emit("alone")
	c.wants("alone")
	server.Start()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := Ready(ctx, n.io.Of("/", nil)); err != nil {
		t.Fatal(err)
	}
	other := newNode(t, New(server.Client(), Options{}))
	other.io.To("r1").Emit("both")
	c.wants("both")
}

// TestClassicACL gives the adapter the rights that docs/reference/adapter.md lists, and then too few.
func TestClassicACL(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	admin := server.Client()
	ctx := context.Background()
	setUser := func(name string, rules ...string) redis.UniversalClient {
		args := []any{"ACL", "SETUSER", name, "reset", "on", ">pw"}
		for _, r := range rules {
			args = append(args, r)
		}
		if err := admin.Do(ctx, args...).Err(); err != nil {
			t.Fatal(err)
		}
		o := *admin.Options()
		o.Username, o.Password = name, "pw"
		c := redis.NewClient(&o)
		t.Cleanup(func() { c.Close() })
		return c
	}
	enough := []string{
		"+subscribe", "+unsubscribe", "+publish", "+ping", "+pubsub|numsub", "+pubsub|channels",
		"&socket.io#*", "&socket.io-request#*", "&socket.io-response#*", "&socket.io-probe#*",
	}
	nodes := classicCluster(t, setUser("good", enough...), 2, Options{})
	c := nodes[1].connect("/", "r1")
	for _, n := range nodes {
		if err := Ready(ctx, n.io.Of("/", nil)); err != nil {
			t.Fatal(err)
		}
	}
	nodes[0].io.To("r1").Emit("x")
	c.wants("x")
	if f := fetch(t, nodes[0].io); f.err != nil || len(f.sockets) != 1 {
		t.Errorf("fetched %v", f)
	}

	// A pattern must be allowed literally.
	pattern := newNode(t, New(setUser("pattern", append(enough, "+psubscribe", "+punsubscribe", "&socket.io#/#*")...),
		Options{PatternSubscription: true}))
	if err := Ready(ctx, pattern.io.Of("/", nil)); err != nil {
		t.Error(err)
	}

	n := newNode(t, New(setUser("bad", enough[:6]...), Options{})) // no channels
	err := Ready(ctx, n.io.Of("/", nil))
	if err == nil || !strings.Contains(err.Error(), "NOPERM") ||
		!strings.Contains(err.Error(), "socket.io-response#/#") {
		t.Errorf("got %v", err)
	}
	setUser("bad", enough...)
	await(t, func() (error, bool) { err := Ready(ctx, n.io.Of("/", nil)); return err, err == nil })
}

// TestClassicListeners shows that a listener that panics, waits for an answer, or never returns, costs only itself.
func TestClassicListeners(t *testing.T) {
	t.Parallel()
	_, rc := redistest.Mini(t)
	patient := New(rc, Options{RequestsTimeout: patience})
	patient.times.grace = patience
	nodes := []*node{newNode(t, New(rc, Options{})), newNode(t, patient), newNode(t, New(rc, Options{}))}
	c := nodes[1].connect("/", "r1")
	calls := make(chan string, 100)
	hold := make(chan struct{})
	defer close(hold)
	nsp := nodes[1].io.Of("/", nil)
	nsp.On("panic", func(...any) { panic("listener") })
	nsp.On("ask", func(...any) {
		f := fetch(t, nodes[1].io)
		calls <- fmt.Sprint("asked ", len(f.sockets), f.err)
	})
	nsp.On("quick", func(args ...any) {
		nodes[1].io.Local().Emit("from listener")
		calls <- fmt.Sprint("quick", args)
	})
	nodes[0].io.ServerSideEmit("panic")
	nodes[0].io.ServerSideEmit("ask")
	nodes[0].io.ServerSideEmit("quick", 1)
	nodes[0].io.To("r1").Emit("after")
	c.wants("from listener") // what a listener does comes before what arrives after its event
	c.wants("after")
	for _, want := range []string{"asked 1 <nil>", "quick[1]"} {
		if got := <-calls; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}

	nodes[2].io.On("stuck", func(...any) { <-hold })
	nodes[2].io.On("behind", func(...any) {})
	c = nodes[2].connect("/", "r1")
	nodes[0].io.ServerSideEmit("stuck")
	for i := range 50 {
		nodes[0].io.ServerSideEmit("behind", i)
		nodes[0].io.To("r1").Emit("still", i)
		c.wants("still", float64(i))
	}
}

// TestClassicClose ends what waits.
func TestClassicClose(t *testing.T) {
	t.Parallel()
	_, rc := redistest.Mini(t)
	nodes := classicCluster(t, rc, 2, Options{RequestsTimeout: time.Minute})
	nodes[1].io.On("mute", func(...any) {})
	done := make(chan error, 1)
	nodes[0].io.ServerSideEmitWithAck("mute")(func(_ []any, err error) { done <- err })
	a := nodes[0].classic("/")
	await(t, func() (int64, bool) { n := a.pending.n.Load(); return n, n == 1 })
	a.Close()
	a.Close()
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
	if err := a.ServerSideEmit([]any{"x"}); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("got %v", err)
	}
	if err := a.Ready(context.Background()); err != nil && !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
	a.Broadcast(&parser.Packet{Type: parser.EVENT, Data: []any{"x"}}, nil)
}

func TestClassicServerSideEmitRefuses(t *testing.T) {
	t.Parallel()
	_, rc := redistest.Mini(t)
	n := classicCluster(t, rc, 1, Options{})[0]
	a := n.classic("/")
	for _, packet := range [][]any{nil, {}, {socket.Ack(func([]any, error) {})}, {"x", func() {}}} {
		if err := a.ServerSideEmit(packet); err == nil {
			t.Errorf("%v was emitted", packet)
		}
	}
	n.io.Emit("cannot be encoded", make(chan int))
	if s := a.Stats(); s.Unsent != 1 {
		t.Errorf("%+v", s)
	}
}
