package engine

import (
	"time"

	"github.com/architus/guildcast/engine/internal/eio"
)

// paceLimit bounds how long a call that sends waits for connections that lag.
const paceLimit = 50 * time.Millisecond

// DeliverOptions are the options of Deliver and Queue. The zero value delivers to every connection.
type DeliverOptions struct {
	Volatile bool // drop the message for a connection that can't take it now
	Loss     Loss // whether to leave the message out for a connection that is behind; not with Volatile
	// Hold leaves the message in the queues, so that it goes out together with what follows. The caller must call
	// Conn.Flush right after the last message. Not with Volatile.
	Hold bool
	// Group is that of the connections, or nil. It is of use with Options.ContextTakeover only.
	Group *Group
}

// Lag is the connections that lag after a call of Queue. The sender should Wait for them.
type Lag struct{ conns []*eio.Conn } // a sample of them: maxSampled

// Wait returns when none of the connections lags any more, after 50 ms, or when stop is closed. stop may be nil.
func (l *Lag) Wait(stop <-chan struct{}) {
	eio.Pace(l.conns, paceLimit, stop)
}

// Loss says whether a message may be left out for a connection that is behind. The sender must make up for it once
// Conn.Resume returns true.
type Loss uint8

// Losses, from the strictest.
const (
	// Keep never leaves the message out. It closes a connection whose queue would exceed Options.MaxQueueBytes.
	Keep = Loss(eio.Keep)
	// ShedWhenFull leaves the message out where Keep would close the connection.
	ShedWhenFull = Loss(eio.ShedWhenFull)
	// ShedWhenBehind leaves the message out if more than a quarter of Options.MaxQueueBytes waits, or if the peer has
	// been too slow for 3 s although senders waited for it.
	ShedWhenBehind = Loss(eio.ShedWhenBehind)
)

// Deliver queues m on every connection of conns, in order with everything else that is sent to them. While healthy
// connections lag it waits, at most 50 ms. It skips nil and closed connections, and does not change conns. It never
// fails: a connection that has stopped reading is closed by its own limits.
//
// It returns the connections for which m was left out. After that, every message with a Loss other than Keep is left
// out for them too, until Conn.Resume returns true.
func Deliver(m *Message, conns []*Conn, o DeliverOptions) (shed []*Conn) {
	shed, behind := Queue(m, conns, o)
	if behind != nil {
		behind.Wait(nil)
	}
	return shed
}

// Queue is Deliver without the wait, for a sender that must not block yet. It returns the connections to wait for, or
// nil if there are none.
func Queue(m *Message, conns []*Conn, o DeliverOptions) (shed []*Conn, behind *Lag) {
	d := delivery{message: m, group: o.Group, volatile: o.Volatile, hold: o.Hold, loss: eio.Loss(o.Loss)}
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
	group    *Group // to compress the message with, once a connection takes part in it; nil if none does
	volatile bool
	hold     bool
	loss     eio.Loss
	lagging  []*eio.Conn // a sample of them
	shed     []*Conn     // for which the message was left out
}

// maxSampled bounds the lagging connections that a sender waits for. A sample is enough: healthy peers outside of it
// are as fast as those in it.
const maxSampled = 16

func (d *delivery) to(c *Conn) {
	if c == nil {
		return
	}
	if d.group != nil && c.eio.Shares() {
		d.message, d.group = d.group.share(d.message), nil
	}
	if d.message.hasID {
		c.inbox.expectAck()
	}
	if d.volatile {
		c.eio.SendVolatile(d.message.frames...)
		return
	}
	var status eio.SendStatus
	if d.hold {
		status = c.eio.Hold(d.loss, d.message.frames...)
	} else {
		status = c.eio.SendLossy(d.loss, d.message.frames...)
	}
	switch status {
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
