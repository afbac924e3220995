package adapter

import (
	"context"

	"github.com/architus/guildcast/bus"
)

// pubsub is plain pub/sub, or the sharded one of Redis 7.
type pubsub struct {
	bus  *bus.Bus
	kind bus.Kind // Channel or Shard
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
// say who did not answer: Redis looks at all its channels for it. If Redis does not answer, or an ACL forbids the
// question, the list is short, or empty.
func (p pubsub) list(ctx context.Context, pattern string) []string {
	channels, _ := p.bus.Subscribed(ctx, p.kind, pattern)
	return channels
}
