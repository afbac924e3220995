package adapter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/zishang520/socket.io-go-parser/v2/parser"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/bus"
)

// EmitWithAck emits an event to the clients that opts selects, on all servers, and returns one value of each client in
// the order of their answers. nil opts select all clients. The adapter of nsp must be one of New or NewSharded. If ctx
// ends or RequestsTimeout passes first, EmitWithAck returns the values that came and an *IncompleteError, which counts
// the missing servers and clients and names the servers. It fails at once if the event can't be encoded, for example
// because of a NaN. The library's operator does the same, but its error does not say what is missing.
func EmitWithAck(
	ctx context.Context, nsp socket.Namespace, opts *socket.BroadcastOptions, event string, args ...any,
) ([]any, error) {
	a, ok := nsp.Adapter().(interface {
		emitWithAck(context.Context, *socket.BroadcastOptions, []any) ([]any, error)
	})
	if !ok {
		return nil, fmt.Errorf("emit with acknowledgement: the adapter is a %T", nsp.Adapter())
	}
	if socket.SOCKET_RESERVED_EVENTS.Has(event) {
		return nil, fmt.Errorf("emit with acknowledgement: %q is a reserved event name", event)
	}
	return a.emitWithAck(ctx, opts, append([]any{event}, args...))
}

func (c *cluster) emitWithAck(ctx context.Context, opts *socket.BroadcastOptions, event []any) ([]any, error) {
	const op = "emit with acknowledgement"
	ctx, cancel := c.timeout(ctx)
	defer cancel()
	started := time.Now()
	w := &ackWait{want: 1, done: make(chan struct{}), values: []any{}}
	var partial error
	if !isLocal(opts) {
		var n int64
		if n, partial = c.countServers(ctx); partial != nil && !errors.Is(partial, bus.ErrPartial) {
			return nil, fmt.Errorf("%s: %w", op, partial)
		}
		w.want = int(n)
	}
	o, flags := socket.BroadcastOptions{}, socket.BroadcastFlags{}
	if opts != nil {
		o = *opts
		if o.Flags != nil {
			flags = *o.Flags
		}
	}
	end, _ := ctx.Deadline()
	left := max(time.Until(end), time.Millisecond)
	flags.Timeout, flags.ExpectSingleResponse, o.Flags = &left, false, &flags
	r := newAckRequest(&o, w.count, w.ack, c.logger, &c.wg)
	if err := c.askClients(&parser.Packet{Type: parser.EVENT, Data: event}, &o, r); err != nil {
		c.count.unsent.Add(1)
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	cause := c.await(ctx, w.done, func() bool { return w.acked() && c.othersLeft(ctx, w.want-1, r.servers()) })
	w.mu.Lock()
	complete := w.over // the last answer may have come meanwhile
	w.over = true
	values, missing := w.values, int(max(w.clients, uint64(len(w.values)))-uint64(len(w.values)))
	w.mu.Unlock()
	if complete {
		c.finish(r, 0)
		return values, c.uncounted(op, w.want-1, started, partial)
	}
	e := &IncompleteError{
		Op: op, Got: len(r.servers()), Want: w.want - 1, Clients: missing, After: time.Since(started), Cause: cause,
	}
	e.Missing = c.finish(r, e.Want)
	return values, e
}

// ackWait collects the answers to one EmitWithAck.
type ackWait struct {
	want int           // servers, this one included
	done chan struct{} // closed when all have answered

	// Guarded by mu.
	mu      sync.Mutex
	servers int
	clients uint64
	values  []any
	over    bool
}

func (w *ackWait) count(clients uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.servers++
	w.clients += clients
	w.reviewLocked()
}

func (w *ackWait) ack(values []any, _ error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over {
		w.values = append(w.values, values...)
		w.reviewLocked()
	}
}

// acked reports whether all clients that were counted have answered.
func (w *ackWait) acked() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ackedLocked()
}

func (w *ackWait) ackedLocked() bool { return uint64(len(w.values)) >= w.clients }

func (w *ackWait) reviewLocked() {
	if !w.over && w.servers >= w.want && w.ackedLocked() {
		w.over = true
		close(w.done)
	}
}
