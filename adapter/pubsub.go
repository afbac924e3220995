package adapter

import (
	"context"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/bus"
)

// pubsub is plain pub/sub, or the sharded one of Redis 7.
type pubsub struct {
	bus    *bus.Bus
	client redis.UniversalClient
	kind   bus.Kind // Channel or Shard
}

func (p pubsub) publish(channel string, payload []byte) error {
	return p.bus.Publish(p.kind, channel, payload)
}

func (p pubsub) publishNow(ctx context.Context, channel string, payload []byte) error {
	return p.bus.PublishNow(ctx, p.kind, channel, payload)
}

func (p pubsub) want(s *bus.Subscription, channels ...string) *bus.Pending {
	return s.Want(p.kind, channels...)
}

func (p pubsub) unsubscribe(s *bus.Subscription, channels ...string) {
	s.Unsubscribe(p.kind, channels...)
}

func (p pubsub) numSub(ctx context.Context, channel string) (int, error) {
	return p.bus.NumSub(ctx, p.kind, channel)
}

// away reports whether Redis is known to be lost.
func (p pubsub) away() bool {
	s := p.bus.State()
	return !s.Hearing && s.Err != nil
}

// list lists the channels that match a pattern, on all servers of a cluster. It is used when a request has failed, to
// say who did not answer: Redis looks at all its channels for it. Where Redis does not answer, or an ACL forbids the
// question, it lists nothing.
func (p pubsub) list(ctx context.Context, pattern string) []string {
	var (
		mu  sync.Mutex
		all []string
	)
	ask := func(ctx context.Context, c redis.UniversalClient) error {
		cmd := c.PubSubChannels
		if p.kind == bus.Shard {
			cmd = c.PubSubShardChannels
		}
		names, err := cmd(ctx, pattern).Result()
		mu.Lock()
		defer mu.Unlock()
		all = append(all, names...)
		return err
	}
	// An error only says that the list may be incomplete, as it may be anyway.
	if c, ok := p.client.(interface {
		ForEachShard(context.Context, func(context.Context, *redis.Client) error) error
	}); ok {
		_ = c.ForEachShard(ctx, func(ctx context.Context, c *redis.Client) error { return ask(ctx, c) })
	} else {
		_ = ask(ctx, p.client)
	}
	mu.Lock()
	defer mu.Unlock()
	return all
}
