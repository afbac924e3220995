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

// command publishes a command for all servers. It calls here to carry it out on this server, unless that happens when
// the command comes back from Redis: in the classic protocol it calls here only if it can't publish.
func (c *cluster) command(m message, opts *socket.BroadcastOptions, here func()) {
	if isLocal(opts) {
		here()
		return
	}
	m.opts = wireOptions(opts)
	err := c.protocol.send(m)
	if err != nil {
		c.unsent("command", err)
	}
	if err != nil || !c.echo {
		here()
	}
}
