package redis

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/internal/botwire"
)

const (
	revocationsKey = botwire.RevocationsKey
	// maxRevocation bounds a revocation, in bytes.
	maxRevocation = 4096
	// storeChunk is how many revocations are written at a time, and storePage how many are read.
	storeChunk, storePage = 500, 5000
	// keepExpired is how long an expired revocation stays, for nodes whose clocks are behind.
	keepExpired = time.Hour
)

var errTooLarge = errors.New("revocation is too large")

// canonical returns a revocation without "exp" and with its fields sorted. It is the same on all nodes, so that storing
// it twice changes nothing.
func canonical(message []byte) (string, error) {
	if len(message) > maxRevocation {
		return "", errTooLarge
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(message, &fields); err != nil {
		return "", fmt.Errorf("decode revocation: %w", err)
	}
	delete(fields, "exp")
	if len(fields) == 0 {
		return "", errors.New("revocation is empty")
	}
	data, err := json.Marshal(fields)
	if err != nil {
		return "", fmt.Errorf("encode revocation: %w", err)
	}
	return string(data), nil
}

// withExpiry returns a record as a message, with its expiry as "exp" in Unix seconds.
func withExpiry(record string, expires time.Time) []byte {
	ms := expires.UnixMilli()
	return fmt.Appendf(nil, `{"exp":%d.%03d,%s`, ms/1000, ms%1000, bytes.TrimPrefix([]byte(record), []byte("{")))
}

// revocationStore is the sorted set of revocations in Redis.
type revocationStore struct{ client goredis.UniversalClient }

// write stores revocations and returns how many of them were new, or were stored with an earlier expiry. The later
// expiry of a revocation counts. It also removes those that expired more than keepExpired ago.
func (s revocationStore) write(ctx context.Context, records map[string]time.Time) (news int64, err error) {
	members := make([]goredis.Z, 0, len(records))
	for record, expires := range records {
		members = append(members, goredis.Z{Score: float64(expires.UnixMilli()), Member: record})
	}
	for chunk := range slices.Chunk(members, storeChunk) {
		n, err := s.client.ZAddArgs(ctx, revocationsKey, goredis.ZAddArgs{GT: true, Ch: true, Members: chunk}).Result()
		if err != nil {
			return news, err
		}
		news += n
	}
	expired := time.Now().Add(-keepExpired).UnixMilli()
	return news, s.client.ZRemRangeByScore(ctx, revocationsKey, "-inf", strconv.FormatInt(expired, 10)).Err()
}

// publish publishes revocations to all nodes.
func (s revocationStore) publish(ctx context.Context, records map[string]time.Time) error {
	_, err := s.client.Pipelined(ctx, func(p goredis.Pipeliner) error {
		for record, expires := range records {
			p.Publish(ctx, revokeChannel, withExpiry(record, expires))
		}
		return nil
	})
	return err
}

// each calls f with each stored revocation, perhaps with some of them twice. Its deadline is for each page, not for all
// of them.
func (s revocationStore) each(ctx context.Context, f func(record string, expires time.Time)) error {
	for cursor := uint64(0); ; {
		page, cancel := context.WithTimeout(ctx, exchangeTimeout)
		pairs, next, err := s.client.ZScan(page, revocationsKey, cursor, "", storePage).Result()
		cancel()
		if err != nil {
			return err
		}
		for i := 0; i+1 < len(pairs); i += 2 {
			ms, err := strconv.ParseFloat(pairs[i+1], 64)
			if err != nil || !(ms >= 0) {
				continue
			}
			const endOf9999 = 253402300799_000 // later expiries, +inf included, count as this one
			f(pairs[i], time.UnixMilli(int64(min(ms, endOf9999))))
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}
