package adapter

import (
	"github.com/zishang520/socket.io/v2/socket"
)

// AddSockets makes the sockets that opts selects, on all servers, join rooms.
func (c *cluster) AddSockets(opts *socket.BroadcastOptions, rooms []socket.Room) {
	c.command(message{kind: join, rooms: fromRooms(rooms)}, opts, func() { c.Adapter.AddSockets(opts, rooms) })
}

// DelSockets makes the sockets that opts selects, on all servers, leave rooms.
func (c *cluster) DelSockets(opts *socket.BroadcastOptions, rooms []socket.Room) {
	c.command(message{kind: leave, rooms: fromRooms(rooms)}, opts, func() { c.Adapter.DelSockets(opts, rooms) })
}

// DisconnectSockets disconnects the sockets that opts selects, on all servers; closing ends their connections too.
func (c *cluster) DisconnectSockets(opts *socket.BroadcastOptions, closing bool) {
	c.command(message{kind: disconnect, close: closing}, opts, func() { c.Adapter.DisconnectSockets(opts, closing) })
}

// command publishes a command for the other servers, and calls here to carry it out on this one, so that what is
// broadcast next reaches who has joined. A Node.js server of the classic protocol carries out its own command only when
// that comes back from Redis.
func (c *cluster) command(m message, opts *socket.BroadcastOptions, here func()) {
	if !isLocal(opts) {
		m.opts = wireOptions(opts)
		if err := c.protocol.send(m); err != nil {
			c.unsent("command", err)
		}
	}
	here()
}
