package adapter

import (
	"context"
	"errors"
	"fmt"

	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter/internal/wire"
)

// askOthers asks all other servers and waits for their answers until ctx ends. With the answers of some it returns an
// *IncompleteError.
func (c *cluster) askOthers(ctx context.Context, op string, m message) ([]answer, error) {
	n, err := c.countServers(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	if n <= 1 {
		return nil, nil
	}
	m.id = c.newID()
	r, err := c.pending.open(op, m.id, int(n)-1)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	if err := c.protocol.send(m); err != nil {
		c.pending.drop(m.id)
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	got, err := c.pending.wait(ctx, m.id, r)
	c.count.responses.Add(uint64(len(got)))
	if e := (*IncompleteError)(nil); errors.As(err, &e) {
		c.count.incomplete.Add(1)
		e.Missing = missing(c.peers(), c.uid, got)
	}
	return got, err
}

// fetch asks all other servers for the sockets that o selects.
func (c *cluster) fetch(ctx context.Context, op string, o wire.Options) ([]*remoteSocket, error) {
	got, err := c.askOthers(ctx, op, message{kind: fetchSockets, opts: o})
	var found []*remoteSocket
	for _, g := range got {
		for v := range g.value.Elems() {
			if s, ok := decodeSocket(v); ok {
				found = append(found, s)
			}
		}
	}
	return found, err
}

// FetchSockets passes the sockets that opts selects, of all servers, to a callback. When some servers do not answer it
// gets those of the others, and an *IncompleteError. The callback runs on a goroutine of its own, or, with the local
// flag, before FetchSockets returns.
func (c *cluster) FetchSockets(opts *socket.BroadcastOptions) func(func([]socket.SocketDetails, error)) {
	return func(callback func([]socket.SocketDetails, error)) {
		c.Adapter.FetchSockets(opts)(func(found []socket.SocketDetails, err error) {
			if err != nil || isLocal(opts) {
				callback(found, err)
				return
			}
			c.later(func(ctx context.Context) {
				remote, err := c.fetch(ctx, "fetch sockets", wireOptions(opts))
				for _, s := range remote {
					found = append(found, s)
				}
				callback(found, err)
			})
		})
	}
}

// allSockets returns the ids of local sockets in any of rooms, or of all, and those that ask finds on other servers. It
// waits for their answers; where some do not come, their sockets are missing, and the log says so.
func (c *cluster) allSockets(rooms *types.Set[socket.Room], ask func(context.Context) ([]socket.SocketId, error)) *types.Set[socket.SocketId] {
	ids := c.Adapter.Sockets(rooms)
	ctx, cancel := c.timeout(context.Background())
	defer cancel()
	others, err := ask(ctx)
	ids.Add(others...)
	if err != nil {
		c.logger.Warn("list of sockets is incomplete", "namespace", c.nsp, "err", err)
	}
	return ids
}

// ServerSideEmit emits an event to the other servers. When the last value is a socket.Ack, it gets one value of each,
// and an *IncompleteError when some did not answer.
func (c *cluster) ServerSideEmit(packet []any) error {
	const op = "server side emit"
	var ack socket.Ack
	if n := len(packet); n > 0 {
		if f, ok := packet[n-1].(socket.Ack); ok {
			ack, packet = f, packet[:n-1]
		}
	}
	if len(packet) == 0 {
		return errors.New(op + ": no event")
	}
	if _, ok := packet[0].(string); !ok {
		return errors.New(op + ": no event")
	}
	event, err := frozen(packet)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	m := message{kind: serverSideEmit, data: event}
	if ack == nil {
		if err := c.protocol.send(m); err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
		return nil
	}
	c.later(func(ctx context.Context) {
		got, err := c.askOthers(ctx, op, m)
		values := make([]any, len(got))
		for i, g := range got {
			values[i] = g.value.Go(toBuffer)
		}
		ack(values, err)
	})
	return nil
}

// frozen encodes v, so that the caller may change it afterwards.
func frozen(v any) (wire.Value, error) {
	b, err := wire.AppendMsgpack(nil, v)
	if err != nil {
		return wire.Value{}, err
	}
	return wire.Parse(b)
}
