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

// ErrPartial is wrapped, beside what was found, if there may be more: some servers of a cluster did not answer, or
// their roles have changed a moment ago.
var ErrPartial = errors.New("there may be more")

// errChanged is why a count is partial while subscribers of a server that was demoted change over.
var errChanged = errors.New("the primaries have changed a moment ago")

// changeTime is how long they may take.
const changeTime = 3 * time.Second

// answerWait bounds the wait for each of several servers. Half of the caller's time is the bound if that is less: what
// is asked for has to be done with the answer.
const answerWait = 500 * time.Millisecond

// maxCall bounds a command through the client if the caller's context does not.
const maxCall = time.Minute

// NumSub returns how many connections are subscribed to a channel of kind k, Channel or Shard; patterns that match it
// do not count. In a cluster it asks every server, replicas too, and waits half a second for each at most: if some do
// not answer it returns what the others said, and an error that wraps ErrPartial; so it does in the first 3 s after
// other servers have become primaries. Otherwise it ends with ctx, or after the client's own timeouts.
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

// Subscribed lists the channels of kind k, Channel or Shard, that match a glob-style pattern and have subscribers. It
// asks as NumSub does. Redis looks at all its channels for it.
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

// askAll returns the answers of the client, or in a cluster of each server, all asked at once.
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

// askOne returns within the time, whether the client does or not.
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

// those returns the answers without an error. It wraps ErrPartial if there are some, and not all.
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

// PublishNow publishes to a channel of kind k, Channel or Shard, and returns when Redis has answered. It is not in
// order with Publish.
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
