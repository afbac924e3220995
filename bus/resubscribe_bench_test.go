package bus_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/internal/test/redistest"
)

// BenchmarkResubscribe measures the time from the loss of all connections with subscriptions, on which a node hears
// the topics of 100,000 guilds, until Redis has confirmed all of them again.
func BenchmarkResubscribe(b *testing.B) {
	const guilds = 100_000
	kill := func(ctx context.Context, c *redis.Client) error {
		return c.ClientKillByFilter(ctx, "TYPE", "pubsub").Err()
	}
	for name, c := range map[string]struct {
		kind  bus.Kind
		begin func() (redis.UniversalClient, func(context.Context) error)
	}{
		"channels": {bus.Channel, func() (redis.UniversalClient, func(context.Context) error) {
			client := redistest.Start(b).Client()
			return client, func(ctx context.Context) error { return kill(ctx, client) }
		}},
		"sharded channels of a cluster": {bus.Shard, func() (redis.UniversalClient, func(context.Context) error) {
			client := redistest.StartCluster(b).Client()
			return client, func(ctx context.Context) error { return client.ForEachMaster(ctx, kill) }
		}},
	} {
		b.Run(name, func(b *testing.B) {
			client, lose := c.begin()
			heard := make(chan bus.State, 1000)
			bs := bus.New(client, bus.Options{OnState: func(s bus.State) { heard <- s }})
			defer bs.Close(context.Background())
			names := make([]string, guilds)
			for i := range names {
				names[i] = fmt.Sprintf("{%d}", 7_000_000_000_000_000_000+i)
			}
			s, err := bs.Subscribe(b.Context(), newInbox(), c.kind, names...)
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			for len(heard) > 0 {
				<-heard
			}
			b.ResetTimer()
			for range b.N {
				if err := lose(b.Context()); err != nil {
					b.Fatal(err)
				}
				for lost := false; ; {
					var state bus.State
					select {
					case state = <-heard:
					case <-time.After(time.Minute):
						b.Fatal("not heard again")
					}
					lost = lost || !state.Hearing
					if lost && state.Hearing && bs.Stats().UnconfirmedSubs == 0 {
						break
					}
				}
			}
		})
	}
}
