// Package traces makes a trace of a guild event on its way from its publisher to the sockets, and exports it by OTLP.
package traces

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
)

const (
	// ratio is the share of events that are traced, unless the publisher has decided or OTEL_TRACES_SAMPLER says else.
	ratio = 0.01
	// maxWriting bounds the traces whose sockets are still being written to; more end when the event is queued.
	maxWriting = 64
	// writeTimeout is how long a trace waits for its sockets.
	writeTimeout = 5 * time.Second
)

// Names of the spans, each the parent of the next.
const (
	spanPublish = "publish"
	spanTopic   = "redis topic"
	spanFilter  = "filter"
	spanWrite   = "socket write"
)

// Options of a Tracer.
type Options struct {
	Logger  *slog.Logger // required
	Version string       // of the program; may be empty
	Always  bool         // every trace that begins here is sampled, unless OTEL_TRACES_SAMPLER says else
}

// Tracer makes spans. Its configuration is the OTEL variables of the environment. All methods may be called
// concurrently.
type Tracer struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
	exporter *exporter
	begins   sdk.Sampler // decides on traces that begin here; nil leaves all decisions to the SDK

	// Traces that wait for their sockets.
	slots   chan struct{}      // holds a value for each
	waiting context.Context    // ends with Shutdown
	stop    context.CancelFunc //
	mu      sync.Mutex         // is held to begin one, and to end
	ended   bool               // guarded by mu
	writing sync.WaitGroup
}

// New returns a Tracer, or what is wrong with a variable. It connects to nobody yet.
func New(o Options) (*Tracer, error) {
	e, err := newExporter(o.Logger)
	if err != nil {
		return nil, err
	}
	own := []attribute.KeyValue{attribute.String("service.name", "guildcast")}
	if o.Version != "" {
		own = append(own, attribute.String("service.version", o.Version))
	}
	// Later ones win.
	r, err := resource.New(context.Background(), resource.WithTelemetrySDK(), resource.WithAttributes(own...),
		resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	options := []sdk.TracerProviderOption{sdk.WithResource(r), sdk.WithBatcher(e), sdk.WithIDGenerator(ids{})}
	var begins sdk.Sampler
	if os.Getenv("OTEL_TRACES_SAMPLER") == "" {
		begins = sdk.TraceIDRatioBased(ratio)
		if o.Always {
			begins = sdk.AlwaysSample()
		}
		options = append(options, sdk.WithSampler(sdk.ParentBased(begins)))
	}
	t := &Tracer{
		provider: sdk.NewTracerProvider(options...), exporter: e, begins: begins,
		slots: make(chan struct{}, maxWriting),
	}
	t.tracer = t.provider.Tracer("github.com/architus/guildcast")
	t.waiting, t.stop = context.WithCancel(context.Background())
	return t, nil
}

// Shutdown exports what is left. Nothing may be traced afterwards.
func (t *Tracer) Shutdown(ctx context.Context) error {
	t.mu.Lock()
	t.ended = true
	t.mu.Unlock()
	t.stop()
	t.writing.Wait()
	return t.provider.Shutdown(ctx)
}

// Stats returns how many spans the collector has taken, and how many it has not.
func (t *Tracer) Stats() (exported, failed uint64) {
	return t.exporter.exported.Load(), t.exporter.failed.Load()
}

// Publish begins the span of an event that is published within the context that it returns. The caller ends the span.
func (t *Tracer) Publish(ctx context.Context, topic event.Topic) (context.Context, trace.Span) {
	return t.tracer.Start(ctx, spanPublish, trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(
		attribute.String("messaging.system", "redis"), attribute.String("guildcast.guild_id", topic.Guild),
		attribute.Bool("guildcast.logs", topic.Logs)))
}

// Parent returns the span of ctx as a message has it, or "" if there is none.
func Parent(ctx context.Context) string {
	span := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, span)
	return span["traceparent"]
}

// Delivery is an event that was queued for sockets.
type Delivery struct {
	Event    *event.Event
	Position history.Position // zero for a plain event

	Received time.Time // from Redis; zero if that is not known
	Taken    time.Time // when the filter began
	Filtered time.Time
	Queued   time.Time

	Sockets int // for which it was queued

	// Written waits until some of the sockets have been written to.
	Written func(context.Context)
}

// Deliver makes the spans of an event, if it is sampled: one trace, however many sockets get it.
func (t *Tracer) Deliver(d Delivery) {
	parent := context.Background()
	if len(d.Event.Traceparent) > 0 {
		parent = propagation.TraceContext{}.Extract(parent, carrier(d.Event.Traceparent))
	}
	if publisher := trace.SpanContextFromContext(parent); !publisher.IsValid() {
		id := d.trace()
		if !t.wants(parent, id) {
			return
		}
		parent = context.WithValue(parent, idKey{}, id)
	} else if t.begins != nil && !publisher.IsSampled() {
		return
	}
	topic := d.Event.Topic
	ctx, span := t.tracer.Start(parent, spanTopic,
		trace.WithSpanKind(trace.SpanKindConsumer), trace.WithTimestamp(d.began()))
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(
		attribute.String("messaging.system", "redis"), attribute.String("guildcast.guild_id", topic.Guild),
		attribute.Bool("guildcast.logs", topic.Logs), attribute.String("guildcast.kind", d.Event.Kind),
		attribute.Bool("guildcast.durable", !d.Position.IsZero()))
	span.End(trace.WithTimestamp(d.Taken))
	ctx, span = t.tracer.Start(ctx, spanFilter, trace.WithTimestamp(d.Taken))
	span.End(trace.WithTimestamp(d.Filtered))
	_, span = t.tracer.Start(ctx, spanWrite, trace.WithTimestamp(d.Filtered), trace.WithAttributes(
		attribute.Int("guildcast.sockets", d.Sockets),
		attribute.Int64("guildcast.queued_us", d.Queued.Sub(d.Filtered).Microseconds())))
	if !t.wait(span, d.Written) {
		span.End(trace.WithTimestamp(d.Queued))
	}
}

// wants reports whether a trace that would begin here may be sampled. The SDK would find the same, for many times the
// time.
func (t *Tracer) wants(parent context.Context, id trace.TraceID) bool {
	return t.begins == nil ||
		t.begins.ShouldSample(sdk.SamplingParameters{ParentContext: parent, TraceID: id}).Decision != sdk.Drop
}

// began returns when the event was published by the clock of Redis, or when it came from Redis, if that is known.
func (d *Delivery) began() time.Time {
	began := d.Taken
	if !d.Received.IsZero() {
		began = d.Received
	}
	if published := time.UnixMilli(int64(d.Position.Time)); !d.Position.IsZero() && published.Before(began) {
		began = published
	}
	return began
}

// wait has a span end once written returns. It returns false if too many wait.
func (t *Tracer) wait(span trace.Span, written func(context.Context)) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return false
	}
	select {
	case t.slots <- struct{}{}:
	default:
		return false
	}
	t.writing.Go(func() {
		defer func() { <-t.slots }()
		ctx, cancel := context.WithTimeout(t.waiting, writeTimeout)
		defer cancel()
		written(ctx)
		span.End()
	})
	return true
}

// carrier is the traceparent of a message.
type carrier []byte

// Get implements propagation.TextMapCarrier.
func (c carrier) Get(key string) string {
	if key != "traceparent" {
		return ""
	}
	return string(c)
}

// Set implements propagation.TextMapCarrier.
func (carrier) Set(string, string) {}

// Keys implements propagation.TextMapCarrier.
func (carrier) Keys() []string { return []string{"traceparent"} }

// trace returns the id of a trace that begins with the event. That of a durable event follows from its place in the
// history: all nodes find the same one, and decide alike whether it is sampled.
func (d *Delivery) trace() (id trace.TraceID) {
	if d.Position.IsZero() {
		fill(id[:])
		return id
	}
	place := append(make([]byte, 0, 64), d.Event.Topic.Guild...)
	place = append(place, 0)
	place = binary.BigEndian.AppendUint64(place, d.Position.Time)
	place = binary.BigEndian.AppendUint64(place, d.Position.Seq)
	sum := sha256.Sum256(place)
	copy(id[:], sum[:])
	return id
}

// idKey is of the id of a trace that is to begin, in the context of its first span.
type idKey struct{}

// ids makes the ids of spans, and of traces that are not in the context.
type ids struct{}

// NewIDs implements sdk.IDGenerator.
func (ids) NewIDs(ctx context.Context) (id trace.TraceID, span trace.SpanID) {
	fill(span[:])
	id, ok := ctx.Value(idKey{}).(trace.TraceID)
	if !ok {
		fill(id[:])
	}
	return id, span
}

// NewSpanID implements sdk.IDGenerator.
func (ids) NewSpanID(context.Context, trace.TraceID) (span trace.SpanID) {
	fill(span[:])
	return span
}

// fill fills an id, whose length is a multiple of 8, with what is not all zero.
func fill(id []byte) {
	for ; len(id) > 0; id = id[8:] {
		binary.BigEndian.PutUint64(id, max(1, rand.Uint64()))
	}
}
