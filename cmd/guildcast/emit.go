package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	goredis "github.com/redis/go-redis/v9"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter"
	"github.com/architus/guildcast/internal/redisurl"
)

// emit is the command that emits one event through the emitter protocol.
type emit struct {
	Redis      string   `default:"redis://127.0.0.1:6379" placeholder:"URL" help:"Redis of the cluster."`
	Adapter    string   `enum:"classic,sharded,sharded-static,sharded-dynamic-private" default:"classic" placeholder:"MODE" help:"Adapter of the cluster's servers: classic, sharded, sharded-static, sharded-dynamic-private."`
	AdapterKey string   `default:"socket.io" placeholder:"TEXT" help:"What stands before the names of the adapter's channels."`
	Namespace  string   `default:"/" placeholder:"NAME" help:"Namespace."`
	Except     []string `placeholder:"ROOM" help:"Rooms whose members are left out, with commas between them."`
	Volatile   bool     `help:"Let the event be lost if a client can't take it at once."`

	Room  string   `arg:"" help:"Room: <socket id>_auth for an elevated socket, <socket id> for any; an empty text for everybody."`
	Event string   `arg:"" help:"Name of the event."`
	Args  []string `arg:"" optional:"" help:"Arguments as JSON."`
}

// Run emits, and returns once Redis has the event.
func (c *emit) Run(ctx context.Context, _ terminal) error {
	args := make([]any, len(c.Args))
	for i, text := range c.Args {
		if err := json.Unmarshal([]byte(text), &args[i]); err != nil {
			return usagef("argument %d of the event is not JSON: %w", i+1, err)
		}
	}
	connection, err := redisurl.Connect(c.Redis)
	if err != nil {
		return usagef("--redis: %w", err)
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	e := c.emitter(connection.Client).Of(c.Namespace).WithContext(ctx)
	if c.Room != "" {
		e = e.To(socket.Room(c.Room))
	}
	for _, room := range c.Except {
		e = e.Except(socket.Room(room))
	}
	if c.Volatile {
		e = e.Volatile()
	}
	switch err := e.Emit(c.Event, args...); {
	case errors.Is(err, adapter.ErrReservedEvent):
		return usageError{err}
	case err != nil:
		return fmt.Errorf("emit: %w", err)
	}
	return nil
}

func (c *emit) emitter(client goredis.UniversalClient) *adapter.Emitter {
	if c.Adapter == "classic" {
		return adapter.NewEmitter(client, adapter.EmitterOptions{Key: c.AdapterKey})
	}
	modes := map[string]adapter.SubscriptionMode{
		"sharded": adapter.Dynamic, "sharded-static": adapter.Static, "sharded-dynamic-private": adapter.DynamicPrivate,
	}
	return adapter.NewShardedEmitter(client,
		adapter.ShardedEmitterOptions{ChannelPrefix: c.AdapterKey, SubscriptionMode: modes[c.Adapter]})
}
