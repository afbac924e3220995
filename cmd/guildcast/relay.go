package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	goredis "github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/internal/redisurl"
	"github.com/architus/guildcast/relay"
)

// relayCommand is the command that publishes durably what others publish plainly.
type relayCommand struct {
	Redis       string        `default:"redis://127.0.0.1:6379" placeholder:"URL" help:"Redis of the cluster."`
	FromPrefix  string        `placeholder:"TEXT" help:"What stands before the guild's id in the channels that are listened to."`
	ToPrefix    string        `placeholder:"TEXT" help:"The same in the topics that are published to: the --topic-prefix of the nodes."`
	Topics      string        `enum:"plain,sharded" default:"plain" placeholder:"MODE" help:"Kind of the topics that are published to, which the nodes hear: plain or, on Redis 7, sharded."`
	MaxEntries  int           `default:"1000" placeholder:"N" help:"Entries that a guild's history keeps at most."`
	MaxAge      time.Duration `default:"1h" placeholder:"DURATION" help:"How long a guild's history keeps an entry."`
	Lease       time.Duration `default:"3s" placeholder:"DURATION" help:"How long the other relays wait for the one that leads before one of them takes over."`
	MetricsAddr string        `placeholder:"HOST:PORT" help:"Address of /metrics, /healthz and /readyz; none if left out."`

	logging
}

// Run relays until ctx ends.
func (c *relayCommand) Run(ctx context.Context, t terminal) error {
	switch {
	case c.MaxEntries < 1:
		return usagef("--max-entries must be at least 1")
	case c.MaxAge < time.Millisecond:
		return usagef("--max-age must be at least 1ms")
	case c.Lease < 100*time.Millisecond:
		return usagef("--lease must be at least 100ms")
	}
	log, _ := c.logger(t.err)
	goredis.SetLogger(redisLog{log})
	connection, err := redisurl.Connect(c.Redis)
	if err != nil {
		return usagef("--redis: %w", err)
	}
	defer connection.Close()
	b := bus.New(connection.Client, bus.Options{
		Logger: log, Name: "guildcast-relay", ProbePrefix: "guildcast:relay:probe:", OnMoved: connection.Renew,
	})
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
		defer cancel()
		_ = b.Close(ctx)
	}()
	r, err := relay.New(b, connection.Client, relay.Options{
		FromPrefix: c.FromPrefix, ToPrefix: c.ToPrefix, Sharded: c.Topics == "sharded",
		MaxEntries: c.MaxEntries, MaxAge: c.MaxAge, Lease: c.Lease,
		Logger: log,
	})
	if err != nil {
		return usageError{err}
	}
	for _, name := range t.unknown {
		log.Warn("environment variable is no option and ignored", "name", name)
	}
	log.Info("relay starts", "redis", connection.Target, "from_prefix", c.FromPrefix, "to_prefix", c.ToPrefix)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.Run(ctx) })
	if c.MetricsAddr != "" {
		g.Go(func() error { return serveRelay(ctx, c.MetricsAddr, r) })
	}
	return g.Wait()
}

// serveRelay serves a relay's metrics and probes until ctx ends.
func serveRelay(ctx context.Context, addr string, r *relay.Relay) error {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	server := &http.Server{Handler: relayHandler(r), ReadHeaderTimeout: commandTimeout}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

func relayHandler(r *relay.Relay) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(relayMetrics{r})
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !r.Stats().Ready {
			http.Error(w, "not sure of what is published", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	return mux
}

// relayMetrics is a collector over a relay's own counters.
type relayMetrics struct{ relay *relay.Relay }

// Describe implements prometheus.Collector; it is an unchecked one, whose metrics are those of Collect.
func (m relayMetrics) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (m relayMetrics) Collect(ch chan<- prometheus.Metric) {
	s := m.relay.Stats()
	emit := func(name, help string, kind prometheus.ValueType, value float64) {
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc("guildcast_relay_"+name, help, nil, nil), kind, value)
	}
	gauge := func(name, help string, value float64) { emit(name, help, prometheus.GaugeValue, value) }
	count := func(name, help string, value uint64) { emit(name, help, prometheus.CounterValue, float64(value)) }
	gauge("leading", "Whether this relay publishes.", one(s.Leading))
	gauge("ready", "Whether this relay publishes, or could take over without a resync.", one(s.Ready))
	gauge("pending", "Events that are not published yet, as far as is known.", float64(s.Pending))
	gauge("pending_bytes", "Bytes of these.", float64(s.PendingBytes))
	gauge("waiting_seconds", "How long the oldest of these has waited.", s.Waiting.Seconds())
	count("heard_total", "Events heard.", s.Heard)
	count("malformed_total", "Messages on the channels of guilds that are no events, and were dropped.", s.Malformed)
	count("published_total", "Events that this relay published.", s.Published)
	count("markers_total", "Markers that this relay published: resyncs of a guild.", s.Markers)
	count("overflowed_total", "Events dropped since too much was pending.", s.Overflowed)
	count("refused_total", "Times that Redis did not take the events of a guild.", s.Refused)
	count("takeovers_total", "Times that this relay began to publish.", s.Takeovers)
}

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
