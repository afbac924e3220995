package adapter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter/internal/wire"
	"github.com/architus/guildcast/bus"
)

// FetchSockets returns a function that passes the sockets of all servers that opts selects to its callback. If some
// servers do not answer, the callback gets the sockets of the others and an *IncompleteError. It runs on a goroutine of
// its own or, with the local flag, before the function returns.
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

// allSockets returns the ids of local sockets in any of rooms, or of all, and those that ask finds on other servers. It
// waits for their answers; if some do not come, their sockets are missing and the log has a line.
func (c *cluster) allSockets(
	rooms *types.Set[socket.Room], ask func(context.Context) ([]socket.SocketId, error),
) *types.Set[socket.SocketId] {
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

// ServerSideEmit emits an event to the other servers. If the last value is a socket.Ack, it is called with one value of
// each server, and with an *IncompleteError if some did not answer.
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

// askOthers asks all other servers and waits for their answers, until ctx ends or those that have not answered have
// left. If some are missing it returns the others' answers and an *IncompleteError.
func (c *cluster) askOthers(ctx context.Context, op string, m message) ([]answer, error) {
	started := time.Now()
	n, partial := c.countServers(ctx)
	if partial != nil && !errors.Is(partial, bus.ErrPartial) {
		return nil, fmt.Errorf("%s: %w", op, partial)
	}
	if n <= 1 {
		return nil, c.uncounted(op, 0, started, partial)
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
	cause := c.await(ctx, r.done, func() bool { return c.othersLeft(ctx, r.want, c.pending.answers(r)) })
	got, err := c.pending.end(m.id, r, cause)
	c.count.responses.Add(uint64(len(got)))
	if e := (*IncompleteError)(nil); errors.As(err, &e) {
		c.count.incomplete.Add(1)
		e.Missing = missing(c.peers(), c.uid, got)
		return got, err
	}
	return got, c.uncounted(op, len(got), started, partial)
}

// uncounted returns the error of a request that all counted servers have answered: nil if the count was whole.
func (c *cluster) uncounted(op string, answered int, started time.Time, partial error) error {
	if partial == nil {
		return nil
	}
	c.count.incomplete.Add(1)
	return &IncompleteError{Op: op, Got: answered, Want: answered, After: time.Since(started), Cause: partial}
}

// await waits for done. It returns nil, or why it stopped waiting: ctx has ended, or the servers that have not answered
// have left.
func (c *cluster) await(ctx context.Context, done <-chan struct{}, left func() bool) error {
	losses := c.bus.Stats().Losses
	tick := time.NewTicker(c.times.look)
	defer tick.Stop()
	for looks := 0; looks < leftLooks; {
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		looks++
		// When this server has lost Redis, others may have, and are on their way back.
		if c.bus.Stats().Losses != losses || !left() {
			looks = 0
		}
	}
	return ErrLeft
}
