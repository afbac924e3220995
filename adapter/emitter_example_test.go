package adapter_test

import (
	"context"
	"fmt"
	"log"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter"
	"github.com/architus/guildcast/engine"
)

func ExampleNewEmitter() {
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

	e := adapter.NewEmitter(client, adapter.EmitterOptions{})
	if err := e.Of("/chat").To("room1", "room2").Except("room3").Emit("hello", map[string]any{"n": 1}); err != nil {
		log.Fatal(err)
	}
	if err := e.In("room1").DisconnectSockets(true); err != nil {
		log.Fatal(err)
	}
	for range 2 {
		m, err := sub.ReceiveMessage(context.Background())
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(m.Channel)
	}
	// Output:
	// socket.io#/chat#
	// socket.io-request#/#
}

func ExampleNewSharded() {
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:7000", "127.0.0.1:7001"}})
	defer client.Close()

	opts := socket.DefaultServerOptions()
	opts.SetAdapter(adapter.NewSharded(client, adapter.ShardedOptions{SubscriptionMode: adapter.Dynamic}))
	io, handler := engine.NewServer(opts, engine.Options{})
	io.On("connection", func(args ...any) {
		s := args[0].(*socket.Socket)
		s.Join("room")
		io.To("room").Emit("joined", s.Id()) // on all servers, also those in Node.js
	})
	_ = handler // an http.Handler: http.ListenAndServe(":3000", handler)
}
