package relay_test

import (
	"context"
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/relay"
)

// A bot publishes plainly, as it always has; the relay keeps what it publishes.
func Example() {
	server, err := miniredis.Run() // any Redis
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer client.Close()
	b := bus.New(client, bus.Options{})
	r, err := relay.New(b, client, relay.Options{ToPrefix: "gc:"}) // nodes run with --topic-prefix gc:
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- r.Run(ctx) }()

	const guild = "607637793107345431"
	reader := history.NewReader(client, history.ReaderOptions{})
	until(func() bool { return r.Stats().Leading })
	client.Publish(ctx, guild, `{"kind":"member","payload":{"nick":"a"}}`)
	until(func() bool { return r.Stats().Published == 1 })
	page, err := reader.After(ctx, guild, history.Position{}, 10)
	for _, entry := range page.Entries {
		fmt.Println(string(entry.Message), err)
	}
	cancel()
	fmt.Println(<-ended, b.Close(context.Background()))
	// Output:
	// {"kind":"member","payload":{"nick":"a"}} <nil>
	// <nil> <nil>
}

// until waits for a moment.
func until(cond func() bool) {
	for range time.Tick(time.Millisecond) {
		if cond() {
			return
		}
	}
}
