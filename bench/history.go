//go:build linux

package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
)

func historyCases() []benchCase {
	publish := func(durable bool, guilds, entries int) func(*server, string) (float64, error) {
		return func(_ *server, addr string) (float64, error) {
			return published(addr, durable, guilds, entries, 20_000)
		}
	}
	return []benchCase{
		{
			name: "history: durable publish, 100 guilds", unit: "µs", target: "<= 3", redis: true,
			beside: publish(false, 100, 200), run: publish(true, 100, 200), ok: atMost(3),
		},
		{
			name: "history: durable publish, 1 guild", unit: "µs", target: "<= 3", redis: true,
			beside: publish(false, 1, 1000), run: publish(true, 1, 1000), ok: atMost(3),
		},
	}
}

// published returns what an event costs the process of Redis, in µs of CPU: one publisher, one event at a time, and one
// node that hears all of them. The histories are full, with so many entries each.
func published(addr string, durable bool, guilds, entries, n int) (float64, error) {
	ctx := context.Background()
	client := goredis.NewClient(&goredis.Options{Addr: addr})
	defer client.Close()
	if err := client.FlushAll(ctx).Err(); err != nil {
		return 0, err
	}
	hears := client.PSubscribe(ctx, "[0-9]*")
	defer hears.Close()
	if _, err := hears.Receive(ctx); err != nil {
		return 0, err
	}
	heard := make(chan error, 1)
	go func() {
		for range entries*guilds + n {
			if _, err := hears.ReceiveMessage(ctx); err != nil {
				heard <- err
				return
			}
		}
		heard <- nil
	}()
	p := history.NewPublisher(client, history.PublisherOptions{MaxEntries: entries})
	message := []byte(`{"kind":"member","payload":{"x":"` + strings.Repeat("x", 160) + `"}}`)
	publish := func(i int) (err error) {
		topic := event.Topic{Guild: fmt.Sprint(1_000_000 + i%guilds)}
		if durable {
			_, err = p.Publish(ctx, topic, message)
			return err
		}
		return client.Publish(ctx, topic.Channel(""), message).Err()
	}
	for i := range entries * guilds {
		if err := publish(i); err != nil {
			return 0, err
		}
	}
	before, err := redisCPU(ctx, client)
	if err != nil {
		return 0, err
	}
	for i := range n {
		if err := publish(i); err != nil {
			return 0, err
		}
	}
	if err := <-heard; err != nil {
		return 0, err
	}
	after, err := redisCPU(ctx, client)
	return (after - before) / float64(n), err
}

// redisCPU returns the CPU time, in µs, that the process of Redis has spent, as it says itself.
func redisCPU(ctx context.Context, client *goredis.Client) (float64, error) {
	info, err := client.Info(ctx, "cpu").Result()
	if err != nil {
		return 0, err
	}
	sum := 0.0
	for line := range strings.FieldsSeq(info) {
		name, value, _ := strings.Cut(line, ":")
		if name == "used_cpu_sys" || name == "used_cpu_user" {
			seconds, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return 0, err
			}
			sum += seconds * 1e6
		}
	}
	return sum, nil
}
