package adapter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io-go-parser/v2/parser"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter/bus"
	"github.com/architus/guildcast/adapter/internal/wire"
)

// Broadcast sends p to the sockets that opts selects, on all servers. It never waits for Redis.
func (a *classic) Broadcast(p *parser.Packet, opts *socket.BroadcastOptions) {
	if isLocal(opts) {
		a.Adapter.Broadcast(p, opts)
		return
	}
	p, err := replayable(p)
	if err == nil {
		err = a.publishBroadcast(p, wireOptions(opts))
	}
	if err != nil {
		a.unsent("broadcast", err)
	}
	a.Adapter.Broadcast(p, opts)
}

func (a *classic) publishBroadcast(p *parser.Packet, o wire.Options) error {
	msgpack, err := wire.EncodeBroadcast(a.uid, a.nsp, p.Data, o)
	if err != nil {
		return err
	}
	payload, err := encodeWith(a.opts.Codec, msgpack)
	if err != nil {
		return err
	}
	channel := a.base
	if len(o.Rooms.Names) == 1 {
		channel += o.Rooms.Names[0] + "#"
	}
	return a.bus.Publish(channel, payload)
}

// unsent counts and logs what other servers did not get.
func (a *classic) unsent(what string, err error) {
	a.count.unsent.Add(1)
	a.opts.Logger.Warn("not sent to other servers", "namespace", a.nsp, "what", what, "err", err)
}

// request publishes a request, as JSON.
func (a *classic) request(o wire.Object) error {
	payload, err := wire.AppendJSON(nil, o)
	if err != nil {
		return err
	}
	return a.bus.Publish(a.ask, payload)
}

// command publishes a request that wants no answer. Every server serves it when it hears it, this one too; where it
// can't be published, at least this one does.
func (a *classic) command(t wire.RequestType, opts *socket.BroadcastOptions, more wire.Field, local func()) {
	if isLocal(opts) {
		local()
		return
	}
	o := wire.Object{{Key: "uid", Value: a.uid}, {Key: "type", Value: int(t)}}
	o = append(o, wire.Field{Key: "opts", Value: wireOptions(opts).Selection()}, more)
	if err := a.request(o); err != nil {
		a.unsent("request", err)
		local()
	}
}

// AddSockets makes the sockets that opts selects, on all servers, join rooms.
func (a *classic) AddSockets(opts *socket.BroadcastOptions, rooms []socket.Room) {
	a.command(wire.RemoteJoin, opts, wire.Field{Key: "rooms", Value: fromRooms(rooms)}, func() {
		a.Adapter.AddSockets(opts, rooms)
	})
}

// DelSockets makes the sockets that opts selects, on all servers, leave rooms.
func (a *classic) DelSockets(opts *socket.BroadcastOptions, rooms []socket.Room) {
	a.command(wire.RemoteLeave, opts, wire.Field{Key: "rooms", Value: fromRooms(rooms)}, func() {
		a.Adapter.DelSockets(opts, rooms)
	})
}

// DisconnectSockets disconnects the sockets that opts selects, on all servers.
func (a *classic) DisconnectSockets(opts *socket.BroadcastOptions, status bool) {
	a.command(wire.RemoteDisconnect, opts, wire.Field{Key: "close", Value: status}, func() {
		a.Adapter.DisconnectSockets(opts, status)
	})
}

func fromRooms(rooms []socket.Room) []string {
	out := make([]string, len(rooms))
	for i, r := range rooms {
		out[i] = string(r)
	}
	return out
}

// ServerCount is the number of servers in the cluster, this one included. While Redis does not answer it is what it
// was before.
func (a *classic) ServerCount() int64 {
	n := a.servers.Load()
	if !away(a.bus) {
		ctx, cancel := context.WithTimeout(a.run, a.opts.RequestsTimeout)
		defer cancel()
		n, _ = a.countServers(ctx)
	}
	a.counting.release(n)
	return n
}

// away tells whether Redis is known to be lost.
func away(b *bus.Bus) bool {
	s := b.State()
	return !s.Hearing && s.Err != nil
}

func (a *classic) countServers(ctx context.Context) (int64, error) {
	n, err := a.bus.NumSub(ctx, a.ask)
	if err != nil {
		return a.servers.Load(), fmt.Errorf("count servers: %w", err)
	}
	count := max(int64(n), 1)
	a.servers.Store(count)
	return count, nil
}

// question is a request to all other servers, with answers.
type question struct {
	op     string
	typ    wire.RequestType
	fields wire.Object
}

// askOthers asks all other servers and waits for their answers until ctx ends. With the answers of some it returns an
// *IncompleteError.
func (a *classic) askOthers(ctx context.Context, q question) ([]answer, error) {
	n, err := a.countServers(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", q.op, err)
	}
	if n <= 1 {
		return nil, nil
	}
	id := randomID(6)
	r, err := a.pending.open(q.op, id, int(n)-1)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", q.op, err)
	}
	o := wire.Object{{Key: "uid", Value: a.uid}, {Key: "requestId", Value: id}, {Key: "type", Value: int(q.typ)}}
	if err := a.request(append(o, q.fields...)); err != nil {
		a.pending.drop(id)
		return nil, fmt.Errorf("%s: %w", q.op, err)
	}
	got, err := a.pending.wait(ctx, id, r)
	a.count.responses.Add(uint64(len(got)))
	if e := (*IncompleteError)(nil); errors.As(err, &e) {
		a.count.incomplete.Add(1)
		e.Missing = missing(a.peers(), a.uid, got)
	}
	return got, err
}

// timeout is the context of a request: that of the caller, ended by RequestsTimeout and by Close.
func (a *classic) timeout(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, a.opts.RequestsTimeout)
	ctx, abort := context.WithCancelCause(ctx)
	stop := context.AfterFunc(a.run, func() { abort(ErrClosed) })
	return ctx, func() { stop(); abort(nil); cancel() }
}

// FetchSockets passes the sockets that opts selects, of all servers, to a callback. When some servers do not answer it
// gets those of the others, and an *IncompleteError. The callback runs on a goroutine of its own, or, with the local
// flag, before FetchSockets returns.
func (a *classic) FetchSockets(opts *socket.BroadcastOptions) func(func([]socket.SocketDetails, error)) {
	return func(callback func([]socket.SocketDetails, error)) {
		a.Adapter.FetchSockets(opts)(func(found []socket.SocketDetails, err error) {
			if err != nil || isLocal(opts) {
				callback(found, err)
				return
			}
			a.later(func(ctx context.Context) {
				got, err := a.askOthers(ctx, question{"fetch sockets", wire.RemoteFetch, wire.Object{
					{Key: "opts", Value: wireOptions(opts).Selection()},
				}})
				for _, g := range got {
					for v := range g.value.Elems() {
						if s, ok := decodeSocket(v); ok {
							found = append(found, s)
						}
					}
				}
				callback(found, err)
			})
		})
	}
}

// later runs f, with the context of a request, on a goroutine that Close waits for.
func (a *classic) later(f func(context.Context)) {
	a.wg.Go(func() {
		ctx, cancel := a.timeout(context.Background())
		defer cancel()
		f(ctx)
	})
}

// Sockets returns the ids of the sockets in any of rooms, or of all, on all servers. It waits for their answers;
// where some do not come, their sockets are missing, and the log says so.
func (a *classic) Sockets(rooms *types.Set[socket.Room]) *types.Set[socket.SocketId] {
	ids := a.Adapter.Sockets(rooms)
	ctx, cancel := a.timeout(context.Background())
	defer cancel()
	list := names(rooms)
	if list == nil {
		list = []string{}
	}
	got, err := a.askOthers(ctx, question{"list sockets", wire.Sockets, wire.Object{{Key: "rooms", Value: list}}})
	for _, g := range got {
		for v := range g.value.Elems() {
			ids.Add(socket.SocketId(v.Text()))
		}
	}
	if err != nil {
		a.opts.Logger.Warn("list of sockets is incomplete", "namespace", a.nsp, "err", err)
	}
	return ids
}

// AllRooms lists the rooms of all servers, including those that sockets have for themselves, in no order. It ends with
// ctx, or after RequestsTimeout. When some servers do not answer it returns what the others have, and an
// *IncompleteError.
func (a *classic) AllRooms(ctx context.Context) ([]socket.Room, error) {
	ctx, cancel := a.timeout(ctx)
	defer cancel()
	set := types.NewSet(a.localRooms()...)
	got, err := a.askOthers(ctx, question{"list rooms", wire.AllRooms, nil})
	for _, g := range got {
		for v := range g.value.Elems() {
			set.Add(socket.Room(v.Text()))
		}
	}
	return set.Keys(), err
}

func (a *classic) localRooms() []socket.Room { return a.Rooms().Keys() }

// ServerSideEmit emits an event to the other servers. When the last value is a socket.Ack, it gets one value of each,
// and an *IncompleteError when some did not answer.
func (a *classic) ServerSideEmit(packet []any) error {
	var ack socket.Ack
	if n := len(packet); n > 0 {
		if f, ok := packet[n-1].(socket.Ack); ok {
			ack, packet = f, packet[:n-1]
		}
	}
	if len(packet) == 0 {
		return errors.New("server side emit: no event")
	}
	data, err := wire.AppendMsgpack(nil, packet)
	if err != nil {
		return fmt.Errorf("server side emit: %w", err)
	}
	v, err := wire.Parse(data)
	if err != nil {
		return fmt.Errorf("server side emit: %w", err)
	}
	if ack == nil {
		return a.request(wire.Object{
			{Key: "uid", Value: a.uid}, {Key: "type", Value: int(wire.ServerSideEmit)}, {Key: "data", Value: v},
		})
	}
	a.later(func(ctx context.Context) {
		q := question{"server side emit", wire.ServerSideEmit, wire.Object{{Key: "data", Value: v}}}
		got, err := a.askOthers(ctx, q)
		values := make([]any, len(got))
		for i, g := range got {
			values[i] = g.value.Go(toBuffer)
		}
		ack(values, err)
	})
	return nil
}

// peersTimeout bounds the search for the names of servers that did not answer.
const peersTimeout = time.Second

// peers lists the ids of all servers that are subscribed, as far as Redis says: each has a response channel of its own.
func (a *classic) peers() []string {
	ctx, cancel := context.WithTimeout(context.Background(), peersTimeout)
	defer cancel()
	return subscribedIDs(ctx, a.client, a.answer)
}

// newAckRequest is the function of that name, for this adapter.
func (a *classic) newAckRequest(opts *socket.BroadcastOptions, count func(uint64), ack socket.Ack) *ackRequest {
	return newAckRequest(opts, count, ack, a.opts.Logger, &a.wg)
}

// finish forgets an acknowledged broadcast, and counts it if fewer than want other servers have answered; the others are
// named.
func (a *classic) finish(r *ackRequest, want int) (absent []string) {
	a.acks.drop(r.id)
	got := r.servers()
	a.count.responses.Add(uint64(len(got)))
	if len(got) >= want {
		return nil
	}
	a.count.incomplete.Add(1)
	return missing(a.peers(), a.uid, got)
}

// expired logs which servers did not answer an acknowledged broadcast of the library's operator, whose error does not
// say it.
func (a *classic) expired(r *ackRequest) {
	want := int(a.servers.Load()) - 1
	if absent := a.finish(r, want); len(r.servers()) < want {
		a.opts.Logger.Warn("servers did not answer a broadcast with acknowledgement", "namespace", a.nsp,
			"got", len(r.servers()), "want", want, "missing", absent)
	}
}
