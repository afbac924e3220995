package demo

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/internal/defaults"
	"github.com/architus/guildcast/internal/service"
)

// GeneratorConfig tunes a Generator; the zero value works.
type GeneratorConfig struct {
	// Interval is the mean time between two events; default 300 ms. Single ones vary from a quarter of it to seven
	// quarters.
	Interval time.Duration
	// TopicPrefix stands before the names of the topics; default "".
	TopicPrefix string
	Sharded     bool         // publish on sharded channels
	Logger      *slog.Logger // nil discards
}

// Generator keeps the demo guilds busy.
type Generator struct {
	world  *World
	client redis.UniversalClient
	events *history.Publisher
	cfg    GeneratorConfig
	log    *slog.Logger
	life   service.Life
}

// NewGenerator returns a Generator that writes to client and publishes on it.
func NewGenerator(w *World, client redis.UniversalClient, cfg GeneratorConfig) *Generator {
	cfg.Interval = defaults.Positive(cfg.Interval, 300*time.Millisecond)
	events := history.NewPublisher(client, history.PublisherOptions{
		TopicPrefix: cfg.TopicPrefix, Sharded: cfg.Sharded, MaxEntries: historyEntries,
	})
	return &Generator{
		world: w, client: client, events: events, cfg: cfg, log: cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler)),
	}
}

// historyEntries is how many events of each guild can be replayed: as many as the page's log holds, and as a node
// replays. With fewer, a page that was away for minutes, or fell behind in a burst, would have a gap.
const historyEntries = 10_000

// openingSteps are published at once after the cache was seeded, so that a view of the log opens full.
const openingSteps = 60

// Run seeds the cache and then publishes one event after the other, durably, until ctx is done; then it returns nil.
// While Redis is away nothing is published; when it is back, the cache is seeded anew, since writes were lost.
func (g *Generator) Run(ctx context.Context) error {
	if err := g.life.Begin(); err != nil {
		return fmt.Errorf("run demo: %w", err)
	}
	stream := g.world.Stream()
	timer := time.NewTimer(0)
	defer timer.Stop()
	seeded, warned := false, false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		err := g.once(ctx, stream, &seeded)
		switch {
		case err == nil:
			warned = false
		case ctx.Err() != nil:
			return nil
		case !warned: // once per outage
			warned = true
			g.log.Warn("demo events pause", "err", err)
		}
		timer.Reset(g.pause(stream))
	}
}

// once applies the next step, or if it is due seeds and applies the opening steps.
func (g *Generator) once(ctx context.Context, stream *Stream, seeded *bool) error {
	if !*seeded {
		if err := g.world.Seed(ctx, g.client); err != nil {
			return err
		}
		*seeded = true
		for range openingSteps {
			if err := g.step(ctx, stream, seeded); err != nil {
				return err
			}
		}
		return nil
	}
	return g.step(ctx, stream, seeded)
}

func (g *Generator) step(ctx context.Context, stream *Stream, seeded *bool) error {
	step, err := stream.Next(time.Now())
	if err != nil {
		return err
	}
	if err := step.Apply(ctx, g.client, g.events); err != nil {
		*seeded = false
		return err
	}
	return nil
}

func (g *Generator) pause(stream *Stream) time.Duration {
	return g.cfg.Interval/4 + time.Duration(stream.rng.Int64N(int64(g.cfg.Interval*3/2)+1))
}

// Apply writes the step's entities and then publishes its event, so that a client that hears of a change also finds it.
func (s Step) Apply(ctx context.Context, client redis.UniversalClient, events *history.Publisher) error {
	if len(s.Changes)+len(s.Presence) > 0 {
		pipe := client.Pipeline()
		for _, c := range s.Changes {
			if c.Value == nil {
				pipe.HDel(ctx, c.Key, c.ID)
			} else {
				pipe.HSet(ctx, c.Key, c.ID, c.Value)
			}
		}
		for _, p := range s.Presence {
			if p.Online {
				pipe.SAdd(ctx, p.Key, p.UserID)
			} else {
				pipe.SRem(ctx, p.Key, p.UserID)
			}
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return err
		}
	}
	for _, m := range s.Messages {
		topic, _ := event.ParseChannel("", m.Topic)
		if _, err := events.Publish(ctx, topic, m.Payload); err != nil {
			return err
		}
	}
	return nil
}
