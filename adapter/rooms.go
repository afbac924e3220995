package adapter

import (
	"context"
	"sync"
	"time"

	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/bus"
)

// rooms keeps this server subscribed to the channels of the rooms that have members here.
type rooms struct {
	// Static after start.
	c      *cluster
	owns   func(room string) bool               // reports whether a room has a channel of its own; nil: none has
	expect func(room socket.Room) []socket.Room // Options.Expect

	// Guarded by mu, which comes before the locks of the bus.
	mu   sync.Mutex
	held map[socket.Room]*bus.Pending
}

// joinTimeout bounds how long a join waits for Redis. While Redis is lost a join does not wait: the socket is in the
// room, and receives what other servers send once Redis is back. The loss is announced anyway.
const joinTimeout = time.Second

// AddAll adds a socket to rooms. It returns once Redis has confirmed the channels of new rooms, so that everything that
// is sent to a room after a join arrives. After joinTimeout it logs that Redis has not, and returns.
func (c *cluster) AddAll(id socket.SocketId, rooms *types.Set[socket.Room]) {
	c.Adapter.AddAll(id, rooms)
	if c.rooms.owns != nil {
		c.rooms.await(c.rooms.update(rooms.Keys()...))
	}
}

// Del removes a socket from a room.
func (c *cluster) Del(id socket.SocketId, room socket.Room) {
	c.Adapter.Del(id, room)
	c.rooms.update(room)
}

// DelAll removes a socket from all rooms.
func (c *cluster) DelAll(id socket.SocketId) {
	var left []socket.Room
	if c.rooms.owns != nil {
		if rooms := c.Adapter.SocketRooms(id); rooms != nil {
			left = rooms.Keys()
		}
	}
	c.Adapter.DelAll(id)
	c.rooms.update(left...)
}

// update subscribes to the rooms that have members, unsubscribes from those that have none, and returns what Redis
// has not confirmed. It acts on the state that it finds under the lock, so concurrent changes can come in any order.
func (r *rooms) update(rooms ...socket.Room) (waiting []*bus.Pending) {
	if r.owns == nil || len(rooms) == 0 {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var gone []string
	for _, room := range rooms {
		p, member := r.held[room], r.c.HasMembers(room)
		switch {
		case member && p == nil:
			channels := r.channels(room)
			if len(channels) == 0 {
				continue
			}
			p = r.c.want(r.c.heard, channels...)
			r.held[room] = p
		case !member && p != nil:
			delete(r.held, room)
			gone = append(gone, r.channels(room)...)
			continue
		}
		if member && !p.Done() && r.owns(string(room)) { // what is only expected is not waited for
			waiting = append(waiting, p)
		}
	}
	if len(gone) > 0 {
		r.c.unsubscribe(r.c.heard, gone...)
	}
	return waiting
}

// channels returns the channels of a room and of the rooms that Expect returns for it, if they have any.
func (r *rooms) channels(room socket.Room) []string {
	var names []string
	add := func(room socket.Room) {
		if r.owns(string(room)) {
			names = append(names, r.c.base+string(room)+"#")
		}
	}
	add(room)
	if r.expect != nil {
		for _, other := range r.expect(room) {
			add(other)
		}
	}
	return names
}

// await waits for Redis to confirm, unless Redis is known to be away: then whatever is missed is announced as a gap.
func (r *rooms) await(waiting []*bus.Pending) {
	if len(waiting) == 0 || r.c.away() {
		return
	}
	ctx, cancel := context.WithTimeout(r.c.run, joinTimeout)
	defer cancel()
	for _, p := range waiting {
		if err := p.Wait(ctx); err != nil {
			if r.c.run.Err() == nil {
				r.c.logger.Warn("room joined before redis confirmed its channel", "namespace", r.c.nsp, "err", err)
			}
			return
		}
	}
}
