package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// ErrPartial is wrapped if a result may be incomplete: some servers of a cluster did not answer, or their roles have
// just changed. The call returns what it found all the same.
var ErrPartial = errors.New("there may be more")

// errChanged is why a count is partial while the subscribers of a demoted server reconnect.
var errChanged = errors.New("the primaries have changed a moment ago")

// changeTime is how long that may take.
const changeTime = 3 * time.Second

// answerWait bounds the wait for each of several servers. The bound is half of the caller's time if that is less, so
// that time is left to use the answer.
const answerWait = 500 * time.Millisecond

// maxCall bounds a command through the client if the caller's context does not.
const maxCall = time.Minute

// NumSub returns the number of connections that are subscribed to a channel of kind k, Channel or Shard. Patterns that
// match the channel do not count. In a cluster it asks every server, replicas included, and waits at most half a second
// for each. If some do not answer, or in the first 3 s after other servers have become primaries, it returns what it
// has with an error that wraps ErrPartial. Otherwise it ends with ctx, or after the client's own timeouts.
func (b *Bus) NumSub(ctx context.Context, k Kind, channel string) (int, error) {
	count := redis.UniversalClient.PubSubNumSub
	if k == Shard {
		count = redis.UniversalClient.PubSubShardNumSub
	}
	counts, err := askAll(ctx, b, k, func(ctx context.Context, c redis.UniversalClient) (int64, error) {
		m, err := count(c, ctx, channel).Result()
		return m[channel], err
	})
	sum := 0
	for _, n := range counts {
		sum += int(n)
	}
	if err != nil {
		err = fmt.Errorf("count subscribers of %q: %w", channel, err)
	}
	return sum, err
}

// Subscribed returns the channels of kind k, Channel or Shard, that match a glob-style pattern and have subscribers. It
// asks the same servers as NumSub. Redis scans all its channels for it.
func (b *Bus) Subscribed(ctx context.Context, k Kind, pattern string) ([]string, error) {
	list := redis.UniversalClient.PubSubChannels
	if k == Shard {
		list = redis.UniversalClient.PubSubShardChannels
	}
	lists, err := askAll(ctx, b, k, func(ctx context.Context, c redis.UniversalClient) ([]string, error) {
		return list(c, ctx, pattern).Result()
	})
	names := slices.Concat(lists...)
	slices.Sort(names)
	if err != nil {
		err = fmt.Errorf("list channels like %q: %w", pattern, err)
	}
	return slices.Compact(names), err
}

// askAll returns the answer of the client or, in a cluster, the answers of all servers, which it asks concurrently.
func askAll[T any](
	ctx context.Context, b *Bus, k Kind, ask func(context.Context, redis.UniversalClient) (T, error),
) ([]T, error) {
	if k != Channel && k != Shard {
		return nil, fmt.Errorf("%w: not a channel", ErrUnsupported)
	}
	r, ok := b.router.(*clusterRouter)
	if !ok {
		answer, err := askOne(ctx, b, maxCall, b.client, ask)
		if err != nil {
			return nil, err
		}
		return []T{answer}, nil
	}
	var known sync.WaitGroup
	known.Go(func() { _, _ = r.primaries.get(ctx) }) // an error is that of the next line, too
	servers, err := r.servers.get(ctx)
	known.Wait()
	if err != nil {
		return nil, err
	}
	wait := answerWait
	if end, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(end)/2)
	}
	answers, errs := make([]T, len(servers)), make([]error, len(servers))
	var wg sync.WaitGroup
	for i, c := range servers {
		wg.Go(func() {
			if answers[i], errs[i] = askOne(ctx, b, wait, c, ask); errs[i] != nil {
				errs[i] = fmt.Errorf("%s: %w", c.Options().Addr, errs[i])
			}
		})
	}
	wg.Wait()
	got, err := those(answers, errs)
	if err == nil && r.primaries.changedWithin(changeTime) {
		err = fmt.Errorf("%w: %w", ErrPartial, errChanged)
	}
	return got, err
}

// askOne returns in time even if the client does not.
func askOne[T any](
	ctx context.Context, b *Bus, wait time.Duration, c redis.UniversalClient,
	ask func(context.Context, redis.UniversalClient) (T, error),
) (answer T, err error) {
	answers := make(chan T, 1)
	err = b.call(ctx, wait, func(ctx context.Context) error {
		a, err := ask(ctx, c)
		answers <- a
		return err
	})
	if err != nil {
		return answer, asReply(err)
	}
	return <-answers, nil
}

// those returns the answers without an error. Its error wraps ErrPartial if only some have one.
func those[T any](answers []T, errs []error) ([]T, error) {
	var got []T
	for i, err := range errs {
		if err == nil {
			got = append(got, answers[i])
		}
	}
	switch err := errors.Join(errs...); {
	case err == nil:
		return got, nil
	case len(got) > 0:
		return got, fmt.Errorf("%w: %w", ErrPartial, err)
	default:
		return nil, err
	}
}

// PublishNow publishes to a channel of kind k, Channel or Shard, and returns when Redis has answered. The message may
// overtake those of Publish.
func (b *Bus) PublishNow(ctx context.Context, k Kind, channel string, payload []byte) error {
	var err error
	switch k {
	case Channel:
		err = b.call(ctx, maxCall, func(ctx context.Context) error {
			return b.client.Publish(ctx, channel, payload).Err()
		})
	case Shard:
		err = b.call(ctx, maxCall, func(ctx context.Context) error {
			return b.client.SPublish(ctx, channel, payload).Err()
		})
	default:
		err = fmt.Errorf("%w: not a channel", ErrUnsupported)
	}
	if err != nil {
		return fmt.Errorf("publish to %q: %w", channel, asReply(err))
	}
	return nil
}
