package handlers

import (
	"context"

	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/internal/traces"
	"github.com/architus/guildcast/permissions"
)

// maxTraced is how many sockets a trace waits for: the first of each batch.
const maxTraced = 16

// trace makes the trace of an event that was queued for the recipients of list. Its last span ends once a few of them
// have been written to: when nothing more waits in their queues.
func (g *Gateway) trace(list []permissions.Batch[*engine.Conn], d traces.Delivery) {
	sample := make([]*engine.Conn, 0, min(len(list), maxTraced))
	for i := range list {
		d.Sockets += len(list[i].Recipients)
		if len(sample) < maxTraced && len(list[i].Recipients) > 0 {
			sample = append(sample, list[i].Recipients[0])
		}
	}
	d.Written = func(ctx context.Context) {
		for _, conn := range sample {
			if g.outlet.room(ctx, conn, 0) != nil { // the time is up
				return
			}
		}
	}
	g.config.Tracer.Deliver(d)
}
