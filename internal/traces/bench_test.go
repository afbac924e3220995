package traces

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
)

// What a trace takes of one guild event, of which all, one in a hundred or none are sampled.
func BenchmarkDeliver(b *testing.B) {
	for _, sampler := range []string{"always_on", "", "always_off"} {
		for name, e := range map[string]*event.Event{
			"new":     {Topic: event.Topic{Guild: "7"}, Kind: "message"},
			"decided": {Topic: event.Topic{Guild: "7"}, Traceparent: []byte(unsampledParent)},
		} {
			b.Run("sampler "+sampler+"/"+name, func(b *testing.B) {
				newCollector(b)
				b.Setenv("OTEL_TRACES_SAMPLER", sampler)
				tracer, err := New(Options{Logger: slog.New(slog.DiscardHandler)})
				if err != nil {
					b.Fatal(err)
				}
				defer end(b, tracer)
				now := time.Now()
				b.ReportAllocs()
				i := uint64(0)
				for b.Loop() {
					i++
					tracer.Deliver(Delivery{
						Event: e, Position: history.Position{Time: i}, Sockets: 1, Written: func(context.Context) {},
						Received: now, Taken: now, Filtered: now, Queued: now,
					})
				}
			})
		}
	}
}

// unsampledParent is of a publisher that has decided against a trace.
const unsampledParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
