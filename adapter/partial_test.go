package adapter

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/internal/test/redistest"
	"github.com/architus/guildcast/internal/test/wait"
)

// TestFrozenReplica asks the cluster while a replica does not answer: that costs a bounded time, everybody who hears
// answers, and the caller is told that there may be more.
func TestFrozenReplica(t *testing.T) {
	t.Parallel()
	c := redistest.StartReplicatedCluster(t)
	for _, s := range append(c.Servers, c.Replicas...) { // nobody gives the replica up
		if err := s.Client().ConfigSet(context.Background(), "cluster-node-timeout", "60000").Err(); err != nil {
			t.Fatal(err)
		}
	}
	clusters := map[string][]*node{
		"classic": classicCluster(t, c.Client(), 2, Options{}),
		"sharded": shardedCluster(t, c.Client(), 2, ShardedOptions{}),
	}
	for _, nodes := range clusters {
		for _, n := range nodes {
			n.connect("/").acks = func(event) []any { return []any{"pong"} }
		}
		if f := fetch(t, nodes[0].io); len(f.sockets) != 2 || f.err != nil {
			t.Fatalf("fetched %d, %v", len(f.sockets), f.err)
		}
	}
	c.Replicas[0].Pause()
	defer c.Replicas[0].Resume()
	for name, nodes := range clusters {
		partial := func(op string, got, want int, began time.Time, err error) {
			t.Helper()
			var e *IncompleteError
			if got != want || !errors.As(err, &e) || !errors.Is(err, bus.ErrPartial) {
				t.Errorf("%s: %s: got %d, %v", name, op, got, err)
			}
			if took := time.Since(began); took > patience/2 { // not as long as an answer is waited for
				t.Errorf("%s: %s took %v", name, op, took)
			}
		}
		began := time.Now()
		f := fetch(t, nodes[0].io)
		partial("fetch", len(f.sockets), 2, began, f.err)
		began = time.Now()
		values, err := EmitWithAck(context.Background(), nodes[0].io.Of("/", nil), nil, "ping")
		partial("emit", len(values), 2, began, err)
		if err := Ready(context.Background(), nodes[0].io.Of("/", nil)); err != nil {
			t.Errorf("%s: ready: %v", name, err)
		}
	}
}

// TestFetchOverFailover asks the cluster right after each manual failover: what is found may be short only if it says
// so.
func TestFetchOverFailover(t *testing.T) {
	c := redistest.StartReplicatedCluster(t)
	o, so := Options{RequestsTimeout: 2 * time.Second}, ShardedOptions{RequestsTimeout: 2 * time.Second}
	clusters := map[string][]*node{
		"classic": classicCluster(t, c.Client(), 2, o), "sharded": shardedCluster(t, c.Client(), 2, so),
	}
	whole := func(name string, nodes []*node) {
		t.Helper()
		wait.Until(t, name+" to find all sockets", func() bool {
			f := fetch(t, nodes[0].io)
			if len(f.sockets) != 2 && f.err == nil {
				t.Errorf("%s: found %d sockets without an error", name, len(f.sockets))
			}
			return len(f.sockets) == 2 && f.err == nil
		})
	}
	for name, nodes := range clusters {
		nodes[0].connect("/")
		nodes[1].connect("/")
		whole(name, nodes)
	}
	for i := range c.Servers {
		c.Failover(i)
		for name, nodes := range clusters {
			whole(name, nodes)
		}
	}
}
