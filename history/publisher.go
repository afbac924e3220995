package history

import (
	"context"
	"errors"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/propagation"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/internal/botwire"
	"github.com/architus/guildcast/internal/defaults"
)

// PublisherOptions configure a Publisher. The zero value works.
type PublisherOptions struct {
	// TopicPrefix precedes the guild's id in the names of channels. Default "".
	TopicPrefix string

	// MaxEntries bounds the entries that a guild's history keeps. Default 1,000.
	MaxEntries int

	// MaxAge bounds how long an entry is kept. Default 1 hour. The newest entry is kept a day longer.
	MaxAge time.Duration

	// Sharded makes events go to sharded channels, for nodes that subscribe to those. It requires Redis 7.
	Sharded bool
}

// Publisher publishes events durably. All methods may be called concurrently.
type Publisher struct {
	client goredis.UniversalClient
	opts   PublisherOptions
}

// NewPublisher returns a publisher that uses client. The caller closes client.
func NewPublisher(client goredis.UniversalClient, o PublisherOptions) *Publisher {
	o.MaxEntries = defaults.Positive(o.MaxEntries, DefaultMaxEntries)
	o.MaxAge = defaults.Positive(o.MaxAge, DefaultMaxAge)
	return &Publisher{client: client, opts: o}
}

// Publish publishes a message on a topic. It returns the event's position once Redis has kept and published it. The
// error is an *event.ParseError if nodes would drop the message, ErrUnreadable if Redis refuses it, and ErrUnavailable
// if Redis could not be asked or its answer was lost. In the last case the event may have been published. Publish never
// retries, because the event could come twice. If ctx has a span of OpenTelemetry, the message gets a `traceparent`,
// and the traces of nodes continue that one; a log action, which is its own payload, stays as it is.
func (p *Publisher) Publish(ctx context.Context, topic event.Topic, message []byte) (Position, error) {
	if !event.ValidID(topic.Guild) {
		return Position{}, errors.New("publish durably: the guild's id is not 1 to 20 digits")
	}
	e, err := event.Parse(topic, message)
	if err != nil {
		return Position{}, fmt.Errorf("publish durably: %w", err)
	}
	span := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, span)
	if parent := span["traceparent"]; parent != "" {
		message = e.WithTraceparent(message, parent)
	}
	channel := topic.Channel(p.opts.TopicPrefix)
	if p.opts.Sharded {
		channel = topic.ShardedChannel(p.opts.TopicPrefix)
	}
	id, err := publish.once(ctx, p.client, botwire.HistoryKey(topic.Guild),
		channel, message, p.opts.MaxEntries, p.opts.MaxAge.Milliseconds()).Text()
	if err != nil {
		return Position{}, because("publish durably", err)
	}
	return ParsePosition(id)
}
