package redis_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/redis"
)

// A node hears a guild's events from when Acquire returns.
func ExampleTopics() {
	server := miniredis.NewMiniRedis() // or any Redis
	if err := server.Start(); err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	client := goredis.NewClient(&goredis.Options{Addr: server.Addr()})
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()

	b := bus.New(client, bus.Options{})
	defer b.Close(ctx)
	heard := make(chan struct{})
	topics := redis.NewTopics(b, redis.TopicsOptions{OnMessage: func(t event.Topic, _ history.Position,
		payload []byte, _ time.Time) {
		fmt.Println(t.Guild, t.Logs, string(payload))
		close(heard)
	}})
	running, stop := context.WithCancel(ctx)
	var parts sync.WaitGroup
	defer parts.Wait()
	defer stop()
	parts.Go(func() { _ = topics.Run(running) }) // fails only if it was run before

	release, err := topics.Acquire(ctx, event.Topic{Guild: "607637793107345431"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer release()
	client.Publish(ctx, "607637793107345431", `{"kind":"guild","payload":{}}`) // as the bot's backend does
	select {
	case <-heard:
	case <-ctx.Done():
		fmt.Println(ctx.Err())
	}
	// Output:
	// 607637793107345431 false {"kind":"guild","payload":{}}
}
