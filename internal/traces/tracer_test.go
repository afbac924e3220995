package traces

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lines is a log that can be read while it is written.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func newTracer(t *testing.T, log *lines) *Tracer {
	t.Helper()
	tracer, err := New(Options{Logger: slog.New(slog.NewTextHandler(log, nil)), Version: "v1"})
	if err != nil {
		t.Fatal(err)
	}
	return tracer
}

func end(t testing.TB, tracer *Tracer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := tracer.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// spans are those that the collector has, by name.
func (c *collector) spans() map[string][]*tracepb.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := map[string][]*tracepb.Span{}
	for _, r := range c.batches {
		for _, s := range r.ScopeSpans {
			for _, span := range s.Spans {
				all[span.Name] = append(all[span.Name], span)
			}
		}
	}
	return all
}

// TestSpan reads a span as the published protocol has it.
func TestSpan(t *testing.T) {
	c := newCollector(t)
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test,service.name=boards")
	t.Setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b, other = c")
	t.Setenv("OTEL_TRACES_SAMPLER", "always_on")
	tracer := newTracer(t, &lines{})
	outer, parent := tracer.tracer.Start(context.Background(), "outer")
	_, span := tracer.Publish(outer, event.Topic{Guild: "7", Logs: true})
	span.SetAttributes(attribute.Int64("number", -5), attribute.Float64("float", 1.5))
	span.SetStatus(codes.Error, "why")
	span.End()
	parent.End()
	end(t, tracer)

	c.mu.Lock()
	header := c.requests[0].Header
	resource := c.batches[0].Resource.String()
	scope := c.batches[0].ScopeSpans[0].Scope.Name
	c.mu.Unlock()
	if header.Get("api-key") != "a b" || header.Get("other") != "c" ||
		header.Get("Content-Type") != "application/x-protobuf" {
		t.Errorf("header %v", header)
	}
	for _, want := range []string{"boards", "deployment.environment", "service.version", "telemetry.sdk.name"} {
		if !strings.Contains(resource, want) {
			t.Errorf("resource without %s: %s", want, resource)
		}
	}
	if scope != "github.com/architus/guildcast" {
		t.Errorf("scope %q", scope)
	}
	all := c.spans()
	got, outside := all["publish"][0], all["outer"][0]
	id, trace := span.SpanContext().SpanID(), span.SpanContext().TraceID()
	if string(got.SpanId) != string(id[:]) || string(got.TraceId) != string(trace[:]) ||
		string(got.ParentSpanId) != string(outside.SpanId) || len(outside.ParentSpanId) != 0 {
		t.Errorf("ids of %v in %v", got, outside)
	}
	if got.Kind != tracepb.Span_SPAN_KIND_PRODUCER || got.Flags&1 == 0 ||
		got.Status.GetCode() != tracepb.Status_STATUS_CODE_ERROR || got.Status.GetMessage() != "why" {
		t.Errorf("got %v", got)
	}
	if got.StartTimeUnixNano == 0 || got.StartTimeUnixNano > got.EndTimeUnixNano {
		t.Errorf("from %d to %d", got.StartTimeUnixNano, got.EndTimeUnixNano)
	}
	values := map[string]string{}
	for _, kv := range got.Attributes {
		values[kv.Key] = strings.ReplaceAll(kv.Value.String(), "  ", " ")
	}
	for key, want := range map[string]string{
		"number": "int_value:-5", "float": `string_value:"1.5"`, "guildcast.logs": "bool_value:true",
		"guildcast.guild_id": `string_value:"7"`,
	} {
		if values[key] != want {
			t.Errorf("%s is %s, want %s", key, values[key], want)
		}
	}
}

// TestCollectorFails tries again what may be tried again, and counts what is lost.
func TestCollectorFails(t *testing.T) {
	for name, test := range map[string]struct {
		answers          []int
		exported, failed uint64
		says             string
	}{
		"for a moment": {[]int{503, 429, 502, 504}, 1, 0, ""},
		"refuses":      {[]int{400, 400, 400}, 0, 1, "400 Bad Request"},
		"redirects":    {[]int{307, 307}, 0, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCollector(t, test.answers...)
			t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60000")
			log := &lines{}
			tracer, err := New(Options{Logger: slog.New(slog.NewTextHandler(log, nil)), Always: true})
			if err != nil {
				t.Fatal(err)
			}
			_, span := tracer.Publish(context.Background(), event.Topic{Guild: "7"})
			span.End()
			end(t, tracer)
			if exported, failed := tracer.Stats(); exported != test.exported || failed != test.failed {
				t.Errorf("%d exported, %d failed", exported, failed)
			}
			if got := len(c.spans()["publish"]); got != int(test.exported) {
				t.Errorf("the collector has %d", got)
			}
			if text := log.text.String(); !strings.Contains(text, test.says) || (test.failed == 0) != (text == "") {
				t.Errorf("the log says %q", text)
			}
		})
	}
}

func TestWrongVariables(t *testing.T) {
	for name, value := range map[string]string{
		"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317",
		"OTEL_EXPORTER_OTLP_HEADERS": "no pair", "OTEL_EXPORTER_OTLP_TIMEOUT": "10s",
		"OTEL_EXPORTER_OTLP_COMPRESSION": "zstd", "OTEL_EXPORTER_OTLP_CERTIFICATE": "/nowhere",
		"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": "/nowhere",
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, value)
			if _, err := New(Options{Logger: slog.New(slog.DiscardHandler)}); err == nil ||
				!strings.Contains(err.Error(), name) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// deliver makes a trace of an event that one socket gets at once.
func deliver(tracer *Tracer, e *event.Event, p history.Position) {
	now := time.Now()
	tracer.Deliver(Delivery{
		Event: e, Position: p, Received: now, Taken: now, Filtered: now, Queued: now, Sockets: 1,
		Written: func(context.Context) {},
	})
}

// TestOneTrace finds that nodes make one trace of a durable event, whoever has published it.
func TestOneTrace(t *testing.T) {
	c := newCollector(t)
	t.Setenv("OTEL_TRACES_SAMPLER", "always_on")
	e := &event.Event{Topic: event.Topic{Guild: "7"}}
	for range 2 {
		tracer := newTracer(t, &lines{})
		deliver(tracer, e, history.Position{Time: 5, Seq: 1})
		deliver(tracer, e, history.Position{Time: 5, Seq: 2})
		deliver(tracer, e, history.Position{})
		end(t, tracer)
	}
	traces := map[string]int{}
	for _, s := range c.spans()["redis topic"] {
		traces[string(s.TraceId)]++
	}
	counts := map[int]int{}
	for _, n := range traces {
		counts[n]++
	}
	if counts[2] != 2 || counts[1] != 2 || len(counts) != 2 {
		t.Errorf("spans of each trace: %v", counts)
	}
}

// TestSampling traces what its publisher has traced, and of the rest as much as is said.
func TestSampling(t *testing.T) {
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-"
	for _, test := range []struct {
		sampler, traceparent string
		least, most          int
	}{
		{"", parent + "01", 2000, 2000},
		{"", parent + "00", 0, 0},
		{"", "", 1, 200}, // one in a hundred; this comes once in a billion
		{"", "nonsense", 1, 200},
		{"always_off", "", 0, 0},
		{"always_on", "", 2000, 2000},
	} {
		t.Run(test.sampler+" "+test.traceparent, func(t *testing.T) {
			c := newCollector(t)
			t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "10000")
			t.Setenv("OTEL_TRACES_SAMPLER", test.sampler)
			tracer := newTracer(t, &lines{})
			e := &event.Event{Topic: event.Topic{Guild: "7"}, Traceparent: []byte(test.traceparent)}
			for range 2000 {
				deliver(tracer, e, history.Position{})
			}
			end(t, tracer)
			all := c.spans()
			if n := len(all["redis topic"]); n < test.least || n > test.most || len(all["socket write"]) != n {
				t.Errorf("%d spans, %d", n, len(all["socket write"]))
			}
		})
	}
}

// TestShutdownEndsWaiting ends spans whose sockets are never written to.
func TestShutdownEndsWaiting(t *testing.T) {
	c := newCollector(t)
	t.Setenv("OTEL_TRACES_SAMPLER", "always_on")
	tracer := newTracer(t, &lines{})
	now := time.Now()
	for range maxWriting + 10 {
		tracer.Deliver(Delivery{
			Event: &event.Event{}, Received: now, Taken: now, Filtered: now, Queued: now,
			Written: func(ctx context.Context) { <-ctx.Done() },
		})
	}
	end(t, tracer)
	if n := len(c.spans()["socket write"]); n != maxWriting+10 {
		t.Errorf("%d spans", n)
	}
}

// TestFanOut traces events that many goroutines queue while another ends the tracer: every span of a trace is there,
// once, however many sockets an event has and whenever they are written to.
func TestFanOut(t *testing.T) {
	const goroutines, events = 16, 50
	c := newCollector(t)
	t.Setenv("OTEL_TRACES_SAMPLER", "always_on")
	t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "10000")
	tracer := newTracer(t, &lines{})
	written := make(chan struct{}) // closed half-way
	var half, all sync.WaitGroup
	half.Add(goroutines)
	for i := range goroutines {
		all.Go(func() {
			e := &event.Event{Topic: event.Topic{Guild: "7"}, Kind: "message"}
			for j := range events {
				now := time.Now()
				tracer.Deliver(Delivery{
					Event: e, Position: history.Position{Time: uint64(i + 1), Seq: uint64(j)}, Sockets: i * j,
					Received: now, Taken: now, Filtered: now, Queued: now,
					Written: func(ctx context.Context) {
						select {
						case <-written:
						case <-ctx.Done():
						}
					},
				})
				if j == events/2 {
					half.Done()
				}
			}
		})
	}
	half.Wait()
	close(written)
	all.Wait()
	end(t, tracer)
	parents := map[string]string{} // ids of spans that are to be parents, and their traces
	for _, name := range []string{"redis topic", "filter", "socket write"} {
		spans := c.spans()[name]
		if len(spans) != goroutines*events {
			t.Errorf("%d spans %q, want %d", len(spans), name, goroutines*events)
		}
		ids := map[string]string{}
		for _, s := range spans {
			if name != "redis topic" && parents[string(s.ParentSpanId)] != string(s.TraceId) {
				t.Fatalf("the parent of a %s is missing, or in another trace", name)
			}
			ids[string(s.SpanId)] = string(s.TraceId)
		}
		parents = ids
	}
	traces := map[string]bool{}
	for _, trace := range parents {
		traces[trace] = true
	}
	if len(traces) != goroutines*events {
		t.Errorf("%d traces, want %d", len(traces), goroutines*events)
	}
}
