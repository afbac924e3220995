package adapter

import (
	"context"
	"sync"

	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter/bus"
)

// roomSubscriptions keeps the channels of the rooms that have members here.
type roomSubscriptions struct {
	a *sharded // Static after construction.

	// Guarded by mu, which comes before the locks of the bus.
	mu   sync.Mutex
	held map[socket.Room]*bus.Pending
}

// AddAll puts a socket into rooms. It returns once Redis has confirmed the channels of new ones, so that whatever is
// sent to a room after a join arrives. After joinTimeout it goes on without; that is logged.
func (a *sharded) AddAll(id socket.SocketId, rooms *types.Set[socket.Room]) {
	a.Adapter.AddAll(id, rooms)
	if a.opts.SubscriptionMode != Static {
		a.rooms.await(a.rooms.update(rooms.Keys()...))
	}
}

// Del takes a socket out of a room.
func (a *sharded) Del(id socket.SocketId, room socket.Room) {
	a.Adapter.Del(id, room)
	a.rooms.update(room)
}

// DelAll takes a socket out of all rooms.
func (a *sharded) DelAll(id socket.SocketId) {
	rooms := a.Adapter.SocketRooms(id)
	var keys []socket.Room
	if rooms != nil {
		keys = rooms.Keys() // the library's adapter empties its own set
	}
	a.Adapter.DelAll(id)
	a.rooms.update(keys...)
}

// update subscribes to the rooms that have members, gives up those that have none, and returns what Redis has not
// confirmed. It goes by what is the case when it has the lock, so that concurrent changes can come in any order.
func (r *roomSubscriptions) update(rooms ...socket.Room) (waiting []*bus.Pending) {
	mode := r.a.opts.SubscriptionMode
	if mode == Static || len(rooms) == 0 {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var gone []string
	for _, room := range rooms {
		if !mode.ownChannel(string(room)) {
			continue
		}
		p, member := r.held[room], r.a.HasMembers(room)
		switch {
		case member && p == nil:
			p = r.a.heard.SWant(r.a.base + string(room) + "#")
			r.held[room] = p
			waiting = append(waiting, p)
		case member && !p.Done():
			waiting = append(waiting, p)
		case !member && p != nil:
			delete(r.held, room)
			gone = append(gone, r.a.base+string(room)+"#")
		}
	}
	if len(gone) > 0 {
		r.a.heard.SUnsubscribe(gone...)
	}
	return waiting
}

// await waits for Redis, unless it is known to be away: then nothing can be missed that is not announced as a gap.
func (r *roomSubscriptions) await(waiting []*bus.Pending) {
	if len(waiting) == 0 || away(r.a.bus) {
		return
	}
	ctx, cancel := context.WithTimeout(r.a.run, joinTimeout)
	defer cancel()
	for _, p := range waiting {
		if err := p.Wait(ctx); err != nil {
			if r.a.run.Err() == nil {
				r.a.opts.Logger.Warn("room joined before redis confirmed its channel", "namespace", r.a.nsp, "err", err)
			}
			return
		}
	}
}
