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

// Handler answers one request. It calls reply once for each part of the answer, in order, on its own goroutine; more is
// true for all but the last. An error with a method Code() int is the answer: its stable word is what its method
// Word() string returns or, without one, its text. Any other error becomes code 500 "internal" and a log line. Parts that
// went out before an error are void. ctx ends at the request's deadline. Handlers run at the same time, and a request may
// be handled twice.
type Handler interface {
	Handle(ctx context.Context, method string, args []byte, reply func(result []byte, more bool) error) error
}

// Options of a Worker. The zero value answers interpret and pool:0.
type Options struct {
	// Services are what follows guildcast:requests: in the names of the streams: "interpret", "pool:0" and so on.
	// Default: interpret and pool:0.
	Services []string

	// Group is the consumer group. Each request goes to one worker of each group, so that all workers of a service are
	// in one. Default "workers".
	Group string

	// Name prefixes the consumer's name, which is unique for each Worker. Default the host's name.
	Name string

	// Concurrency bounds the requests handled at the same time, for each service. With more, the others wait in the
	// stream, where every worker can take them. Default 16.
	Concurrency int

	// ClaimAfter is how long a request that another worker has taken must show no sign of life before it is taken over.
	// Default 2 s. All workers of a group should have the same.
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

// Stats are counters since New; Handling is of now.
type Stats struct {
	Handling  int64  // requests that are being handled
	Answered  uint64 // with a result
	Refused   uint64 // with an error
	Expired   uint64 // skipped or ended because their deadline had passed
	Claimed   uint64 // taken over from another worker
	Malformed uint64 // dropped: nobody could be answered
	Failed    uint64 // answers that Redis did not take
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
	attempts                                                  atomic.Uint64             // that were begun
	lines                                                     throttle.Minutely[string] // by message or stream
}

// New makes a worker. Nothing happens before Run.
func New(client goredis.UniversalClient, h Handler, o Options) *Worker {
	o.setDefaults()
	return &Worker{client: client, handler: h, opts: o, name: o.Name + "-" + rand.Text()[:10]}
}

// Run answers requests until ctx ends. Then it takes no more, finishes those that it has (until their deadlines at
// most), leaves the groups, and returns nil. A Redis that is away is waited for. The client should have three
// connections for each service, and one for each request handled at the same time. It may be called once.
func (w *Worker) Run(ctx context.Context) error {
	if err := w.life.Begin(); err != nil {
		return fmt.Errorf("run worker: %w", err)
	}
	var wg sync.WaitGroup
	for _, name := range w.opts.Services {
		l := newLane(w, botwire.RequestStream(name))
		wg.Go(func() { l.run(ctx) })
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
