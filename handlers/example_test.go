package handlers_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/handlers"
	"github.com/architus/guildcast/permissions"
	"github.com/architus/guildcast/redis"
	"github.com/architus/guildcast/token"
)

// A gateway serves the clients of a Socket.IO server: who they are, what they may see, and where it comes from. Package
// node does all of this.
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
	defer cancel()
	b := bus.New(client, bus.Options{})
	defer b.Close(ctx)

	revocations := &permissions.Revocations{}
	verifier, err := token.NewVerifier(token.VerifierOptions{
		Secrets: []token.Secret{{Key: []byte("a secret of 32 bytes, or of more")}}, Revocations: revocations,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	var gateway *handlers.Gateway // there are no messages before a client spectates
	topics := redis.NewTopics(b, redis.TopicsOptions{
		OnMessage: gateway.Receive,
		OnMissed:  func(topics []event.Topic, reason string) { gateway.Resync(topics, reason) },
	})
	running, stop := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	defer parts.Wait()
	defer stop()
	parts.Go(func() { _ = topics.Run(running) })           // fails only if it was run before, as gateway.Run
	io, handler := engine.NewServer(nil, engine.Options{}) // handler is served at /socket.io/
	gateway, err = handlers.New(io, handlers.Parts{
		Verifier: verifier, Revocations: revocations, Topics: topics,
		Filter: permissions.NewFilter[*engine.Conn](permissions.DefaultPolicy()),
		Pools:  redis.NewEntities(client, nil),
	}, handlers.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	parts.Go(func() { _ = gateway.Run(running) })
	fmt.Println(gateway.Sessions(), "clients")

	// First the clients, then what serves them.
	fmt.Println(handler.Shutdown(ctx))
	// Output:
	// 0 clients
	// <nil>
}
