package bus_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/internal/test/redistest"
	"github.com/architus/guildcast/internal/test/wait"
)

// TestCountWithAFrozenReplica counts while one server of a cluster does not answer: that costs a bounded time, and the
// result says that it may not be all.
func TestCountWithAFrozenReplica(t *testing.T) {
	t.Parallel()
	c := redistest.StartReplicatedCluster(t)
	for _, s := range append(c.Servers, c.Replicas...) { // nobody gives the replica up
		must(t, s.Client().ConfigSet(within(t), "cluster-node-timeout", "60000").Err())
	}
	for name, heed := range map[string]bool{"context heeded": true, "context not heeded": false} {
		t.Run(name, func(t *testing.T) {
			client := redis.NewClusterClient(&redis.ClusterOptions{
				Addrs: c.Addrs(), ContextTimeoutEnabled: heed, ReadTimeout: 2 * patience,
			})
			t.Cleanup(func() { client.Close() })
			b := newBus(t, client, bus.Options{})
			s := b.NewSubscription(newInbox())
			must(t, s.Subscribe(within(t), bus.Channel, "plain"))
			must(t, s.Subscribe(within(t), bus.Shard, "sharded"))
			count := func(k bus.Kind, name string, want error) {
				t.Helper()
				wait.Until(t, fmt.Sprintf("%q to be counted, with %v", name, want), func() bool {
					began := time.Now()
					n, err := b.NumSub(within(t), k, name)
					if took := time.Since(began); took > patience/2 {
						t.Errorf("%q was counted in %v", name, took)
					}
					// On a busy machine an answer may come too late to count, which is said.
					if n > 1 || n == 0 && err == nil || n == 1 && err == nil && want != nil {
						t.Errorf("%q has %d subscribers, %v", name, n, err)
					}
					return n == 1 && errors.Is(err, want)
				})
			}
			count(bus.Channel, "plain", nil)
			count(bus.Shard, "sharded", nil)
			c.Replicas[1].Pause()
			defer c.Replicas[1].Resume()
			for range 3 {
				count(bus.Channel, "plain", bus.ErrPartial)
				count(bus.Shard, "sharded", bus.ErrPartial)
			}
			wait.Until(t, "the channels to be listed", func() bool {
				names, err := b.Subscribed(within(t), bus.Channel, "pl*")
				if err == nil {
					t.Errorf("subscribed: %q, as if a server were not frozen", names)
				}
				return len(names) == 1 && errors.Is(err, bus.ErrPartial)
			})
			if s := b.State(); !s.Hearing {
				t.Errorf("state %+v", s)
			}
			c.Replicas[1].Resume()
			wait.Until(t, "the count is whole again", func() bool {
				n, err := b.NumSub(within(t), bus.Channel, "plain")
				return n == 1 && err == nil
			})
		})
	}
}

// TestCountFreezeOfReplica has a replica of a single server, which nobody asks, frozen.
func TestCountFreezeOfReplica(t *testing.T) {
	primary := redistest.Start(t)
	replica := redistest.StartReplica(t, primary)
	b := newBus(t, primary.Client(), bus.Options{})
	_, err := b.Subscribe(within(t), newInbox(), bus.Channel, "a")
	must(t, err)
	replica.Pause()
	defer replica.Resume()
	if n, err := b.NumSub(within(t), bus.Channel, "a"); n != 1 || err != nil {
		t.Errorf("%d subscribers, %v", n, err)
	}
}
