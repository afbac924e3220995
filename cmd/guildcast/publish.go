package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/codes"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/internal/redisurl"
	"github.com/architus/guildcast/internal/traces"
	"github.com/architus/guildcast/permissions"
)

// commandTimeout bounds how long a command waits for Redis.
const commandTimeout = 10 * time.Second

// publish is the command that publishes one event of a guild.
type publish struct {
	Redis       string   `default:"redis://127.0.0.1:6379" placeholder:"URL" help:"Redis of the cluster."`
	TopicPrefix string   `placeholder:"TEXT" help:"What stands before the names of the channels of guild events."`
	Topics      string   `enum:"plain,sharded" default:"plain" placeholder:"MODE" help:"Kind of the channels of guild events that the nodes hear: plain or, on Redis 7, sharded."`
	Logs        bool     `help:"Publish to the guild's log topic."`
	Event       string   `placeholder:"NAME" help:"Name of the event; log_pool, or log_other with --logs, if left out."`
	Kind        string   `placeholder:"KIND" help:"Kind that the policy goes by, such as member, message or setting; an event without reaches nobody."`
	Private     bool     `help:"Only for those who see private logs."`
	Requires    []string `placeholder:"PERMISSION" help:"Permissions that it takes to see the event, with commas between them."`

	Durable     bool          `help:"Keep the event in the history of its guild, so that nobody misses it, and print its position."`
	MaxEntries  int           `default:"1000" placeholder:"N" help:"With --durable, entries that the guild's history keeps at most."`
	MaxAge      time.Duration `default:"1h" placeholder:"DURATION" help:"With --durable, how long the guild's history keeps an entry."`
	Traces      bool          `help:"Begin a trace, which nodes continue, and export it by OTLP, as the OTEL_... variables say."`
	PrintScript bool          `help:"Print the Lua script that publishes durably, for programs of your own, and end."`

	GuildID string `arg:"" optional:"" name:"guild" help:"Guild id."`
	Payload string `arg:"" optional:"" help:"Payload as JSON, a log action as JSON, or - to read it from standard input."`
}

// Run publishes and prints how many nodes heard or, of a durable event, its position.
func (c *publish) Run(ctx context.Context, t terminal) error {
	if c.PrintScript {
		_, err := io.WriteString(t.out, history.Script)
		return err
	}
	topic := event.Topic{Guild: c.GuildID, Logs: c.Logs}
	switch {
	case c.GuildID == "" || c.Payload == "":
		return usagef("publish takes a guild id and a payload")
	case !event.ValidID(c.GuildID):
		return usagef("%q is not a guild id", c.GuildID)
	case c.MaxEntries < 1:
		return usagef("--max-entries must be at least 1")
	case c.MaxAge < time.Millisecond:
		return usagef("--max-age must be at least 1ms")
	}
	for _, name := range c.Requires {
		if _, ok := permissions.BitNamed(name); !ok { // nobody would get the event
			return usagef("there is no permission %q", name)
		}
	}
	payload := []byte(c.Payload)
	if c.Payload == "-" {
		var err error
		if payload, err = io.ReadAll(io.LimitReader(t.in, event.MaxBytes+1)); err != nil {
			return fmt.Errorf("read the payload: %w", err)
		}
	}
	message, err := c.message(payload)
	if err != nil {
		return err
	}
	if _, err := event.Parse(topic, message); err != nil {
		return usageError{err}
	}
	connection, err := redisurl.Connect(c.Redis)
	if err != nil {
		return usagef("--redis: %w", err)
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	send := c.plainly
	if c.Durable {
		send = c.durably
	}
	if c.Traces {
		return traced(ctx, t, connection.Client, topic, message, send)
	}
	return send(ctx, t, connection.Client, topic, message)
}

// plainly publishes the message, and prints how many connections heard it.
func (c *publish) plainly(
	ctx context.Context, t terminal, client goredis.UniversalClient, topic event.Topic, message []byte,
) error {
	if e, err := event.Parse(topic, message); err == nil {
		if parent := traces.Parent(ctx); parent != "" {
			message = e.WithTraceparent(message, parent)
		}
	}
	channel, publish := topic.Channel(c.TopicPrefix), client.Publish
	if c.Topics == "sharded" {
		channel, publish = topic.ShardedChannel(c.TopicPrefix), client.SPublish
	}
	heard, err := publish(ctx, channel, message).Result()
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	_, err = fmt.Fprintf(t.out, "%d subscribed\n", heard)
	return err
}

func (c *publish) durably(ctx context.Context, t terminal, client goredis.UniversalClient, topic event.Topic,
	message []byte,
) error {
	p := history.NewPublisher(client, history.PublisherOptions{
		TopicPrefix: c.TopicPrefix, MaxEntries: c.MaxEntries, MaxAge: c.MaxAge,
		Sharded: c.Topics == "sharded",
	})
	position, err := p.Publish(ctx, topic, message)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(t.out, position)
	return err
}

// traced has send publish within the first span of a trace.
func traced(
	ctx context.Context, t terminal, client goredis.UniversalClient, topic event.Topic, message []byte,
	send func(context.Context, terminal, goredis.UniversalClient, event.Topic, []byte) error,
) error {
	tracer, err := traces.New(traces.Options{
		Logger: slog.New(slog.NewTextHandler(t.err, nil)), Version: release, Always: true,
	})
	if err != nil {
		return usagef("--traces: %w", err)
	}
	publishing, span := tracer.Publish(ctx, topic)
	err = send(publishing, t, client, topic, message)
	if err != nil {
		span.SetStatus(codes.Error, "not published")
	}
	span.End()
	return errors.Join(err, tracer.Shutdown(ctx))
}

// message is the envelope around a payload; a log action is its own message.
func (c *publish) message(payload []byte) ([]byte, error) {
	var action struct {
		Number json.RawMessage `json:"action_number"`
	}
	if !json.Valid(payload) {
		return nil, usagef("the payload is not JSON")
	}
	options := c.Event != "" || c.Kind != "" || c.Private || len(c.Requires) > 0
	if json.Unmarshal(payload, &action) == nil && action.Number != nil && !options {
		return payload, nil
	}
	envelope := map[string]any{"private": c.Private}
	if c.Event != "" {
		envelope["event"] = c.Event
	}
	if c.Kind != "" {
		envelope["kind"] = c.Kind
	}
	if len(c.Requires) > 0 {
		envelope["requires"] = c.Requires
	}
	message, err := json.Marshal(envelope)
	if err != nil {
		return nil, fmt.Errorf("encode the event: %w", err)
	}
	// The payload travels byte for byte, which json.Marshal would not let it.
	message = append(message[:len(message)-1], `,"payload":`...)
	return append(append(message, payload...), '}'), nil
}
