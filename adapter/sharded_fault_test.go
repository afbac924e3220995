package adapter

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/internal/test/redistest"
)

// TestShardedSurvives cuts the connections: the rooms are heard again once that is announced.
func TestShardedSurvives(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr())
	client := redis.NewClient(&redis.Options{Addr: proxy.Addr(), MaxRetries: -1})
	t.Cleanup(func() { client.Close() })
	states := make(chan bus.State, 1000)
	n := newNode(t, NewSharded(client, ShardedOptions{OnState: func(s bus.State) { states <- s }}))
	other := newNode(t, NewSharded(server.Client(), ShardedOptions{}))
	c := n.connect("/", "r1")
	b := n.sharded("/").bus
	hears := func() { await(t, func() (bus.State, bool) { s := b.State(); return s, s.Hearing }) }
	cut := func() { // returns when the loss was noticed
		before := b.Stats().Losses
		proxy.Cut()
		await(t, func() (uint64, bool) { n := b.Stats().Losses; return n, n > before })
	}
	hears()
	for s := range states {
		if s.Hearing {
			break
		}
	}
	for i := range 10 {
		cut()
		hears()
		for s := range states { // what is announced
			if s.Hearing && !s.Gap {
				t.Errorf("%+v", s)
			}
			if s.Hearing {
				break
			}
		}
		other.io.To("r1").Emit("room", i)
		other.io.To(socket.Room(c.sid)).Emit("own", i)
		other.io.Emit("all", i)
		for _, e := range []string{"room", "own", "all"} {
			c.wants(e, float64(i))
		}
	}
	// While Redis is away a join does not wait, and a question ends.
	proxy.Refuse(true)
	cut()
	s, _ := n.io.Sockets().Sockets().Load(socket.SocketId(c.sid))
	start := time.Now()
	for i := range 100 {
		s.Join(socket.Room(fmt.Sprint("away", i)))
	}
	if d := time.Since(start); d > 90*joinTimeout { // a hundred that wait would take longer
		t.Errorf("100 joins took %v", d)
	}
	if _, err := n.sharded("/").AllRooms(context.Background()); err == nil {
		t.Error("asked others without Redis")
	}
	n.io.To("away5").Emit("local")
	c.wants("local")
	proxy.Refuse(false)
	hears()
	other.io.To("away7").Emit("back")
	c.wants("back")
}

// TestShardedACL shows what a server without rights says, and that it works as soon as it gets them.
func TestShardedACL(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	admin := server.Client()
	acl := func(rules ...any) {
		t.Helper()
		rules = append([]any{"acl", "setuser", "limited"}, rules...)
		if err := admin.Do(context.Background(), rules...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	// What docs/reference/sharded.md says is enough, but for the channels.
	acl("on", ">pw", "resetchannels", "&other*", "+ssubscribe", "+sunsubscribe", "+subscribe", "+unsubscribe",
		"+spublish", "+publish", "+ping", "+pubsub")
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), Username: "limited", Password: "pw"})
	t.Cleanup(func() { client.Close() })
	n := newNode(t, NewSharded(client, ShardedOptions{}))
	err := Ready(context.Background(), n.io.Of("/", nil))
	if err == nil || !strings.Contains(err.Error(), "NOPERM") || !strings.Contains(err.Error(), "socket.io#/#") {
		t.Fatalf("ready: %v", err)
	}
	acl("&socket.io*")
	await(t, func() (error, bool) {
		err := Ready(context.Background(), n.io.Of("/", nil))
		return err, err == nil
	})
	c := n.connect("/", "r1")
	confirmed(t, n.sharded("/").bus)
	other := newNode(t, NewSharded(admin, ShardedOptions{}))
	other.io.To("r1").Emit("heard")
	c.wants("heard")
	if count := n.sharded("/").ServerCount(); count != 2 {
		t.Errorf("%d servers", count)
	}
}

// TestShardedDeadPeer kills a server's process in the middle of a question: it costs its own answer only.
func TestShardedDeadPeer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	nodes := shardedCluster(t, server.Client(), 2, ShardedOptions{})
	nodes[1].connect("/")
	// A server that is subscribed and never answers.
	mute := bus.New(server.Client(), bus.Options{})
	t.Cleanup(func() { mute.Close(context.Background()) })
	uid := randomHex()
	ignore := bus.HandlerFunc(func(bus.Message) {})
	_, err := mute.Subscribe(context.Background(), ignore, bus.Shard, "socket.io#/#", "socket.io#/#"+uid+"#")
	if err != nil {
		t.Fatal(err)
	}
	var f fetched
	inTime(t, func(timeout time.Duration) bool {
		nodes[0].sharded("/").requestsTimeout = timeout
		f = fetch(t, nodes[0].io)
		return len(f.sockets) == 1
	})
	if f.err == nil || !strings.Contains(f.err.Error(), "1 of 2 servers") || !strings.Contains(f.err.Error(), uid) {
		t.Errorf("fetched %d, %v", len(f.sockets), f.err)
	}
	inTime(t, func(timeout time.Duration) bool {
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		rooms, err := nodes[0].sharded("/").AllRooms(ctx)
		if err == nil {
			t.Errorf("rooms %v", rooms)
		}
		return len(rooms) == 1
	})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := nodes[0].sharded("/").AllRooms(ctx); err == nil {
		t.Error("a canceled question has an answer")
	}
}
