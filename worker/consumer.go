package worker

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/internal/retry"
)

const (
	// readBlock is how long one read waits for requests. go-redis can't interrupt a read, so stopping may take as long.
	readBlock = 500 * time.Millisecond
	// readBatch bounds the requests that one read takes.
	readBatch = 64
	// backoffMin and backoffMax bound the pause after an error of Redis.
	backoffMin, backoffMax = 50 * time.Millisecond, 2 * time.Second
	// forgetAfter is how long a worker without requests may be silent before the others remove its name. A worker that
	// is killed leaves its name behind.
	forgetAfter = 10 * time.Minute
	// leaveTimeout bounds the last commands of a worker that stops.
	leaveTimeout = 2 * time.Second
)

// consumer is a worker's part in one stream's consumer group.
type consumer struct {
	// Static after construction.
	w      *Worker
	stream string
	slots  chan struct{} // holds an element for each request being handled
	wg     sync.WaitGroup

	// Guarded by mu.
	mu   sync.Mutex
	mine map[string]struct{} // entries being handled
}

func newConsumer(w *Worker, stream string) *consumer {
	return &consumer{w: w, stream: stream, slots: make(chan struct{}, w.opts.Concurrency), mine: map[string]struct{}{}}
}

// run takes requests until ctx ends, and returns once the last of them is done.
func (c *consumer) run(ctx context.Context) {
	// Requests outlive ctx: those that were taken are finished.
	finishing, finished := context.WithCancel(context.WithoutCancel(ctx))
	defer finished()
	var loops, keeper sync.WaitGroup
	loops.Go(func() { c.loop(ctx, c.read) })
	loops.Go(func() { c.loop(ctx, c.claim) })
	keeper.Go(func() { c.keepAlive(finishing) })
	loops.Wait()
	c.wg.Wait()
	finished()
	keeper.Wait()
	c.leave(context.WithoutCancel(ctx))
}

// loop calls step until ctx ends. It pauses after an error.
func (c *consumer) loop(ctx context.Context, step func(context.Context) error) {
	pause := retry.Backoff{Min: backoffMin, Max: backoffMax}
	for ctx.Err() == nil {
		err := step(ctx)
		switch {
		case err == nil:
			pause.Reset()
			continue
		case ctx.Err() != nil:
			return
		case strings.HasPrefix(err.Error(), "NOGROUP"):
			if err = c.join(ctx); err == nil {
				continue
			}
		}
		if c.w.lines.Allow(c.stream) {
			c.w.opts.Logger.Warn("worker can't use redis", "stream", c.stream, "err", err)
		}
		pause.Sleep(ctx)
	}
}

// join creates the group at the beginning of the stream: requests older than the first worker may still be answered in
// time.
func (c *consumer) join(ctx context.Context) error {
	err := c.w.client.XGroupCreateMkStream(ctx, c.stream, c.w.opts.Group, "0").Err()
	if err != nil && strings.HasPrefix(err.Error(), "BUSYGROUP") {
		return nil
	}
	return err
}

// read takes as many requests as can be handled now.
func (c *consumer) read(ctx context.Context) error {
	free := c.reserve(ctx, readBatch)
	if free == 0 {
		return nil // ctx has ended
	}
	defer func() { c.unreserve(free) }()
	streams, err := c.w.client.XReadGroup(ctx, &goredis.XReadGroupArgs{
		Group: c.w.opts.Group, Consumer: c.w.name, Streams: []string{c.stream, ">"},
		Count: int64(free), Block: readBlock,
	}).Result()
	if errors.Is(err, goredis.Nil) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, s := range streams {
		for _, m := range s.Messages {
			free--
			c.start(m)
		}
	}
	return nil
}

// claim takes over requests that another worker has left.
func (c *consumer) claim(ctx context.Context) error {
	if !retry.Sleep(ctx, c.w.opts.ClaimAfter/4) {
		return nil
	}
	free := c.reserve(ctx, 8)
	if free == 0 {
		return nil
	}
	defer func() { c.unreserve(free) }()
	for cursor := "0-0"; free > 0; {
		ids, next, err := c.w.client.XAutoClaimJustID(ctx, &goredis.XAutoClaimArgs{
			Stream: c.stream, Group: c.w.opts.Group, Consumer: c.w.name,
			MinIdle: c.w.opts.ClaimAfter, Start: cursor, Count: int64(free),
		}).Result()
		if err != nil {
			return err
		}
		messages, err := c.entries(ctx, ids)
		if err != nil {
			return err
		}
		for _, m := range messages {
			free--
			c.w.claimed.Add(1)
			c.start(m)
		}
		if cursor = next; cursor == "0-0" {
			break
		}
	}
	return c.forgetDead(ctx)
}

// entries returns the claimed entries, except those that this consumer handles already: it may claim its own after the
// whole process has paused. It acknowledges entries that are no longer in the stream. Redis before 7 keeps those
// pending for ever, and its XAUTOCLAIM returns nil for them instead of their ids.
func (c *consumer) entries(ctx context.Context, claimed []string) (found []goredis.XMessage, err error) {
	claimed = slices.DeleteFunc(claimed, c.holds)
	if len(claimed) == 0 {
		return nil, nil
	}
	answers, err := c.w.client.Pipelined(ctx, func(p goredis.Pipeliner) error {
		for _, id := range claimed {
			p.XRange(ctx, c.stream, id, id)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var gone []string
	for i, a := range answers {
		entry := a.(*goredis.XMessageSliceCmd).Val()
		if found = append(found, entry...); len(entry) == 0 {
			gone = append(gone, claimed[i])
		}
	}
	if len(gone) == 0 {
		return found, nil
	}
	return found, c.w.client.XAck(ctx, c.stream, c.w.opts.Group, gone...).Err()
}

// reserve waits for a free slot and takes up to most. It returns 0 if ctx ends first.
func (c *consumer) reserve(ctx context.Context, most int) (n int) {
	select {
	case c.slots <- struct{}{}:
		n = 1
	case <-ctx.Done():
		return 0
	}
	for n < most {
		select {
		case c.slots <- struct{}{}:
			n++
		default:
			return n
		}
	}
	return n
}

func (c *consumer) unreserve(n int) {
	for range n {
		<-c.slots
	}
}

// start handles a request on a new goroutine, which frees the request's slot at the end.
func (c *consumer) start(m goredis.XMessage) {
	c.mu.Lock()
	c.mine[m.ID] = struct{}{}
	c.mu.Unlock()
	c.wg.Go(func() {
		c.handle(m)
		c.mu.Lock()
		delete(c.mine, m.ID)
		c.mu.Unlock()
		c.unreserve(1)
	})
}

func (c *consumer) holds(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.mine[id]
	return ok
}

// keepAlive resets the idle time of the requests being handled, so that no worker takes over one that merely takes
// long.
func (c *consumer) keepAlive(ctx context.Context) {
	for retry.Sleep(ctx, c.w.opts.ClaimAfter/4) {
		c.mu.Lock()
		ids := slices.Collect(maps.Keys(c.mine))
		c.mu.Unlock()
		if len(ids) == 0 {
			continue
		}
		// Claiming an entry resets its idle time.
		err := c.w.client.XClaimJustID(ctx, &goredis.XClaimArgs{
			Stream: c.stream, Group: c.w.opts.Group, Consumer: c.w.name, Messages: ids,
		}).Err()
		if err != nil && ctx.Err() == nil {
			c.w.opts.Logger.Debug("worker can't keep its requests", "stream", c.stream, "err", err)
		}
	}
}

// forgetDead removes the names of workers that were killed long ago. It keeps those that still hold requests, which
// would be lost with the name.
func (c *consumer) forgetDead(ctx context.Context) error {
	consumers, err := c.w.client.XInfoConsumers(ctx, c.stream, c.w.opts.Group).Result()
	if err != nil {
		return err
	}
	for _, other := range consumers {
		if other.Name == c.w.name || other.Pending > 0 || other.Idle < forgetAfter {
			continue
		}
		if err := c.w.client.XGroupDelConsumer(ctx, c.stream, c.w.opts.Group, other.Name).Err(); err != nil {
			return err
		}
	}
	return nil
}

// leave removes the worker's own name if it holds no request.
func (c *consumer) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	pending, err := c.w.client.XPendingExt(ctx, &goredis.XPendingExtArgs{
		Stream: c.stream, Group: c.w.opts.Group, Start: "-", End: "+", Count: 1, Consumer: c.w.name,
	}).Result()
	if err == nil && len(pending) == 0 {
		err = c.w.client.XGroupDelConsumer(ctx, c.stream, c.w.opts.Group, c.w.name).Err()
	}
	if err != nil {
		c.w.opts.Logger.Debug("worker can't leave its group", "stream", c.stream, "err", err)
	}
}
