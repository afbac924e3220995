package handlers

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/permissions"
)

// metrics are the gateway's metrics. Labels come from fixed sets, never from clients or publishers.
type metrics struct {
	events, answers, errors                   *prometheus.CounterVec
	elevations, demotions                     *prometheus.CounterVec
	guildEvents, guildMalformed, guildReached *prometheus.CounterVec
	replays, connectionsRefused               *prometheus.CounterVec
	refused, floods, panics, resyncs, shed    prometheus.Counter
	replayed                                  prometheus.Counter
	elevated                                  prometheus.Gauge
	durations                                 *durations

	// Looked up once, because every guild event needs them. Static after construction.
	outcomes map[permissions.Outcome]prometheus.Counter
	levels   map[permissions.Level]prometheus.Counter
}

func newMetrics(r prometheus.Registerer, g *Gateway) (*metrics, error) {
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "guildcast", Name: name, Help: help}, labels)
	}
	one := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "guildcast", Name: name, Help: help})
	}
	gauge := func(name, help string) prometheus.GaugeOpts {
		return prometheus.GaugeOpts{Namespace: "guildcast", Name: name, Help: help}
	}
	count := func(name, help string, n func() int) prometheus.Collector {
		return prometheus.NewGaugeFunc(gauge(name, help), func() float64 { return float64(n()) })
	}
	m := &metrics{
		events:      vec("client_events_total", "Events received from clients.", "event"),
		answers:     vec("answers_total", "Answers and pushes of the gateway itself.", "event"),
		errors:      vec("errors_total", "Errors answered to clients, by code.", "code"),
		elevations:  vec("elevations_total", "Outcomes of elevations.", "outcome"),
		demotions:   vec("demotions_total", "Elevations that ended before their socket.", "reason"),
		guildEvents: vec("guild_events_total", "Messages of guild topics, by what became of them.", "outcome"),
		guildMalformed: vec("guild_events_malformed_total", "Messages of guild topics that were dropped.",
			"reason"),
		guildReached:       vec("guild_event_deliveries_total", "Guild events queued for sockets.", "level"),
		connectionsRefused: vec("connections_refused_total", "Handshakes refused by a limit of connections.", "limit"),
		refused:            one("rate_limited_total", "Client events refused by a rate limit."),
		floods:             one("flood_disconnects_total", "Clients disconnected for flooding."),
		panics:             one("handler_panics_total", "Panics that were recovered. Each is a bug."),
		resyncs:            one("resyncs_total", "Sockets told that they may have missed events."),
		shed:               one("guild_events_shed_total", "Guild events left out for sockets that read too slowly."),
		replays:            vec("replays_total", "Replays of past guild events, by what became of them.", "outcome"),
		replayed:           one("replayed_events_total", "Past guild events queued for sockets."),
		elevated:           prometheus.NewGauge(gauge("elevated_sockets", "Sockets that are elevated.")),
		durations:          newDurations(g.config.Compat),
		outcomes:           map[permissions.Outcome]prometheus.Counter{},
		levels:             map[permissions.Level]prometheus.Counter{},
	}
	for _, o := range []permissions.Outcome{permissions.Routed, permissions.UnknownKind, permissions.UnclearRequires,
		permissions.NoSpectators, permissions.Denied} {
		m.outcomes[o] = m.guildEvents.WithLabelValues(string(o))
	}
	for _, l := range []connectLimit{connectsOver, addressConnectsOver, connectionsOver, addressConnectionsOver} {
		m.connectionsRefused.WithLabelValues(string(l)) // so that the first one is a growth
	}
	for _, l := range []permissions.Level{permissions.LevelArchitusAdmin, permissions.LevelAdministrator,
		permissions.LevelPrivateLogs, permissions.LevelPublicLogs, permissions.LevelMember} {
		m.levels[l] = m.guildReached.WithLabelValues(string(l))
	}
	if r == nil {
		return m, nil
	}
	collectors := []prometheus.Collector{
		m.events, m.answers, m.errors, m.elevations, m.demotions, m.guildEvents, m.guildMalformed, m.guildReached,
		m.replays, m.replayed, m.connectionsRefused, m.refused, m.floods, m.panics, m.resyncs, m.shed, m.elevated,
		count("sessions", "Sockets connected.", g.Sessions),
		count("spectators", "Sockets that spectate a guild.", g.filter.Len),
		count("replay_window_bytes", "Bytes of guild events kept for replays.", func() int {
			return int(g.streams.windows.used.Load())
		}),
		count("requests_in_progress", "Pool and interpret requests in progress.", g.slots.inProgress),
	}
	for _, c := range append(collectors, m.durations.collectors()...) {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) outcome(o permissions.Outcome) {
	if c := m.outcomes[o]; c != nil {
		c.Inc()
	}
}

func (m *metrics) delivered(l permissions.Level, n int) {
	if c := m.levels[l]; c != nil {
		c.Add(float64(n))
	}
}

func (m *metrics) malformed(err error) {
	m.guildEvents.WithLabelValues("malformed").Inc()
	if p := (*event.ParseError)(nil); errors.As(err, &p) {
		m.guildMalformed.WithLabelValues(string(p.Reason)).Inc()
	}
}
