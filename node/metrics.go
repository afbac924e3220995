package node

import (
	"fmt"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/architus/guildcast/adapter"
	"github.com/architus/guildcast/redis"
)

// stats is a collector over counters that the parts keep themselves: read calls it with each, whenever the metrics are
// asked for.
type stats struct {
	read func(emit emitFunc)
}

// emitFunc takes one number: a name without its prefix, what it says, whether it only grows, and label values.
type emitFunc func(name, help string, counter bool, value float64, labels ...label)

type label struct{ name, value string }

// Describe implements prometheus.Collector. It says nothing, which makes the collector an unchecked one: what it
// collects is fixed by the code below, and a registry that asked for it now would ask Redis's client before it is used.
func (s stats) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (s stats) Collect(ch chan<- prometheus.Metric) {
	s.read(func(name, help string, counter bool, value float64, labels ...label) {
		kind := prometheus.GaugeValue
		if counter {
			kind = prometheus.CounterValue
		}
		names, values := make([]string, len(labels)), make([]string, len(labels))
		for i, l := range labels {
			names[i], values[i] = l.name, l.value
		}
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc("guildcast_"+name, help, names, nil), kind, value,
			values...)
	})
}

// registerStats registers what the parts count beside what the gateway registers itself.
func (n *Node) registerStats(adapterStats func() adapter.Stats) error {
	for _, c := range []prometheus.Collector{
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		stats{func(emit emitFunc) {
			ready := 1.0
			if n.unready() != "" {
				ready = 0
			}
			emit("build_info", "1; the labels say what the program was built from.", false, 1,
				label{"version", n.config.Version}, label{"revision", n.config.Revision},
				label{"go_version", runtime.Version()})
			emit("ready", "Whether /readyz answers 200.", false, ready)
			emit("accept_failures_total",
				"New connections that the system did not let the node accept, as without file "+
					"descriptors.", true, float64(n.acceptFailures.Load()))
			emit("proxy_headers_refused_total", "Connections of trusted proxies without a PROXY header.", true,
				float64(n.proxyHeadersRefused.Load()))
			emit("reloads_total", "Reloads of the configuration.", true, float64(n.reloads.ok.Load()),
				label{"outcome", "ok"})
			emit("reloads_total", "Reloads of the configuration.", true, float64(n.reloads.failed.Load()),
				label{"outcome", "failed"})
		}},
		stats{n.traceStats},
		stats{n.engineStats},
		stats{n.forwardStats},
		stats{n.busStats},
		stats{func(emit emitFunc) { emitAdapterStats(adapterStats(), emit) }},
		stats{n.gatewayStats},
	} {
		if err := n.registry.Register(c); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	return nil
}

func (n *Node) traceStats(emit emitFunc) {
	if n.tracer == nil {
		return
	}
	exported, failed := n.tracer.Stats()
	const help = "Spans of traces, by whether the collector has taken them."
	emit("trace_spans_total", help, true, float64(exported), label{"outcome", "exported"})
	emit("trace_spans_total", help, true, float64(failed), label{"outcome", "failed"})
}

func (n *Node) engineStats(emit emitFunc) {
	s := n.engine.Stats()
	emit("connections", "Engine.IO sessions.", false, float64(s.Polling), label{"transport", "polling"})
	emit("connections", "Engine.IO sessions.", false, float64(s.WebSocket), label{"transport", "websocket"})
	emit("upgrades_total", "Sessions that went from polling to WebSocket.", true, float64(s.Upgrades))
	emit("slow_consumers_total", "Clients disconnected because they did not read.", true, float64(s.SlowConsumers))
	emit("inbound_floods_total", "Clients disconnected because they sent more than was taken.", true, float64(s.Floods))
	emit("send_queue_bytes", "What waits to be sent to clients; each counts in steps of 64 KiB.", false,
		float64(s.QueuedBytes))
}

func (n *Node) busStats(emit emitFunc) {
	s := n.bus.Stats()
	emit("redis_received_total", "Pub/sub messages received from Redis and queued for a part of the node.", true,
		float64(s.Received))
	emit("redis_received_skipped_total", "Pub/sub messages that no part of the node wanted.", true,
		float64(s.ReceiveSkipped))
	emit("redis_received_dropped_total", "Pub/sub messages lost because the node was too slow, or too large.", true,
		float64(s.ReceiveDropped))
	emit("redis_published_total", "Pub/sub messages that Redis accepted.", true, float64(s.Published))
	emit("redis_publish_dropped_total", "Pub/sub messages dropped because Redis took too little.", true,
		float64(s.PublishDropped))
	emit("redis_publish_unknown_total", "Pub/sub messages whose connection broke before Redis answered.", true,
		float64(s.PublishUnknown))
	emit("redis_publish_queue_bytes", "Pub/sub messages that wait for Redis.", false, float64(s.QueuedBytes))
	emit("redis_connects_total", "Receiving connections opened.", true, float64(s.Connects))
	emit("redis_losses_total", "Receiving connections lost.", true, float64(s.Losses))
	emit("redis_subscriptions", "Channels and patterns that the node wants.", false, float64(s.Subscriptions))
	emit("redis_subscriptions_unconfirmed", "Of those, not confirmed by Redis.", false, float64(s.UnconfirmedSubs))
}

func emitAdapterStats(s adapter.Stats, emit emitFunc) {
	emit("adapter_broadcasts_total", "Broadcasts from the cluster handed to local sockets.", true,
		float64(s.Broadcasts))
	emit("adapter_filtered_total", "Broadcasts from the cluster for rooms without a member here.", true,
		float64(s.Filtered))
	emit("adapter_own_total", "Broadcasts of this node that came back from Redis.", true, float64(s.Own))
	emit("adapter_requests_total", "Requests of other servers that were served.", true, float64(s.Requests))
	emit("adapter_responses_total", "Answers of other servers that came in time.", true, float64(s.Responses))
	emit("adapter_incomplete_total", "Requests of this node that ended without all answers.", true,
		float64(s.Incomplete))
	emit("adapter_unsent_total", "Messages that could not be encoded or queued.", true, float64(s.Unsent))
	for reason, count := range s.Dropped {
		emit("adapter_dropped_total", "Messages from the cluster that were dropped.", true, float64(count),
			label{"reason", reason})
	}
}

func (n *Node) gatewayStats(emit emitFunc) {
	topics := n.topics.Stats()
	emit("topics", "Guild topics that sockets need.", false, float64(topics.Acquired))
	emit("topics_lingering", "Guild topics that no socket needs any more, and which are still subscribed.", false,
		float64(topics.Lingering))
	repairs := n.topics.HistoryStats()
	emit("history_repairs_total", "Losses that were looked into in the history of a guild.", true,
		float64(repairs.Repairs))
	emit("history_repaired_events_total", "Guild events that were missed and read from the history.", true,
		float64(repairs.Repaired))
	emit("history_reads_total", "Reads of the histories of guilds, and of their ends.", true, float64(repairs.Reads))
	for _, reason := range []string{
		redis.ReasonRedisLost, redis.ReasonOverflow, redis.ReasonHistoryLost, redis.ReasonMessageLost,
	} {
		emit("history_unrecoverable_total", "Guilds whose spectators were told that something could not be repaired.",
			true, float64(repairs.Unrecoverable[reason]), label{"reason", reason})
	}
	cache := n.entities.Stats()
	emit("entities_hits_total", "Entities found in the cache.", true, float64(cache.Hits))
	emit("entities_misses_total", "Entities that were not cached.", true, float64(cache.Misses))
	emit("entities_invalid_total", "Cached values that are no JSON object.", true, float64(cache.Invalid))
	emit("entities_errors_total", "Calls to the cache that Redis did not answer.", true, float64(cache.Errors))
	requests := n.requests.Stats()
	emit("backend_requests_in_flight", "Requests to the bot's workers that wait for an answer.", false,
		float64(requests.InFlight))
	emit("backend_requests_bytes", "Parts of answers that are held for them.", false, float64(requests.Bytes))
	emit("backend_requests_total", "Requests to the bot's workers that Redis accepted.", true, float64(requests.Sent))
	for _, o := range []struct {
		outcome string
		count   uint64
	}{
		{"answered", requests.Answered}, {"refused", requests.Refused}, {"timeout", requests.Timeouts},
		{"cancelled", requests.Cancelled}, {"failed", requests.Failed},
	} {
		emit("backend_outcomes_total", "Ends of requests to the bot's workers.", true, float64(o.count),
			label{"outcome", o.outcome})
	}
	emit("backend_late_total", "Replies of workers that nobody waited for any more.", true, float64(requests.Late))
	emit("backend_malformed_total", "Replies of workers that make no sense.", true, float64(requests.Malformed))
	revocations := n.revocations.Stats()
	emit("revocations", "Revocations in effect.", false, float64(n.known.Len()))
	incomplete := 0.
	if n.known.Incomplete(time.Now()) {
		incomplete = 1
	}
	emit("revocations_incomplete", "1 while tokens are refused since more revocations are in force than fit.", false,
		incomplete)
	emit("revocations_unstored", "Revocations in effect that are not in Redis yet.", false,
		float64(revocations.Unstored))
	emit("revocations_heard_total", "Revocations received.", true, float64(revocations.Heard))
	emit("revocations_restored_total", "Revocations stored and published again, since Redis had lost them.", true,
		float64(revocations.Restored))
	emit("revocations_malformed_total", "Revocations received that make no sense.", true,
		float64(revocations.Malformed))
}
