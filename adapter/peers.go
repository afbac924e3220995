package adapter

import (
	"context"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// subscribedIDs lists the ids in the names of subscribed channels prefix + id + "#". It is used when a request has
// failed, to say who did not answer: Redis looks at all its channels for it. Where Redis does not answer, or an ACL
// forbids the question, it lists nothing.
func subscribedIDs(ctx context.Context, client redis.UniversalClient, prefix string) []string {
	var (
		mu  sync.Mutex
		ids []string
	)
	ask := func(ctx context.Context, c redis.UniversalClient) error {
		channels, err := c.PubSubChannels(ctx, globEscape(prefix)+"?*#").Result()
		mu.Lock()
		defer mu.Unlock()
		for _, name := range channels {
			id := strings.TrimSuffix(strings.TrimPrefix(name, prefix), "#")
			if !strings.Contains(id, "#") {
				ids = append(ids, id)
			}
		}
		return err
	}
	// The error only says that the list may be incomplete, as it may be anyway.
	if c, ok := client.(interface {
		ForEachMaster(context.Context, func(context.Context, *redis.Client) error) error
	}); ok {
		_ = c.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return ask(ctx, c) })
	} else {
		_ = ask(ctx, client)
	}
	mu.Lock()
	defer mu.Unlock()
	return ids
}
