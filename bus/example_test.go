package bus_test

import (
	"context"
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/bus"
)

func Example() {
	server := miniredis.NewMiniRedis() // or any Redis
	if err := server.Start(); err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	b := bus.New(client, bus.Options{OnState: func(s bus.State) {
		if s.Gap && s.Hearing {
			fmt.Println("messages may have been missed")
		}
	}})
	defer b.Close(ctx)

	done := make(chan struct{})
	sub, err := b.Subscribe(ctx, bus.HandlerFunc(func(m bus.Message) {
		fmt.Printf("%s: %s\n", m.Channel, m.Payload)
		if m.Channel == "weather" {
			close(done)
		}
	}), bus.Channel, "news")
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := sub.Subscribe(ctx, bus.Channel, "weather"); err != nil {
		fmt.Println(err)
		return
	}
	// Redis has confirmed both: nothing that is published from here on is missed.
	b.Publish(bus.Channel, "news", []byte("hello"))
	b.Publish(bus.Channel, "weather", []byte("sunny"))
	<-done
	// Output:
	// news: hello
	// weather: sunny
}
