package demo

import (
	"context"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/internal/botwire"
)

// seedBatch is how many fields go into one HSET.
const seedBatch = 500

// Seed writes the world into the pool cache, replacing what was there for the demo guilds, and the sets of members
// online. Users who have left every guild are not written: they are what a node has to ask the worker for.
func (w *World) Seed(ctx context.Context, client redis.UniversalClient) error {
	for _, k := range w.keys() {
		if err := w.seedPool(ctx, client, k); err != nil {
			return fmt.Errorf("seed %s: %w", botwire.PoolKey(k.guild, k.typ), err)
		}
	}
	for _, g := range all[*Guild](w, "", TypeGuild) {
		if err := w.seedOnline(ctx, client, g.ID); err != nil {
			return fmt.Errorf("seed %s: %w", botwire.OnlineKey(g.ID), err)
		}
	}
	return nil
}

func (w *World) seedPool(ctx context.Context, client redis.UniversalClient, k poolKey) error {
	list := all[entity](w, k.guild, k.typ)
	if k.typ == TypeUser {
		list = slices.DeleteFunc(list, func(e entity) bool { return slices.Contains(w.former, e.entityID()) })
	}
	data, err := marshalAll(list)
	if err != nil {
		return err
	}
	pipe := client.Pipeline()
	// The global pools may hold other guilds' entities, which stay.
	if k.guild != "" {
		pipe.Del(ctx, botwire.PoolKey(k.guild, k.typ))
	}
	for start := 0; start < len(list); start += seedBatch {
		end := min(start+seedBatch, len(list))
		values := make([]any, 0, 2*(end-start))
		for i := start; i < end; i++ {
			values = append(values, list[i].entityID(), []byte(data[i]))
		}
		pipe.HSet(ctx, botwire.PoolKey(k.guild, k.typ), values...)
	}
	_, err = pipe.Exec(ctx)
	return err
}

func (w *World) seedOnline(ctx context.Context, client redis.UniversalClient, guild string) error {
	pipe := client.Pipeline()
	pipe.Del(ctx, botwire.OnlineKey(guild))
	if ids := w.Online(guild); len(ids) > 0 {
		values := make([]any, len(ids))
		for i, id := range ids {
			values[i] = id
		}
		pipe.SAdd(ctx, botwire.OnlineKey(guild), values...)
	}
	_, err := pipe.Exec(ctx)
	return err
}
