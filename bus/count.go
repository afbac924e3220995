package bus

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// NumSub returns how many connections are subscribed to channel (patterns do not count), summed over all primaries
// of a cluster. When some do not answer it returns what the others said, and an error. It ends with ctx, or after the
// client's own timeouts.
func (b *Bus) NumSub(ctx context.Context, channel string) (int, error) {
	return b.numSub(ctx, channel, redis.UniversalClient.PubSubNumSub)
}

// ShardNumSub is NumSub for a sharded channel.
func (b *Bus) ShardNumSub(ctx context.Context, channel string) (int, error) {
	return b.numSub(ctx, channel, redis.UniversalClient.PubSubShardNumSub)
}

// maxCall bounds a command through the client where the caller's context does not.
const maxCall = time.Minute

type countCommand func(c redis.UniversalClient, ctx context.Context, channels ...string) *redis.MapStringIntCmd

func (b *Bus) numSub(ctx context.Context, channel string, count countCommand) (int, error) {
	var sum atomic.Int64
	one := func(ctx context.Context, c redis.UniversalClient) error {
		m, err := count(c, ctx, channel).Result()
		sum.Add(m[channel])
		return err
	}
	err := b.call(ctx, maxCall, func(ctx context.Context) error {
		if c, ok := b.client.(clusterClient); ok {
			return c.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return one(ctx, c) })
		}
		return one(ctx, b.client)
	})
	if err != nil {
		return int(sum.Load()), fmt.Errorf("count subscribers of %q: %w", channel, asReply(err))
	}
	return int(sum.Load()), nil
}

// PublishNow publishes through the client and returns when Redis has answered. It is not in order with Publish.
func (b *Bus) PublishNow(ctx context.Context, channel string, payload []byte) error {
	return b.publishNow(ctx, channel, func(ctx context.Context) error { return b.client.Publish(ctx, channel, payload).Err() })
}

// SPublishNow is PublishNow for a sharded channel.
func (b *Bus) SPublishNow(ctx context.Context, channel string, payload []byte) error {
	return b.publishNow(ctx, channel, func(ctx context.Context) error { return b.client.SPublish(ctx, channel, payload).Err() })
}

func (b *Bus) publishNow(ctx context.Context, channel string, publish func(context.Context) error) error {
	if err := b.call(ctx, maxCall, publish); err != nil {
		return fmt.Errorf("publish to %q: %w", channel, asReply(err))
	}
	return nil
}
