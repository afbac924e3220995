package adapter_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter"
	"github.com/architus/guildcast/engine"
)

// Two servers form a cluster: an event emitted to servers by one is heard by the other.
func ExampleNew() {
	db := miniredis.NewMiniRedis() // or any Redis
	if err := db.Start(); err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	client := redis.NewClient(&redis.Options{Addr: db.Addr()})
	defer client.Close()

	var servers [2]*socket.Server
	for i := range servers {
		opts := socket.DefaultServerOptions()
		opts.SetAdapter(adapter.New(client, adapter.Options{Key: "example"}))
		io, handler := engine.NewServer(opts, engine.Options{}) // handler is an http.Handler
		defer io.Close(nil)
		defer handler.Shutdown(context.Background())
		servers[i] = io
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for _, io := range servers {
		if err := adapter.Ready(ctx, io.Of("/", nil)); err != nil {
			log.Fatal(err)
		}
	}

	heard := make(chan string)
	servers[1].On("hello", func(args ...any) { heard <- fmt.Sprint(args[0]) })
	fmt.Println(servers[0].Of("/", nil).Adapter().ServerCount(), "servers")
	servers[0].To("room").Emit("to clients", "wherever they are connected")
	if err := servers[0].ServerSideEmit("hello", "servers"); err != nil {
		log.Fatal(err)
	}
	fmt.Println("hello", <-heard)
	// Output:
	// 2 servers
	// hello servers
}
