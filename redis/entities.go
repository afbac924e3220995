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
	"github.com/architus/guildcast/internal/processor"
	"github.com/architus/guildcast/internal/throttle"
)

const (
	// getChunk bounds the ids of one HMGET, so that no command keeps Redis busy for more than a moment.
	getChunk = 500
	// scanCount is the COUNT of HSCAN and SSCAN. Redis returns a few more, so it is a little less than a part of an
	// answer holds. A small hash comes whole.
	scanCount = 960
)

// EntitiesStats are counters since NewEntities.
type EntitiesStats struct {
	Hits    uint64 // entities found
	Misses  uint64 // ids that were not cached
	Invalid uint64 // values that are no JSON object: treated as not cached
	Errors  uint64 // calls that failed in Redis
}

// Entities is the cache of entities that the bot's backends keep in Redis. A pool is all entities of one kind in a
// guild or, if the guild is "", those that belong to no guild. All methods may be called concurrently.
//
// Every command names one key. The keys of a guild share a hash tag, so that they lie on one server of a cluster.
type Entities struct {
	client goredis.UniversalClient
	log    *slog.Logger

	hits, misses, invalid, errors atomic.Uint64
	lines                         throttle.Minutely[string] // by key
}

// NewEntities returns a reader of the cache. A nil logger discards.
func NewEntities(client goredis.UniversalClient, log *slog.Logger) *Entities {
	return &Entities{client: client, log: cmp.Or(log, slog.New(slog.DiscardHandler))}
}

// Get returns the values of ids, in their order: a JSON object each, or nil if the entity is not cached. If Redis can't
// be asked, the error is ErrUnavailable.
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
		values = e.appendFound(values, key, chunk, raw)
	}
	return values, nil
}

// Scan returns a portion of a pool, about 1,000 entities, and the cursor of the next. The first portion has cursor 0;
// next is 0 after the last. An entity that is in the pool all the time is returned, though it may be twice if the pool
// changes meanwhile. If Redis can't be asked, the error is ErrUnavailable.
func (e *Entities) Scan(
	ctx context.Context, guild, kind string, cursor uint64,
) (ids []string, values [][]byte, next uint64, err error) {
	key, err := poolKey(guild, kind)
	if err != nil {
		return nil, nil, 0, fmt.Errorf("read pool: %w", err)
	}
	pairs, next, err := e.client.HScan(ctx, key, cursor, "", scanCount).Result()
	if err != nil {
		return nil, nil, 0, e.failed("read pool", err)
	}
	ids, values = e.entities(key, pairs)
	return ids, values, next, nil
}

// All calls yield with each portion of a pool, until the last or until yield fails. It reads nothing ahead, so a slow
// yield costs no memory. It returns yield's error as it is, or fails as Scan does.
func (e *Entities) All(ctx context.Context, guild, kind string, yield func(ids []string, values [][]byte) error) error {
	for cursor := uint64(0); ; {
		ids, values, next, err := e.Scan(ctx, guild, kind, cursor)
		if err != nil {
			return err
		}
		if len(ids) > 0 {
			if err := yield(ids, values); err != nil {
				return err
			}
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// Online returns a portion of the ids of a guild's members who are online, in no order. Cursors work as in Scan.
func (e *Entities) Online(ctx context.Context, guild string, cursor uint64) (ids []string, next uint64, err error) {
	if !event.ValidID(guild) {
		return nil, 0, errBadGuild
	}
	members, next, err := e.client.SScan(ctx, botwire.OnlineKey(guild), cursor, "", scanCount).Result()
	if err != nil {
		return nil, 0, e.failed("read members online", err)
	}
	return slices.DeleteFunc(members, func(id string) bool { return !event.ValidID(id) }), next, nil
}

// Stats returns the counters.
func (e *Entities) Stats() EntitiesStats {
	return EntitiesStats{e.hits.Load(), e.misses.Load(), e.invalid.Load(), e.errors.Load()}
}

// appendFound appends the result of HMGET to values.
func (e *Entities) appendFound(values [][]byte, key string, ids []string, found []any) [][]byte {
	size := 0
	for _, v := range found {
		s, _ := v.(string)
		size += len(s)
	}
	var c checked
	processor.Read(size, func() {
		for i, v := range found {
			if s, ok := v.(string); ok {
				values = append(values, c.object(ids[i], s))
			} else {
				e.misses.Add(1)
				values = append(values, nil)
			}
		}
	})
	e.tell(key, c)
	return values
}

// entities splits the result of HSCAN.
func (e *Entities) entities(key string, pairs []string) (ids []string, values [][]byte) {
	size := 0
	for _, s := range pairs {
		size += len(s)
	}
	var c checked
	processor.Read(size, func() {
		for i := 0; i+1 < len(pairs); i += 2 {
			if v := c.object(pairs[i], pairs[i+1]); v != nil {
				ids, values = append(ids, pairs[i]), append(values, v)
			}
		}
	})
	e.tell(key, c)
	return ids, values
}

// checked counts cached values.
type checked struct {
	hits, invalid uint64
	broken        string // id of an invalid one
}

// object returns a cached value with its ids as strings, or nil if it is no JSON object: one broken value must not
// break the answer around it.
func (c *checked) object(id, value string) []byte {
	raw := []byte(value)
	if len(raw) > 0 && raw[0] == '{' && json.Valid(raw) {
		c.hits++
		return event.StringIDs(raw)
	}
	c.invalid++
	c.broken = id
	return nil
}

// tell counts checked values of a pool, and logs if some were invalid.
func (e *Entities) tell(key string, c checked) {
	e.hits.Add(c.hits)
	e.invalid.Add(c.invalid)
	if c.invalid > 0 && e.lines.Allow(key) {
		e.log.Warn("cached entity is no JSON object", "key", key, "id", c.broken)
	}
}

func (e *Entities) failed(op string, err error) error {
	e.errors.Add(1)
	return unavailable(op, err)
}

var errBadGuild = errors.New("the guild's id is not 1 to 20 digits")

// poolKey returns the key of a pool's hash. It checks both parts, so that no input leads to another key.
func poolKey(guild, kind string) (string, error) {
	switch {
	case guild != "" && !event.ValidID(guild):
		return "", errBadGuild
	case !botwire.ValidType(kind):
		return "", fmt.Errorf("unknown type of entity %q", kind)
	}
	return botwire.PoolKey(guild, kind), nil
}
