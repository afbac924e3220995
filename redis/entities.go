package redis

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"

	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/internal/botwire"
	"github.com/architus/guildcast/internal/throttle"
)

const (
	// getChunk is the most ids of one HMGET: a command should not keep Redis from others for more than a moment.
	getChunk = 500
	// scanCount is how many fields or members Redis is asked for at a time. It may give more: a small hash comes whole.
	scanCount = 1000
)

// EntitiesStats are counters since NewEntities.
type EntitiesStats struct {
	Hits    uint64 // entities found
	Misses  uint64 // ids that were not cached
	Invalid uint64 // values that are no JSON object: treated as not cached
	Errors  uint64 // calls that Redis did not answer
}

// Entities is the cache of entities that the bot's backends keep in Redis. A pool is all entities of one kind of a
// guild, or, where the guild is "", of those that belong to none. All methods may be called concurrently.
//
// Every command is about one key, and the keys of a guild share a hash tag: they lie on one server of a cluster.
type Entities struct {
	client goredis.UniversalClient
	log    *slog.Logger

	hits, misses, invalid, errors atomic.Uint64
	lines                         throttle.Minutely[string] // by key
}

// NewEntities makes the cache's reader; a nil logger discards.
func NewEntities(client goredis.UniversalClient, log *slog.Logger) *Entities {
	return &Entities{client: client, log: cmp.Or(log, slog.New(slog.DiscardHandler))}
}

// Get gives the values of ids, in their order: a JSON object each, nil where one is not cached. It fails with
// ErrUnavailable.
func (e *Entities) Get(ctx context.Context, guild, kind string, ids []string) (values [][]byte, err error) {
	key, err := poolKey(guild, kind)
	if err != nil {
		return nil, fmt.Errorf("get entities: %w", err)
	}
	values = make([][]byte, 0, len(ids))
	for chunk := range slices.Chunk(ids, getChunk) {
		raw, err := e.client.HMGet(ctx, key, chunk...).Result()
		if err != nil {
			return nil, e.failed("get entities", err)
		}
		if len(raw) != len(chunk) {
			return nil, e.failed("get entities", errors.New("redis answered with the wrong number of values"))
		}
		for i, v := range raw {
			s, found := v.(string)
			if !found {
				e.misses.Add(1)
				values = append(values, nil)
				continue
			}
			values = append(values, e.checked(key, chunk[i], s))
		}
	}
	return values, nil
}

// All calls yield with portions of a pool, some 1,000 entities each, until all were given or yield fails. An entity may
// come twice where the pool changes meanwhile; one that is there all the time comes. Nothing is read ahead, so that a
// slow yield costs no memory. It fails with ErrUnavailable, or with yield's error as it is.
func (e *Entities) All(ctx context.Context, guild, kind string, yield func(ids []string, values [][]byte) error) error {
	key, err := poolKey(guild, kind)
	if err != nil {
		return fmt.Errorf("read pool: %w", err)
	}
	for cursor := uint64(0); ; {
		var pairs []string
		pairs, cursor, err = e.client.HScan(ctx, key, cursor, "", scanCount).Result()
		if err != nil {
			return e.failed("read pool", err)
		}
		for part := range slices.Chunk(pairs, 2*scanCount) {
			ids, values := e.entities(key, part)
			if len(ids) == 0 {
				continue
			}
			if err := yield(ids, values); err != nil {
				return err
			}
		}
		if cursor == 0 {
			return nil
		}
	}
}

// Online gives the ids of a guild's members who are online, each once, in no order.
func (e *Entities) Online(ctx context.Context, guild string) ([]string, error) {
	if !event.ValidID(guild) {
		return nil, errBadGuild
	}
	key := botwire.OnlineKey(guild)
	seen := make(map[string]struct{})
	for cursor := uint64(0); ; {
		var members []string
		var err error
		members, cursor, err = e.client.SScan(ctx, key, cursor, "", scanCount).Result()
		if err != nil {
			return nil, e.failed("read members online", err)
		}
		for _, m := range members {
			seen[m] = struct{}{}
		}
		if cursor == 0 {
			break
		}
	}
	ids := make([]string, 0, len(seen))
	for id := range seen {
		if event.ValidID(id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// Stats returns the counters.
func (e *Entities) Stats() EntitiesStats {
	return EntitiesStats{e.hits.Load(), e.misses.Load(), e.invalid.Load(), e.errors.Load()}
}

// entities splits what HSCAN gives.
func (e *Entities) entities(key string, pairs []string) (ids []string, values [][]byte) {
	for i := 0; i+1 < len(pairs); i += 2 {
		if v := e.checked(key, pairs[i], pairs[i+1]); v != nil {
			ids, values = append(ids, pairs[i]), append(values, v)
		}
	}
	return ids, values
}

// checked gives a value that may be put into an answer, its ids as strings, or nil: one broken value must not break the
// answer around it.
func (e *Entities) checked(key, id, value string) []byte {
	raw := []byte(value)
	if len(raw) > 0 && raw[0] == '{' && json.Valid(raw) {
		e.hits.Add(1)
		return event.StringIDs(raw)
	}
	e.invalid.Add(1)
	if e.lines.Allow(key) {
		e.log.Warn("cached entity is no JSON object", "key", key, "id", id)
	}
	return nil
}

func (e *Entities) failed(op string, err error) error {
	e.errors.Add(1)
	return unavailable(op, err)
}

var errBadGuild = errors.New("the guild's id is not 1 to 20 digits")

// poolKey is the key of a pool's hash. Both parts are checked, so that no input leads to another key.
func poolKey(guild, kind string) (string, error) {
	switch {
	case guild != "" && !event.ValidID(guild):
		return "", errBadGuild
	case !botwire.ValidType(kind):
		return "", fmt.Errorf("unknown type of entity %q", kind)
	}
	return botwire.PoolKey(guild, kind), nil
}
