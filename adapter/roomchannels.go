package adapter

import (
	"sync"
	"time"

	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io/v2/socket"
)

// roomChannels subscribes to the channels of the rooms that have members here; see Options.PatternSubscription. A room is
// subscribed to before its first member is in it, and given up after the last has left. All methods may be called
// concurrently.
type roomChannels struct {
	a *classic

	// Guarded by mu.
	mu      sync.Mutex
	rooms   map[socket.Room]*roomChannel
	sockets map[socket.SocketId]map[socket.Room]struct{}
}

// roomChannel is one subscription. A room that is left by all and joined again has a new one.
type roomChannel struct {
	done chan struct{} // closed when Redis has confirmed

	// Guarded by roomChannels.mu.
	members   int
	confirmed bool
}

func newRoomChannels(a *classic) *roomChannels {
	return &roomChannels{
		a: a, rooms: map[socket.Room]*roomChannel{}, sockets: map[socket.SocketId]map[socket.Room]struct{}{},
	}
}

// joinTimeout bounds how long a join waits for Redis; while Redis is lost it does not wait. The socket is in the room
// then, and hears what other servers send as soon as Redis is back; the loss of Redis is announced to everybody anyway.
const joinTimeout = time.Second

// join subscribes to rooms and returns once Redis has confirmed.
func (c *roomChannels) join(id socket.SocketId, rooms []socket.Room) {
	fresh := map[socket.Room]*roomChannel{}
	var waits []chan struct{}
	c.mu.Lock()
	for _, r := range rooms {
		if _, member := c.sockets[id][r]; member {
			continue
		}
		if c.sockets[id] == nil {
			c.sockets[id] = map[socket.Room]struct{}{}
		}
		c.sockets[id][r] = struct{}{}
		rc := c.rooms[r]
		if rc == nil {
			rc = &roomChannel{done: make(chan struct{})}
			c.rooms[r], fresh[r] = rc, rc
		}
		rc.members++
		if !rc.confirmed {
			waits = append(waits, rc.done)
		}
	}
	c.mu.Unlock()
	if len(fresh) > 0 {
		c.a.wg.Go(func() { c.subscribe(fresh) })
	}
	c.wait(waits)
}

func (c *roomChannels) wait(waits []chan struct{}) {
	if len(waits) == 0 {
		return
	}
	if away(c.a.bus) {
		return
	}
	timer := time.NewTimer(joinTimeout)
	defer timer.Stop()
	for _, done := range waits {
		select {
		case <-done:
		case <-timer.C:
			c.a.opts.Logger.Warn("join does not wait for redis any longer", "namespace", c.a.nsp)
			return
		case <-c.a.run.Done():
			return
		}
	}
}

// subscribe goes on until Redis has confirmed all of fresh, or the adapter is closed.
func (c *roomChannels) subscribe(fresh map[socket.Room]*roomChannel) {
	channels := make([]string, 0, len(fresh))
	for r := range fresh {
		channels = append(channels, c.channel(r))
	}
	for {
		err := c.a.heard.Subscribe(c.a.run, channels...)
		if err == nil {
			break
		}
		if c.a.run.Err() == nil {
			c.a.opts.Logger.Error("redis refuses the channels of rooms", "namespace", c.a.nsp, "err", err)
		}
		select {
		case <-time.After(retryPause):
		case <-c.a.run.Done():
			return
		}
	}
	var left []string // by all, while Redis was asked
	c.mu.Lock()
	for r, rc := range fresh {
		rc.confirmed = true
		close(rc.done)
		if rc.members == 0 {
			left = append(left, c.channel(r))
		}
	}
	c.mu.Unlock()
	c.a.heard.Unsubscribe(left...)
}

// leave gives up the channels of those rooms that id was the last member of. No rooms means all.
func (c *roomChannels) leave(id socket.SocketId, rooms ...socket.Room) {
	var gone []string
	c.mu.Lock()
	if len(rooms) == 0 {
		for r := range c.sockets[id] {
			rooms = append(rooms, r)
		}
	}
	for _, r := range rooms {
		if _, member := c.sockets[id][r]; !member {
			continue
		}
		delete(c.sockets[id], r)
		rc := c.rooms[r]
		if rc.members--; rc.members > 0 {
			continue
		}
		delete(c.rooms, r)
		if rc.confirmed {
			gone = append(gone, c.channel(r))
		}
	}
	if len(c.sockets[id]) == 0 {
		delete(c.sockets, id)
	}
	c.mu.Unlock()
	c.a.heard.Unsubscribe(gone...)
}

func (c *roomChannels) channel(r socket.Room) string { return c.a.base + string(r) + "#" }

// AddAll puts a socket into rooms, after Redis has confirmed their channels.
func (a *classic) AddAll(id socket.SocketId, rooms *types.Set[socket.Room]) {
	if a.rooms != nil {
		a.rooms.join(id, rooms.Keys())
	}
	a.Adapter.AddAll(id, rooms)
}

// Del takes a socket out of a room.
func (a *classic) Del(id socket.SocketId, room socket.Room) {
	a.Adapter.Del(id, room)
	if a.rooms != nil {
		a.rooms.leave(id, room)
	}
}

// DelAll takes a socket out of all rooms.
func (a *classic) DelAll(id socket.SocketId) {
	a.Adapter.DelAll(id)
	if a.rooms != nil {
		a.rooms.leave(id)
	}
}
