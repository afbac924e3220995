package adapter

import (
	"sync"

	"github.com/zishang520/socket.io-go-parser/v2/parser"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter/internal/wire"
)

// serveCommand makes local sockets join, leave or disconnect.
func (c *cluster) serveCommand(m message) {
	if !c.concerns(m.opts.Rooms) {
		return
	}
	opts, rooms := libraryOptions(m.opts), toRooms(m.rooms)
	switch m.kind {
	case join:
		if len(rooms) > 0 {
			c.Adapter.AddSockets(opts, rooms)
		}
	case leave:
		c.Adapter.DelSockets(opts, rooms)
	case disconnect:
		c.listen(func() { c.Adapter.DisconnectSockets(opts, m.close) })
	}
}

// describeSockets describes the local sockets that o selects; nil means all.
func (c *cluster) describeSockets(o *wire.Options) []any {
	list := []any{}
	if o != nil && !c.concerns(o.Rooms) {
		return list
	}
	var opts *socket.BroadcastOptions
	if o != nil {
		opts = libraryOptions(*o)
	}
	c.Adapter.FetchSockets(opts)(func(found []socket.SocketDetails, _ error) {
		for _, s := range found {
			list = append(list, describe(s))
		}
	})
	return list
}

// serveEmit calls the namespace's listeners for an event that another server emitted. reply, if an answer is wanted, is
// called with the values of the first answer.
func (c *cluster) serveEmit(event wire.Value, reply func([]any)) error {
	values, _ := event.Go(toBuffer).([]any)
	if len(values) == 0 {
		return &wire.Error{Reason: wire.BadShape, Detail: "server side emit without event"}
	}
	name, ok := values[0].(string)
	if !ok || socket.NAMESPACE_RESERVED_EVENTS.Has(name) {
		return &wire.Error{Reason: wire.BadEventName, Detail: name}
	}
	if reply != nil {
		var once sync.Once // further calls are ignored, as in Node
		values = append(values, socket.Ack(func(args []any, _ error) { once.Do(func() { reply(args) }) }))
	}
	c.listen(func() { c.Nsp().OnServerSideEmit(values) })
	return nil
}

// serveAckRequest sends a packet to local sockets. It calls counted with their number before it returns, and acked with
// the answer of each.
func (c *cluster) serveAckRequest(p wire.Packet, o wire.Options, counted func(uint64), acked func([]any)) {
	if !c.concerns(o.Rooms) {
		counted(0)
		return
	}
	if o.Flags.Timeout <= 0 {
		o.Flags.Timeout = c.requestsTimeout
	}
	c.count.broadcasts.Add(1)
	packet := &parser.Packet{Type: parser.EVENT, Nsp: c.nsp, Data: p.Values(toBuffer)}
	c.Adapter.BroadcastWithAck(packet, libraryOptions(o), counted, func(args []any, err error) {
		if err == nil {
			acked(args)
		}
	})
}

// listen runs f, which calls listeners of the application, on their lane.
func (c *cluster) listen(f func()) {
	if !c.listeners.postAndWait(f, c.times.grace) && c.run.Err() == nil {
		c.drop("call of a listener", &wire.Error{Reason: wire.Overflow, Detail: "listeners are too slow"}, nil)
	}
}
