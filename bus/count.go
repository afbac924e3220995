package bus

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// NumSub returns how many connections are subscribed to a channel of kind k, Channel or Shard; patterns that match it do
// not count. In a cluster it asks every server. If some do not answer it returns what the others said, and an error. It
// ends with ctx, or after the client's own timeouts.
func (b *Bus) NumSub(ctx context.Context, k Kind, channel string) (int, error) {
	switch k {
	case Channel:
		return b.numSub(ctx, channel, redis.UniversalClient.PubSubNumSub)
	case Shard:
		return b.numSub(ctx, channel, redis.UniversalClient.PubSubShardNumSub)
	}
	return 0, fmt.Errorf("count subscribers of %q: %w: not a channel", channel, ErrUnsupported)
}

// maxCall bounds a command through the client if the caller's context does not.
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
			return c.ForEachShard(ctx, func(ctx context.Context, c *redis.Client) error { return one(ctx, c) })
		}
		return one(ctx, b.client)
	})
	if err != nil {
		return int(sum.Load()), fmt.Errorf("count subscribers of %q: %w", channel, asReply(err))
	}
	return int(sum.Load()), nil
}

// PublishNow publishes to a channel of kind k, Channel or Shard, and returns when Redis has answered. It is not in order
// with Publish.
func (b *Bus) PublishNow(ctx context.Context, k Kind, channel string, payload []byte) error {
	var err error
	switch k {
	case Channel:
		err = b.call(ctx, maxCall, func(ctx context.Context) error { return b.client.Publish(ctx, channel, payload).Err() })
	case Shard:
		err = b.call(ctx, maxCall, func(ctx context.Context) error { return b.client.SPublish(ctx, channel, payload).Err() })
	default:
		err = fmt.Errorf("%w: not a channel", ErrUnsupported)
	}
	if err != nil {
		return fmt.Errorf("publish to %q: %w", channel, asReply(err))
	}
	return nil
}
