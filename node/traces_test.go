package node_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/internal/test/redistest"
	"github.com/architus/guildcast/internal/traces"
	"github.com/architus/guildcast/node"
)

// TestTraces follows an event from its publisher to two sockets: one trace, and none of what the publisher did not
// trace.
func TestTraces(t *testing.T) {
	var mu sync.Mutex
	var spans []*tracepb.Span
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		var batch tracepb.TracesData // which is an ExportTraceServiceRequest on the wire
		if err == nil {
			err = proto.Unmarshal(data, &batch)
		}
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, resource := range batch.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				spans = append(spans, scope.Spans...)
			}
		}
	}))
	defer collector.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	tracer, err := traces.New(traces.Options{Logger: slog.New(slog.DiscardHandler), Always: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off") // of the node

	server := redistest.Start(t)
	r := run(t, node.Config{Redis: server.URL(), Traces: true})
	r.waitReady(t, http.StatusOK)
	token := mint(t, jwt.SigningMethodHS256, []byte(secret), 0)
	b1, b2 := r.connect(t, token), r.connect(t, token)
	publisher := history.NewPublisher(server.Client(), history.PublisherOptions{})
	topic := event.Topic{Guild: guild}
	publish := func(ctx context.Context) {
		t.Helper()
		if _, err := publisher.Publish(ctx, topic, []byte(`{"kind":"guild","payload":{}}`)); err != nil {
			t.Fatal(err)
		}
	}
	b1.Expect("request_elevation_return")
	b2.Expect("request_elevation_return")
	b1.Emit("spectate", map[string]any{"guild_id": guild, "token": token})
	b2.Emit("spectate", map[string]any{"guild_id": guild, "token": token})
	b1.Expect("spectate_return")
	b2.Expect("spectate_return")
	publish(t.Context()) // without a trace
	traced, first := tracer.Publish(t.Context(), topic)
	publish(traced)
	first.End()
	for range 2 {
		if got := string(b1.Expect("log_pool").Arg()) + string(b2.Expect("log_pool").Arg()); got != "{}{}" {
			t.Errorf("clients get %s", got)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := tracer.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if err := r.stop(); err != nil { // exports the rest
		t.Error(err)
	}

	mu.Lock()
	defer mu.Unlock()
	byName := map[string]*tracepb.Span{}
	for _, s := range spans {
		byName[s.Name] = s
	}
	var parent *tracepb.Span
	for _, name := range []string{"publish", "redis topic", "filter", "socket write"} {
		s := byName[name]
		if s == nil || len(spans) != 4 {
			t.Fatalf("the collector has %v", spans)
		}
		if parent != nil && (string(s.ParentSpanId) != string(parent.SpanId) ||
			string(s.TraceId) != string(parent.TraceId)) {
			t.Errorf("%v is no child of %v", s, parent)
		}
		if s.StartTimeUnixNano == 0 || s.StartTimeUnixNano > s.EndTimeUnixNano {
			t.Errorf("%s is from %d to %d", name, s.StartTimeUnixNano, s.EndTimeUnixNano)
		}
		parent = s
	}
	for _, kv := range parent.Attributes {
		if kv.Key == "guildcast.sockets" && kv.Value.GetIntValue() != 2 {
			t.Errorf("%s is %v", kv.Key, kv.Value)
		}
	}
}

func TestTracesOfAWrongCollector(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	if _, err := node.New(node.Config{Traces: true}); err == nil {
		t.Error("a protocol that is not spoken is no error")
	}
}
