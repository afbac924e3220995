package redis

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

const (
	// dropQueue bounds the entries that wait to be deleted. If it is full, an entry stays until its stream is trimmed.
	dropQueue = 4096
	// dropBatch bounds the entries deleted at once.
	dropBatch = 256
	// trimEvery is how often a stream in use is trimmed of entries older than keepEntries, whose deadlines have passed.
	trimEvery   = 10 * time.Second
	keepEntries = time.Minute
	// dropTimeout bounds the deletion of one batch.
	dropTimeout = 2 * time.Second
)

// streams writes requests, and keeps the streams short even if no worker deletes anything, or none runs.
type streams struct {
	client goredis.UniversalClient
	max    int64
	log    *slog.Logger
	drops  chan drop // written by drop, read by run and flush, never closed
}

// drop is an entry to be deleted.
type drop struct{ stream, entry string }

func newStreams(client goredis.UniversalClient, most int, log *slog.Logger) *streams {
	return &streams{client: client, max: int64(most), log: log, drops: make(chan drop, dropQueue)}
}

// add appends a request to its stream.
func (s *streams) add(ctx context.Context, stream string, fields []string) (entry string, err error) {
	return s.client.XAdd(ctx, &goredis.XAddArgs{Stream: stream, MaxLen: s.max, Approx: true, Values: fields}).Result()
}

// withdraw deletes an entry at once. A worker that has it may still answer; no worker takes it, or takes it over, any
// more.
func (s *streams) withdraw(ctx context.Context, stream, entry string) error {
	return s.client.XDel(ctx, stream, entry).Err()
}

// takers returns how many times an entry was delivered to a worker, or 0 if a worker has settled it.
func (s *streams) takers(ctx context.Context, stream, entry string) (n int64, err error) {
	groups, err := s.client.XInfoGroups(ctx, stream).Result()
	if err != nil {
		return 0, err
	}
	for _, g := range groups {
		pending, err := s.client.XPendingExt(ctx, &goredis.XPendingExtArgs{
			Stream: stream, Group: g.Name, Start: entry, End: entry, Count: 1,
		}).Result()
		if err != nil {
			return 0, err
		}
		for _, p := range pending {
			n += p.RetryCount
		}
	}
	return n, nil
}

// drop queues an entry to be deleted. It never blocks.
func (s *streams) drop(stream, entry string) {
	select {
	case s.drops <- drop{stream, entry}:
	default:
	}
}

// run deletes entries and trims streams until ctx ends.
func (s *streams) run(ctx context.Context) {
	tick := time.NewTicker(trimEvery)
	defer tick.Stop()
	latest := map[string]string{} // the last entry of each stream in use; one for each service at most
	for {
		select {
		case d := <-s.drops:
			s.clean(ctx, s.batch(d), latest, nil)
		case <-tick.C:
			s.clean(ctx, nil, nil, latest)
			clear(latest)
		case <-ctx.Done():
			return
		}
	}
}

// flush deletes the entries that are left, for at most dropTimeout.
func (s *streams) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, dropTimeout)
	defer cancel()
	for ctx.Err() == nil {
		select {
		case d := <-s.drops:
			s.clean(ctx, s.batch(d), map[string]string{}, nil)
		default:
			return
		}
	}
}

// batch returns the first entry and those that wait behind it, dropBatch at most.
func (s *streams) batch(first drop) []drop {
	batch := []drop{first}
	for len(batch) < dropBatch {
		select {
		case d := <-s.drops:
			batch = append(batch, d)
		default:
			return batch
		}
	}
	return batch
}

// clean deletes a batch of entries, records the last one of each stream in latest, and trims the streams in trim. It
// may fail: entries that stay are trimmed later.
func (s *streams) clean(ctx context.Context, batch []drop, latest, trim map[string]string) {
	entries := map[string][]string{}
	for _, d := range batch {
		entries[d.stream] = append(entries[d.stream], d.entry)
		latest[d.stream] = d.entry
	}
	ctx, cancel := context.WithTimeout(ctx, dropTimeout)
	defer cancel()
	_, err := s.client.Pipelined(ctx, func(p goredis.Pipeliner) error {
		for stream, ids := range entries {
			p.XDel(ctx, stream, ids...)
		}
		for stream, entry := range trim {
			if oldest := before(entry, keepEntries); oldest != "" {
				p.XTrimMinIDApprox(ctx, stream, oldest, 0)
			}
		}
		return nil
	})
	if err != nil {
		s.log.Debug("request streams not cleaned", "err", err)
	}
}

// before returns the id of an entry added d before this one, or "" if there is none. It goes by Redis's clock alone:
// entry ids begin with its milliseconds.
func before(entry string, d time.Duration) string {
	ms, _, _ := strings.Cut(entry, "-")
	n, err := strconv.ParseInt(ms, 10, 64)
	if err != nil || n <= d.Milliseconds() {
		return ""
	}
	return strconv.FormatInt(n-d.Milliseconds(), 10)
}
