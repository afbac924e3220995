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
	// readBlock is how long one read waits for requests: go-redis can't interrupt it, so that stopping takes as long.
	readBlock = 500 * time.Millisecond
	// readBatch is the most requests taken at once.
	readBatch = 64
	// backoffMin and backoffMax bound the pause after an error of Redis.
	backoffMin, backoffMax = 50 * time.Millisecond, 2 * time.Second
	// forgetAfter is how long a worker that holds nothing may be silent before the others forget its name: those that
	// were killed leave it behind.
	forgetAfter = 10 * time.Minute
	// leaveTimeout bounds what is said to Redis when the worker stops.
	leaveTimeout = 2 * time.Second
)

// lane is a worker's work on one stream.
type lane struct {
	// Static after construction.
	w      *Worker
	stream string
	slots  chan struct{} // a token for each request being handled
	wg     sync.WaitGroup

	// Guarded by mu.
	mu   sync.Mutex
	mine map[string]struct{} // entries being handled
}

func newLane(w *Worker, stream string) *lane {
	return &lane{w: w, stream: stream, slots: make(chan struct{}, w.opts.Concurrency), mine: map[string]struct{}{}}
}

// run reads, claims and keeps alive until ctx ends and the last request is done.
func (l *lane) run(ctx context.Context) {
	// Requests outlive ctx: what was taken is finished.
	finishing, finished := context.WithCancel(context.WithoutCancel(ctx))
	defer finished()
	var loops, keeper sync.WaitGroup
	loops.Go(func() { l.loop(ctx, l.read) })
	loops.Go(func() { l.loop(ctx, l.claim) })
	keeper.Go(func() { l.keepAlive(finishing) })
	loops.Wait()
	l.wg.Wait()
	finished()
	keeper.Wait()
	l.leave(context.WithoutCancel(ctx))
}

// loop calls step until ctx ends, with pauses after errors.
func (l *lane) loop(ctx context.Context, step func(context.Context) error) {
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
			if err = l.join(ctx); err == nil {
				continue
			}
		}
		if l.w.lines.Allow(l.stream) {
			l.w.opts.Logger.Warn("worker can't use redis", "stream", l.stream, "err", err)
		}
		pause.Sleep(ctx)
	}
}

// join makes the group, which hears everything that the stream holds: requests that came before the first worker may
// still be answered in time.
func (l *lane) join(ctx context.Context) error {
	err := l.w.client.XGroupCreateMkStream(ctx, l.stream, l.w.opts.Group, "0").Err()
	if err != nil && strings.HasPrefix(err.Error(), "BUSYGROUP") {
		return nil
	}
	return err
}

// read takes requests, as many as can be handled now.
func (l *lane) read(ctx context.Context) error {
	free := l.reserve(ctx, readBatch)
	if free == 0 {
		return nil // ctx has ended
	}
	defer func() { l.unreserve(free) }()
	streams, err := l.w.client.XReadGroup(ctx, &goredis.XReadGroupArgs{
		Group: l.w.opts.Group, Consumer: l.w.name, Streams: []string{l.stream, ">"}, Count: int64(free), Block: readBlock,
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
			l.start(m)
		}
	}
	return nil
}

// claim takes over what another worker has left.
func (l *lane) claim(ctx context.Context) error {
	if !retry.Sleep(ctx, l.w.opts.ClaimAfter/4) {
		return nil
	}
	free := l.reserve(ctx, 8)
	if free == 0 {
		return nil
	}
	defer func() { l.unreserve(free) }()
	for cursor := "0-0"; free > 0; {
		ids, next, err := l.w.client.XAutoClaimJustID(ctx, &goredis.XAutoClaimArgs{
			Stream: l.stream, Group: l.w.opts.Group, Consumer: l.w.name,
			MinIdle: l.w.opts.ClaimAfter, Start: cursor, Count: int64(free),
		}).Result()
		if err != nil {
			return err
		}
		messages, err := l.entries(ctx, ids)
		if err != nil {
			return err
		}
		for _, m := range messages {
			free--
			l.w.claimed.Add(1)
			l.start(m)
		}
		if cursor = next; cursor == "0-0" {
			break
		}
	}
	return l.forgetDead(ctx)
}

// entries returns the entries that were claimed, but for those that are being handled here: they are our own, after a
// pause of this whole process. Those that are gone from the stream are acknowledged. Redis before 7 does not do that: it
// keeps them pending for ever, and XAUTOCLAIM has nil in their place, which says nothing of their ids.
func (l *lane) entries(ctx context.Context, claimed []string) (found []goredis.XMessage, err error) {
	claimed = slices.DeleteFunc(claimed, l.holds)
	if len(claimed) == 0 {
		return nil, nil
	}
	answers, err := l.w.client.Pipelined(ctx, func(p goredis.Pipeliner) error {
		for _, id := range claimed {
			p.XRange(ctx, l.stream, id, id)
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
	return found, l.w.client.XAck(ctx, l.stream, l.w.opts.Group, gone...).Err()
}

// reserve waits for one slot and takes up to most.
func (l *lane) reserve(ctx context.Context, most int) (n int) {
	select {
	case l.slots <- struct{}{}:
		n = 1
	case <-ctx.Done():
		return 0
	}
	for n < most {
		select {
		case l.slots <- struct{}{}:
			n++
		default:
			return n
		}
	}
	return n
}

func (l *lane) unreserve(n int) {
	for range n {
		<-l.slots
	}
}

// start handles a request on a goroutine of its own, which gives its slot back.
func (l *lane) start(m goredis.XMessage) {
	l.mu.Lock()
	l.mine[m.ID] = struct{}{}
	l.mu.Unlock()
	l.wg.Go(func() {
		l.handle(m)
		l.mu.Lock()
		delete(l.mine, m.ID)
		l.mu.Unlock()
		l.unreserve(1)
	})
}

func (l *lane) holds(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.mine[id]
	return ok
}

// keepAlive shows that the requests being handled are in good hands, so that nobody takes over one that only takes
// long.
func (l *lane) keepAlive(ctx context.Context) {
	for retry.Sleep(ctx, l.w.opts.ClaimAfter/4) {
		l.mu.Lock()
		ids := slices.Collect(maps.Keys(l.mine))
		l.mu.Unlock()
		if len(ids) == 0 {
			continue
		}
		// Claimed from ourselves: that resets the time that they are idle.
		err := l.w.client.XClaimJustID(ctx, &goredis.XClaimArgs{
			Stream: l.stream, Group: l.w.opts.Group, Consumer: l.w.name, Messages: ids,
		}).Err()
		if err != nil && ctx.Err() == nil {
			l.w.opts.Logger.Debug("worker can't keep its requests", "stream", l.stream, "err", err)
		}
	}
}

// forgetDead removes the names of workers that were killed long ago. Those that still hold requests stay: removing them
// would lose the requests.
func (l *lane) forgetDead(ctx context.Context) error {
	consumers, err := l.w.client.XInfoConsumers(ctx, l.stream, l.w.opts.Group).Result()
	if err != nil {
		return err
	}
	for _, c := range consumers {
		if c.Name == l.w.name || c.Pending > 0 || c.Idle < forgetAfter {
			continue
		}
		if err := l.w.client.XGroupDelConsumer(ctx, l.stream, l.w.opts.Group, c.Name).Err(); err != nil {
			return err
		}
	}
	return nil
}

// leave removes the worker's own name, if nothing is left in it.
func (l *lane) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	pending, err := l.w.client.XPendingExt(ctx, &goredis.XPendingExtArgs{
		Stream: l.stream, Group: l.w.opts.Group, Start: "-", End: "+", Count: 1, Consumer: l.w.name,
	}).Result()
	if err == nil && len(pending) == 0 {
		err = l.w.client.XGroupDelConsumer(ctx, l.stream, l.w.opts.Group, l.w.name).Err()
	}
	if err != nil {
		l.w.opts.Logger.Debug("worker can't leave its group", "stream", l.stream, "err", err)
	}
}
