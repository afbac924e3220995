// Package worker answers the requests that gateway nodes put into Redis streams: the Go runtime for a bot's backend.
// docs/reference/workers.md describes the protocol.
package worker

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/internal/botwire"
	"github.com/architus/guildcast/internal/defaults"
	"github.com/architus/guildcast/internal/service"
	"github.com/architus/guildcast/internal/throttle"
)

// Handler answers one request. Handle may be called concurrently, and twice for the same request. It calls reply once
// for each part of the answer, in order, on its own goroutine; more is true for all but the last. ctx ends at the
// request's deadline.
//
// An error that has a method Code() int is sent as the answer. Its stable word is what its method Word() string returns
// or, if it has none, its text. Any other error is sent as code 500 "internal", and logged. An error voids the parts
// sent before it.
type Handler interface {
	Handle(ctx context.Context, method string, args []byte, reply func(result []byte, more bool) error) error
}

// Options of a Worker. The zero value answers interpret and pool:0.
type Options struct {
	// Services name the streams, after their prefix guildcast:requests: ("interpret", "pool:0" and so on). Default:
	// interpret and pool:0.
	Services []string

	// Group is the consumer group. Each request goes to one worker of each group, so all workers of a service belong in
	// the same. Default "workers".
	Group string

	// Name prefixes the consumer's name, which is unique to each Worker. Default: the host's name.
	Name string

	// Concurrency bounds the requests handled at the same time, for each service. Further requests wait in the stream,
	// for any worker to take. Default 16.
	Concurrency int

	// ClaimAfter is how long a request must be idle before this worker takes it over from another. All workers of a
	// group should agree on it. Default 2 s.
	ClaimAfter time.Duration

	// Logger receives what an operator must know; nil discards.
	Logger *slog.Logger
}

func (o *Options) setDefaults() {
	if len(o.Services) == 0 {
		o.Services = []string{botwire.ServiceInterpret, botwire.ServicePool(0)}
	}
	o.Group = cmp.Or(o.Group, "workers")
	if o.Name == "" {
		host, _ := os.Hostname()
		o.Name = cmp.Or(host, "worker")
	}
	o.Concurrency = defaults.Positive(o.Concurrency, 16)
	o.ClaimAfter = defaults.Positive(o.ClaimAfter, 2*time.Second)
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
}

// Stats are counters since New, except Handling, which is current.
type Stats struct {
	Handling  int64  // requests that are being handled
	Answered  uint64 // with a result
	Refused   uint64 // with an error
	Expired   uint64 // skipped or ended because their deadline had passed
	Claimed   uint64 // taken over from another worker
	Malformed uint64 // dropped: nobody could be answered
	Failed    uint64 // answers that could not be published
}

// Worker answers requests. All methods may be called concurrently.
type Worker struct {
	// Static after construction.
	client  goredis.UniversalClient
	handler Handler
	opts    Options
	name    string
	life    service.Life

	handling                                                  atomic.Int64
	answered, refused, expired, claimed, malformed, unsettled atomic.Uint64
	attempts                                                  atomic.Uint64             // begun
	lines                                                     throttle.Minutely[string] // by message or stream
}

// New returns a worker. It takes no request before Run.
func New(client goredis.UniversalClient, h Handler, o Options) *Worker {
	o.setDefaults()
	return &Worker{client: client, handler: h, opts: o, name: o.Name + "-" + rand.Text()[:10]}
}

// Run answers requests until ctx ends. Then it takes no more, finishes those that it has (until their deadlines at
// most), leaves the groups, and returns nil. While Redis is away it waits. The client should have three connections for
// each service, and one for each request handled at the same time. Run may be called once.
func (w *Worker) Run(ctx context.Context) error {
	if err := w.life.Begin(); err != nil {
		return fmt.Errorf("run worker: %w", err)
	}
	var wg sync.WaitGroup
	for _, name := range w.opts.Services {
		c := newConsumer(w, botwire.RequestStream(name))
		wg.Go(func() { c.run(ctx) })
	}
	wg.Wait()
	return nil
}

// Stats returns the counters.
func (w *Worker) Stats() Stats {
	return Stats{
		Handling: w.handling.Load(), Answered: w.answered.Load(), Refused: w.refused.Load(), Expired: w.expired.Load(),
		Claimed: w.claimed.Load(), Malformed: w.malformed.Load(), Failed: w.unsettled.Load(),
	}
}
