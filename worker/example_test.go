package worker_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/redis"
	"github.com/architus/guildcast/worker"
)

// echo answers a request with its method and arguments.
type echo struct{}

func (echo) Handle(_ context.Context, method string, args []byte, reply func([]byte, bool) error) error {
	return reply(fmt.Appendf(nil, `{"method":%q,"args":%s}`, method, args), false)
}

// A worker in the bot's backend answers what a node asks.
func Example() {
	server := miniredis.NewMiniRedis() // or any Redis
	if err := server.Start(); err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	client := goredis.NewClient(&goredis.Options{Addr: server.Addr()})
	defer client.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	w := worker.New(client, echo{}, worker.Options{})
	var running sync.WaitGroup
	running.Go(func() {
		if err := w.Run(ctx); err != nil {
			fmt.Println(err)
		}
	})
	defer running.Wait()
	defer cancel()

	// The node's side.
	b := bus.New(client, bus.Options{})
	defer b.Close(ctx)
	requests := redis.NewRequests(client, b, redis.RequestsOptions{Timeout: 30 * time.Second})
	running.Go(func() { _ = requests.Run(ctx) }) // fails only if it was run before
	err := requests.Do(ctx, "607637793107345431", "pool_get", []byte(`{"ids":["1"]}`), func(result []byte) error {
		fmt.Println(string(result))
		return nil
	})
	fmt.Println(err)
	// Output:
	// {"method":"pool_get","args":{"ids":["1"]}}
	// <nil>
}
