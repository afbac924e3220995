package emitter_test

import (
	"context"
	"fmt"
	"log"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/adapter/emitter"
)

func ExampleNew() {
	server := miniredis.NewMiniRedis() // or the Redis of the Socket.IO servers
	if err := server.Start(); err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer client.Close()
	sub := client.PSubscribe(context.Background(), "socket.io*")
	defer sub.Close()
	if _, err := sub.Receive(context.Background()); err != nil {
		log.Fatal(err)
	}

	e := emitter.New(client, emitter.Options{})
	if err := e.Of("/chat").To("room1", "room2").Except("room3").Emit("hello", map[string]any{"n": 1}); err != nil {
		log.Fatal(err)
	}
	m, err := sub.ReceiveMessage(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.Channel)
	// Output: socket.io#/chat#
}

func ExampleNewSharded() {
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:7000", "127.0.0.1:7001"}})
	defer client.Close()
	e := emitter.NewSharded(client, emitter.ShardedOptions{SubscriptionMode: emitter.Dynamic})
	if err := e.To("room").Emit("hello", 1, []byte{2}); err != nil {
		fmt.Println(err)
	}
}
