package engine

import (
	"time"

	"github.com/architus/guildcast/engine/internal/eio"
)

// paceLimit is how long a call that sends may wait for connections that lag.
const paceLimit = 50 * time.Millisecond

// DeliverOptions of Deliver.
type DeliverOptions struct {
	Volatile bool // drop the message if the connection can't take it now
	Loss     Loss // whether it may be left out if the connection is behind; not together with Volatile
}

// Lag is connections that lag, for which a sender should wait a while.
type Lag struct{ conns []*eio.Conn } // a sample of them: maxSampled

// Wait waits until none of the connections lags, 50 ms at most, or until stop is closed. stop may be nil.
func (l *Lag) Wait(stop <-chan struct{}) {
	eio.Pace(l.conns, paceLimit, stop)
}

// Loss says if a message may be left out for a connection that is behind, because the sender can make up for it
// once Conn.Resume says so.
type Loss uint8

// Losses, from the strictest.
const (
	// Keep leaves nothing out: a connection whose queue would grow over Options.MaxQueueBytes is closed.
	Keep = Loss(eio.Keep)
	// ShedWhenFull leaves the message out instead of closing the connection.
	ShedWhenFull = Loss(eio.ShedWhenFull)
	// ShedWhenBehind leaves the message out once a quarter of Options.MaxQueueBytes waits, or once the peer has been
	// too slow for 3 s, during which it was waited for.
	ShedWhenBehind = Loss(eio.ShedWhenBehind)
)

// Deliver queues m on every connection of conns, in order with all else that is sent to them, and paces the caller (50
// ms at most) while healthy connections lag. conns is only read; nil connections are skipped. It never fails: a closed
// connection is skipped, and one that has stopped reading is cut by limits of its own.
//
// It returns the connections for which m was left out. From the first message that was, all are that may be left out as
// well, until Conn.Resume is true.
func Deliver(m *Message, conns []*Conn, o DeliverOptions) (shed []*Conn) {
	shed, behind := Queue(m, conns, o)
	if behind != nil {
		behind.Wait(nil)
	}
	return shed
}

// Queue is Deliver for those who can't wait at once, because others wait for them: it returns the connections to wait
// for, nil if there are none.
func Queue(m *Message, conns []*Conn, o DeliverOptions) (shed []*Conn, behind *Lag) {
	d := delivery{message: m, volatile: o.Volatile, loss: eio.Loss(o.Loss)}
	for _, c := range conns {
		d.to(c)
	}
	if len(d.lagging) > 0 {
		behind = &Lag{d.lagging}
	}
	return d.shed, behind
}

// delivery is one message on its way to many connections.
type delivery struct {
	message  *Message
	volatile bool
	loss     eio.Loss
	lagging  []*eio.Conn // a sample of them
	shed     []*Conn     // for which it was left out
}

// maxSampled bounds the lagging connections that a sender waits for: it waits for all of the sample, and a healthy peer
// that is not in it is as fast as those that are.
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
	switch c.eio.SendLossy(d.loss, d.message.frames...) {
	case eio.Lagging:
		if len(d.lagging) < maxSampled {
			d.lagging = append(d.lagging, &c.eio)
		}
	case eio.Shed:
		d.shed = append(d.shed, c)
	}
}

func (d *delivery) pace() {
	if len(d.lagging) > 0 {
		eio.Pace(d.lagging, paceLimit, nil)
	}
}
