package engine

import (
	"time"

	"github.com/architus/guildcast/engine/internal/eio"
)

// paceLimit is how long a call that sends may wait for connections that lag.
const paceLimit = 50 * time.Millisecond

// DeliverOptions of Deliver.
type DeliverOptions struct {
	Volatile bool // drop where the connection can't take it now
}

// Deliver queues m on every connection of conns, in order with all else that is sent to them, and paces the caller
// (50 ms at most) while healthy connections lag. conns is only read; nil connections are skipped. It never fails: a
// closed connection is skipped, and one that has stopped reading is cut by limits of its own.
func Deliver(m *Message, conns []*Conn, o DeliverOptions) {
	d := delivery{message: m, volatile: o.Volatile}
	for _, c := range conns {
		d.to(c)
	}
	d.pace()
}

// delivery is one message on its way to many connections.
type delivery struct {
	message  *Message
	volatile bool
	lagging  []*eio.Conn // a sample of them
}

// maxSampled bounds the lagging connections that a sender waits for: it waits for all of the sample, and a healthy
// peer that is not in it is as fast as those that are.
const maxSampled = 16

func (d *delivery) to(c *Conn) {
	if c == nil {
		return
	}
	if d.message.hasID {
		c.inbox.expectAck()
	}
	if d.volatile {
		c.eio.SendVolatile(d.message.frames...)
		return
	}
	if c.eio.Send(d.message.frames...) == eio.Lagging && len(d.lagging) < maxSampled {
		d.lagging = append(d.lagging, &c.eio)
	}
}

func (d *delivery) pace() {
	if len(d.lagging) > 0 {
		eio.Pace(d.lagging, paceLimit)
	}
}
