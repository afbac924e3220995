package handlers

import (
	"time"

	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/permissions"
)

// batches holds the filter's batches of recipients. It is reused between events.
type batches struct {
	list []permissions.Batch[*engine.Conn]
}

// Message delivers one message of a topic to the sockets that may see it. Messages of a topic must come in the order in
// which Redis delivered them. Message does not keep data. A malformed message is dropped, counted, and logged at most
// once per topic and minute.
func (g *Gateway) Message(topic event.Topic, data []byte) {
	defer func() {
		if p := recover(); p != nil { // a topic must survive any message
			g.metrics.panics.Inc()
			g.log.Error("guild event panicked", "guild_id", topic.Guild, "err", p)
		}
	}()
	e, err := event.Parse(topic, data)
	if err != nil {
		g.malformed(topic, err)
		return
	}
	g.directories.Changed(&e)
	flight := g.flights.begin(topic.Guild)
	defer g.flights.end(flight)
	room, _ := g.batches.Get().(*batches)
	if room == nil {
		room = &batches{}
	}
	var outcome permissions.Outcome
	room.list, outcome = g.filter.Route(room.list[:0], &e, time.Now())
	g.metrics.outcome(outcome)
	g.fanOut(&e, room.list)
	clear(room.list) // so that it keeps no connection alive
	g.batches.Put(room)
	if outcome == permissions.UnknownKind && g.complaints.Allow(complaint{topic, unknownKind}) {
		g.log.Warn("guild event of unknown kind reaches nobody",
			"guild_id", topic.Guild, "logs", topic.Logs, "kind", shown(e.Kind))
	}
}

// fanOut queues the event for every recipient, except for those that are behind. It encodes the event once per form.
func (g *Gateway) fanOut(e *event.Event, list []permissions.Batch[*engine.Conn]) {
	var encoded [2]*engine.Message
	loss := lossOf(e.Topic)
	for i := range list {
		b := &list[i]
		m := &encoded[b.Form&1]
		if *m == nil {
			*m = g.outlet.encode(e.AppendArgs(nil, b.Form == permissions.FormString))
		}
		shed := g.outlet.deliver(*m, b.Recipients, loss)
		g.metrics.delivered(b.Level, len(b.Recipients)-len(shed))
		if len(shed) > 0 {
			g.stragglers.note(e.Topic.Guild, shed)
		}
	}
}

func (g *Gateway) malformed(topic event.Topic, err error) {
	g.metrics.malformed(err)
	if g.complaints.Allow(complaint{topic, malformedEvent}) {
		g.log.Warn("guild event dropped", "guild_id", topic.Guild, "logs", topic.Logs, "err", err)
	}
}
