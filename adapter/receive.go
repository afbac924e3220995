package adapter

import (
	"fmt"
	"strings"

	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter/internal/wire"
	"github.com/architus/guildcast/bus"
)

// receiver is the bus.Filter of what other servers want.
type receiver struct{ c *cluster }

// Wants returns false for messages to a room without members here: they are not read.
func (r receiver) Wants(channel string) bool {
	room, one := r.c.roomOf(channel)
	return !one || r.c.HasMembers(room)
}

// HandleMessage cheaply rejects messages that are not for this server, before anything is decoded.
func (r receiver) HandleMessage(m bus.Message) {
	c := r.c
	c.handle(m, func() error {
		room, one := c.roomOf(m.Channel)
		switch {
		case c.isOwn(m.Payload):
			c.count.own.Add(1)
			return nil
		case one && !c.HasMembers(room):
			c.count.filtered.Add(1)
			return nil
		}
		return c.protocol.onMessage(m.Channel, m.Payload)
	})
}

// onAnswer takes what other servers answer.
func (c *cluster) onAnswer(m bus.Message) {
	if len(m.Payload) > 0 { // else it is Ready's
		c.handle(m, func() error { return c.protocol.onResponse(m.Payload) })
	}
}

func (c *cluster) handle(m bus.Message, f func() error) {
	if m.Missed > 0 {
		c.count.dropped[wire.Overflow].Add(uint64(m.Missed))
	}
	guard(c.logger, func() {
		if err := f(); err != nil {
			c.drop(m.Channel, err, m.Payload)
		}
	})
}

// roomOf returns the room of a channel that belongs to one. The closing "#" may be missing: one emitter forgets it.
func (c *cluster) roomOf(channel string) (socket.Room, bool) {
	name, ok := strings.CutPrefix(channel, c.base)
	if !ok || name == "" {
		return "", false
	}
	return socket.Room(strings.TrimSuffix(name, "#")), true
}

// concerns reports whether rooms have a member here.
func (c *cluster) concerns(rooms wire.Rooms) bool {
	for _, r := range rooms.Names {
		if c.HasMembers(socket.Room(r)) {
			return true
		}
	}
	return rooms.All
}

// checkNamespace reports whether a message that came on a channel of this namespace is for it, and returns an error if
// its sender has mistaken the channel. A message for "/a#b" is no mistake: its channel is also that of room "b" in
// "/a".
func (c *cluster) checkNamespace(nsp string) (own bool, err error) {
	switch {
	case nsp == c.nsp:
		return true, nil
	case strings.HasPrefix(nsp, c.nsp+"#"):
		c.count.filtered.Add(1)
		return false, nil
	}
	return false, &wire.Error{Reason: wire.OtherNamespace, Detail: fmt.Sprintf("%.64q", nsp)}
}

// drop counts a message that was not understood, and logs it once a minute, reason and kind of sender, with enough to
// find the sender.
func (c *cluster) drop(what string, err error, payload []byte) {
	reason := wire.ReasonOf(err)
	c.count.dropped[reason].Add(1)
	if payload != nil && strange(reason) {
		if sender := senderOf(payload); c.strange.Allow(complaint{reason, sender}) {
			c.logger.Warn("message from redis not understood", "namespace", c.nsp, "channel", what,
				"reason", reason.String(), "err", err,
				"sender", sender, "signature", signatureOf(payload), "bytes", len(payload), "shape", shapeOf(payload))
			return
		}
	}
	c.logger.Debug("message from redis dropped", "namespace", c.nsp, "what", what, "err", err)
}
