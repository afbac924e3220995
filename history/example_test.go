package history_test

import (
	"context"
	"fmt"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
)

// A backend publishes durably; who has missed an event reads it again.
func Example() {
	server, err := miniredis.Run() // any Redis
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer client.Close()
	ctx := context.Background()

	publisher := history.NewPublisher(client, history.PublisherOptions{MaxEntries: 100})
	topic := event.Topic{Guild: "607637793107345431"}
	seen, err := publisher.Publish(ctx, topic, []byte(`{"kind":"member","payload":{"nick":"a"}}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, nick := range []string{"b", "c"} {
		message := fmt.Appendf(nil, `{"kind":"member","payload":{"nick":%q}}`, nick)
		if _, err := publisher.Publish(ctx, topic, message); err != nil {
			fmt.Println(err)
			return
		}
	}

	page, err := history.NewReader(client, history.ReaderOptions{}).After(ctx, topic.Guild, seen, 10)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("nothing is missing:", page.Whole)
	for _, entry := range page.Entries {
		fmt.Println(string(entry.Message))
	}
	// Output:
	// nothing is missing: true
	// {"kind":"member","payload":{"nick":"b"}}
	// {"kind":"member","payload":{"nick":"c"}}
}

// A message of a topic has its position in front if it was published durably.
func ExampleCut() {
	for _, message := range []string{`1790000000000-0 {"payload":1}`, `{"payload":2}`, `1790000000000`} {
		position, body, durable, err := history.Cut([]byte(message))
		fmt.Println(position, string(body), durable, err != nil)
	}
	// Output:
	// 1790000000000-0 {"payload":1} true false
	// 0-0 {"payload":2} false false
	// 0-0  false true
}
