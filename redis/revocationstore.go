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
	// maxRevocation bounds one, in bytes.
	maxRevocation = 4096
	// storeChunk is how many are written or read at a time.
	storeChunk = 500
	// keepExpired is how long an expired revocation stays, for nodes whose clocks are late.
	keepExpired = time.Hour
)

// canonical is a revocation without "exp" and with its fields sorted: the same for all nodes, so that storing it twice
// changes nothing.
func canonical(message []byte) (string, error) {
	if len(message) > maxRevocation {
		return "", errors.New("revocation is too large")
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

// withExpiry is a record as a message that says when it expires, in Unix seconds.
func withExpiry(record string, expires time.Time) []byte {
	ms := expires.UnixMilli()
	return fmt.Appendf(nil, `{"exp":%d.%03d,%s`, ms/1000, ms%1000, bytes.TrimPrefix([]byte(record), []byte("{")))
}

// revocationStore is the sorted set.
type revocationStore struct {
	client goredis.UniversalClient
	max    int
}

// write stores revocations. Of one that is stored already the later expiry counts. It also removes what has expired,
// and what is too much.
func (s revocationStore) write(ctx context.Context, records map[string]time.Time) error {
	members := make([]goredis.Z, 0, len(records))
	for record, expires := range records {
		members = append(members, goredis.Z{Score: float64(expires.UnixMilli()), Member: record})
	}
	for chunk := range slices.Chunk(members, storeChunk) {
		if err := s.client.ZAddArgs(ctx, revocationsKey, goredis.ZAddArgs{GT: true, Members: chunk}).Err(); err != nil {
			return err
		}
	}
	_, err := s.client.Pipelined(ctx, func(p goredis.Pipeliner) error {
		expired := time.Now().Add(-keepExpired).UnixMilli()
		p.ZRemRangeByScore(ctx, revocationsKey, "-inf", strconv.FormatInt(expired, 10))
		p.ZRemRangeByRank(ctx, revocationsKey, 0, int64(-s.max-1))
		return nil
	})
	return err
}

// each calls f with each revocation stored; with some of them twice, maybe.
func (s revocationStore) each(ctx context.Context, f func(record string, expires time.Time)) error {
	for cursor := uint64(0); ; {
		pairs, next, err := s.client.ZScan(ctx, revocationsKey, cursor, "", storeChunk).Result()
		if err != nil {
			return err
		}
		for i := 0; i+1 < len(pairs); i += 2 {
			ms, err := strconv.ParseFloat(pairs[i+1], 64)
			if err != nil || !(ms >= 0) {
				continue
			}
			const endOf9999 = 253402300799_000 // one that never expires, +inf included, is in force until then
			f(pairs[i], time.UnixMilli(int64(min(ms, endOf9999))))
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}
