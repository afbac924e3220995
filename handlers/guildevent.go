package handlers

import (
	"time"

	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/internal/traces"
	"github.com/architus/guildcast/permissions"
)

// batches holds the filter's batches of recipients. It is reused between events.
type batches struct {
	list []permissions.Batch[*engine.Conn]
}

// Message delivers one message of a topic to the sockets that may see it. p is its position in the guild's history,
// zero for a plain one. The messages of a guild must come one at a time, in the order in which Redis delivered them.
// Message does not wait for slow recipients: while the guild does, data is kept, and must not change. A malformed
// message is dropped, counted, and logged at most once per topic and minute.
func (g *Gateway) Message(topic event.Topic, p history.Position, data []byte) {
	g.Receive(topic, p, data, time.Time{})
}

// Receive is Message for a message that came from Redis at this time.
func (g *Gateway) Receive(topic event.Topic, p history.Position, data []byte, received time.Time) {
	g.take(notice{topic: topic, position: p, data: data, received: received})
}

// take handles a message of a topic, or keeps it while the guild waits for slow recipients.
func (g *Gateway) take(n notice) {
	if g.backlogs.keep(n) {
		return
	}
	if behind := g.handle(n); len(behind) > 0 {
		g.backlogs.wait(n.topic.Guild, behind)
	}
}

// handle handles a message of a topic, in the guild's order. It returns the recipients to wait for.
func (g *Gateway) handle(n notice) (behind []lag) {
	defer func() {
		if p := recover(); p != nil { // a topic must survive any message
			g.metrics.panics.Inc()
			g.log.Error("guild event panicked", "guild_id", n.topic.Guild, "err", p)
		}
	}()
	st := g.streams.of(n.topic.Guild)
	if reason, marker := history.ParseMarker(n.data); marker && !n.position.IsZero() {
		if st != nil {
			st.skip(n.position, true)
		}
		g.Resync([]event.Topic{{Guild: n.topic.Guild}, {Guild: n.topic.Guild, Logs: true}}, reason)
		return nil
	}
	e, err := event.Parse(n.topic, n.data)
	if err != nil {
		g.malformed(n.topic, err)
		if st != nil {
			st.skip(n.position, false)
		}
		return nil
	}
	g.directories.Changed(&e)
	for ended := true; ended && st != nil; st = g.streams.of(n.topic.Guild) {
		if behind, ended = st.deliver(&e, n); !ended {
			return behind
		}
	}
	behind, _ = g.route(&e, n.position, n.received)
	return behind
}

// route delivers an event to the sockets that may see it. It returns the recipients to wait for, and those for which
// the event was left out.
func (g *Gateway) route(e *event.Event, p history.Position, received time.Time) (behind []lag, shed []*engine.Conn) {
	flight := g.flights.begin(e.Topic.Guild)
	defer g.flights.end(flight)
	room, _ := g.batches.Get().(*batches)
	if room == nil {
		room = &batches{}
	}
	var outcome permissions.Outcome
	began := time.Now()
	room.list, outcome = g.filter.Route(room.list[:0], e, began)
	g.metrics.outcome(outcome)
	var filtered time.Time
	if g.config.Tracer != nil {
		filtered = time.Now()
	}
	behind, shed = g.fanOut(e, p, room.list)
	if outcome == permissions.Routed {
		g.metrics.durations.observeDelivery(e, p, received)
		if g.config.Tracer != nil {
			g.trace(room.list, traces.Delivery{
				Event: e, Position: p, Received: received, Taken: began, Filtered: filtered, Queued: time.Now(),
			})
		}
	}
	clear(room.list) // so that it keeps no connection alive
	g.batches.Put(room)
	if outcome == permissions.UnknownKind && g.complaints.Allow(complaint{e.Topic, unknownKind}) {
		g.log.Warn("guild event of unknown kind reaches nobody",
			"guild_id", e.Topic.Guild, "logs", e.Topic.Logs, "kind", shown(e.Kind))
	}
	return behind, shed
}

// fanOut queues the event for every recipient, except for those that are behind. It encodes the event once per form,
// and returns the recipients to wait for, and those for which the event was left out.
func (g *Gateway) fanOut(
	e *event.Event, p history.Position, list []permissions.Batch[*engine.Conn],
) (behind []lag, shed []*engine.Conn) {
	var encoded [4]*engine.Message
	loss := lossOf(e.Topic)
	for i := range list {
		b := &list[i]
		m := &encoded[messageKind(b.Form, b.Positions)]
		if *m == nil {
			*m = g.encodeEvent(e, p, b.Form, b.Positions)
		}
		without, slow := g.outlet.deliver(*m, b.Recipients, engine.DeliverOptions{
			Loss: loss, Group: g.contexts.of(e.Topic.Guild, b.Class),
		})
		g.metrics.delivered(b.Level, len(b.Recipients)-len(without))
		shed = append(shed, without...)
		if slow != nil {
			behind = append(behind, slow)
		}
	}
	return behind, shed
}

func (g *Gateway) malformed(topic event.Topic, err error) {
	g.metrics.malformed(err)
	if g.complaints.Allow(complaint{topic, malformedEvent}) {
		g.log.Warn("guild event dropped", "guild_id", topic.Guild, "logs", topic.Logs, "err", err)
	}
}
