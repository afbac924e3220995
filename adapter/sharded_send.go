package adapter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io-go-parser/v2/parser"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter/internal/wire"
)

// unsent counts and logs a message that could not be encoded or queued.
func (a *sharded) unsent(what string, err error) {
	a.count.unsent.Add(1)
	a.opts.Logger.Warn("message is not sent to the cluster", "namespace", a.nsp, "what", what, "err", err)
}

// publish sends a message to all other servers, on channel.
func (a *sharded) publish(t messageType, channel string, data wire.Object) error {
	payload, err := encodeMessage(t, data, a.uid, a.nsp)
	if err != nil {
		return err
	}
	return a.bus.SPublish(channel, payload)
}

// shardedOptions is the field of a message that says whom it is for.
func shardedOptions(o wire.Options) wire.Field { return wire.Field{Key: "opts", Value: o.Object()} }

// Broadcast sends p to the sockets that opts selects, on all servers. It does not wait for Redis.
func (a *sharded) Broadcast(p *parser.Packet, opts *socket.BroadcastOptions) {
	if isLocal(opts) {
		a.Adapter.Broadcast(p, opts)
		return
	}
	p, err := replayable(p)
	if err == nil {
		o := wireOptions(opts)
		channel := a.base
		if len(o.Rooms.Names) == 1 && a.opts.SubscriptionMode.ownChannel(o.Rooms.Names[0]) {
			channel += o.Rooms.Names[0] + "#"
		}
		err = a.publish(typeBroadcast, channel, wire.Object{
			{Key: "packet", Value: eventPacket(p.Data)}, shardedOptions(o),
		})
	}
	if err != nil {
		a.unsent("broadcast", err)
	}
	a.Adapter.Broadcast(p, opts)
}

// command publishes what all servers are to do, and does it here.
func (a *sharded) command(t messageType, opts *socket.BroadcastOptions, more wire.Field, here func()) {
	if !isLocal(opts) {
		if err := a.publish(t, a.base, wire.Object{shardedOptions(wireOptions(opts)), more}); err != nil {
			a.unsent("command", err)
		}
	}
	here()
}

// AddSockets makes the sockets that opts selects join rooms, on all servers.
func (a *sharded) AddSockets(opts *socket.BroadcastOptions, rooms []socket.Room) {
	a.command(typeSocketsJoin, opts, wire.Field{Key: "rooms", Value: fromRooms(rooms)}, func() {
		a.Adapter.AddSockets(opts, rooms)
	})
}

// DelSockets makes the sockets that opts selects leave rooms, on all servers.
func (a *sharded) DelSockets(opts *socket.BroadcastOptions, rooms []socket.Room) {
	a.command(typeSocketsLeave, opts, wire.Field{Key: "rooms", Value: fromRooms(rooms)}, func() {
		a.Adapter.DelSockets(opts, rooms)
	})
}

// DisconnectSockets disconnects the sockets that opts selects, on all servers.
func (a *sharded) DisconnectSockets(opts *socket.BroadcastOptions, closing bool) {
	a.command(typeDisconnect, opts, wire.Field{Key: "close", Value: closing}, func() {
		a.Adapter.DisconnectSockets(opts, closing)
	})
}

// ServerCount is the number of servers in the cluster, this one included. It asks Redis; when Redis does not answer it
// is the last known number.
func (a *sharded) ServerCount() int64 {
	n := max(a.servers.Load(), 1)
	if !away(a.bus) {
		ctx, cancel := a.timeout(context.Background())
		defer cancel()
		var err error
		if n, err = a.countServers(ctx); err != nil {
			a.opts.Logger.Warn("servers are not counted", "namespace", a.nsp, "err", err)
		}
	}
	a.counting.release(n)
	return n
}

func (a *sharded) countServers(ctx context.Context) (int64, error) {
	n, err := a.bus.ShardNumSub(ctx, a.base)
	if err != nil {
		return max(a.servers.Load(), 1), err
	}
	count := max(int64(n), 1)
	a.servers.Store(count)
	return count, nil
}

// timeout is the context of a request: that of the caller, ended by RequestsTimeout and by Close.
func (a *sharded) timeout(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, a.opts.RequestsTimeout)
	stop := context.AfterFunc(a.run, cancel)
	return ctx, func() { stop(); cancel() }
}

// askOthers asks all other servers and waits for their answers until ctx ends. With the answers of some it returns an
// *IncompleteError.
func (a *sharded) askOthers(ctx context.Context, op string, t messageType, fields func(request string) wire.Object) ([]answer, error) {
	n, err := a.countServers(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	if n <= 1 {
		return nil, nil
	}
	id := randomHex()
	r, err := a.pending.open(op, id, int(n)-1)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	if err := a.publish(t, a.base, fields(id)); err != nil {
		a.pending.drop(id)
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	got, err := a.pending.wait(ctx, id, r)
	a.count.responses.Add(uint64(len(got)))
	if e := (*IncompleteError)(nil); errors.As(err, &e) {
		a.count.incomplete.Add(1)
		e.Missing = missing(a.peers(), a.uid, got)
	}
	return got, err
}

// fetch asks all other servers for the sockets that o selects.
func (a *sharded) fetch(ctx context.Context, op string, o wire.Options) ([]*remoteSocket, error) {
	got, err := a.askOthers(ctx, op, typeFetch, func(request string) wire.Object {
		return wire.Object{shardedOptions(o), {Key: "requestId", Value: request}}
	})
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
// gets those of the others, and an *IncompleteError. Where only this server is asked the callback runs before
// FetchSockets returns, and else on a goroutine of its own.
func (a *sharded) FetchSockets(opts *socket.BroadcastOptions) func(func([]socket.SocketDetails, error)) {
	return func(callback func([]socket.SocketDetails, error)) {
		a.Adapter.FetchSockets(opts)(func(found []socket.SocketDetails, err error) {
			if err != nil || isLocal(opts) {
				callback(found, err)
				return
			}
			a.later(func(ctx context.Context) {
				remote, err := a.fetch(ctx, "fetch sockets", wireOptions(opts))
				for _, s := range remote {
					found = append(found, s)
				}
				callback(found, err)
			})
		})
	}
}

// later runs f, with the context of a request, on a goroutine that Close waits for.
func (a *sharded) later(f func(context.Context)) {
	a.wg.Go(func() {
		ctx, cancel := a.timeout(context.Background())
		defer cancel()
		guard(a.opts.Logger, func() { f(ctx) })
	})
}

// Sockets returns the ids of the sockets in any of rooms, or of all, on all servers. It waits for their answers;
// where some do not come, their sockets are missing, and the log says so.
func (a *sharded) Sockets(rooms *types.Set[socket.Room]) *types.Set[socket.SocketId] {
	ids := a.Adapter.Sockets(rooms)
	ctx, cancel := a.timeout(context.Background())
	defer cancel()
	remote, err := a.fetch(ctx, "list sockets", wire.Options{Rooms: wire.Rooms{Names: names(rooms)}})
	for _, s := range remote {
		ids.Add(s.id)
	}
	if err != nil {
		a.opts.Logger.Warn("list of sockets is incomplete", "namespace", a.nsp, "err", err)
	}
	return ids
}

// AllRooms lists the rooms of all servers, including those that sockets have for themselves, in no order. The protocol
// has no question for it: it is put together from the sockets' descriptions. It ends with ctx, or after
// RequestsTimeout. When some servers do not answer it returns what the others have, and an *IncompleteError.
func (a *sharded) AllRooms(ctx context.Context) ([]socket.Room, error) {
	ctx, cancel := a.timeout(ctx)
	defer cancel()
	set := types.NewSet(a.Rooms().Keys()...)
	remote, err := a.fetch(ctx, "list rooms", wire.Options{})
	for _, s := range remote {
		set.Add(s.rooms.Keys()...)
	}
	return set.Keys(), err
}

// ServerSideEmit emits an event to the other servers. When the last value is a socket.Ack, it gets one value of each,
// and an *IncompleteError when some did not answer.
func (a *sharded) ServerSideEmit(packet []any) error {
	var ack socket.Ack
	if n := len(packet); n > 0 {
		if f, ok := packet[n-1].(socket.Ack); ok {
			ack, packet = f, packet[:n-1]
		}
	}
	if len(packet) == 0 {
		return errors.New("server side emit: no event")
	}
	if _, ok := packet[0].(string); !ok {
		return errors.New("server side emit: no event")
	}
	data, err := frozen(packet)
	if err != nil {
		return fmt.Errorf("server side emit: %w", err)
	}
	event := wire.Field{Key: "packet", Value: data}
	if ack == nil {
		if err := a.publish(typeServerSideEmit, a.base, wire.Object{event}); err != nil {
			return fmt.Errorf("server side emit: %w", err)
		}
		return nil
	}
	a.later(func(ctx context.Context) {
		got, err := a.askOthers(ctx, "server side emit", typeServerSideEmit, func(request string) wire.Object {
			return wire.Object{event, {Key: "requestId", Value: request}}
		})
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

// shardedPeersTimeout bounds the search for the names of servers that did not answer.
const shardedPeersTimeout = time.Second

// peers lists the ids of all servers that are subscribed, as far as Redis says: each has a response channel of its own.
func (a *sharded) peers() []string {
	ctx, cancel := context.WithTimeout(a.run, shardedPeersTimeout)
	defer cancel()
	var uids []string
	for _, channel := range shardChannels(ctx, a.client, globEscape(a.base)+"????????????????#") {
		if uid := channel[len(a.base) : len(channel)-1]; isServerID(uid) {
			uids = append(uids, uid)
		}
	}
	return uids
}

// isServerID tells whether s looks like randomHex's results. A room of such a name would be taken for a server.
func isServerID(s string) bool {
	for _, c := range s {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(s) == 16
}

// shardChannels lists the sharded channels that match pattern, on all primaries of a cluster.
func shardChannels(ctx context.Context, client redis.UniversalClient, pattern string) []string {
	lists := make(chan []string, 1024)
	one := func(ctx context.Context, c redis.UniversalClient) error {
		l, err := c.PubSubShardChannels(ctx, pattern).Result()
		select {
		case lists <- l:
		default: // a cluster with more primaries than Redis supports
		}
		return err
	}
	if c, ok := client.(interface {
		ForEachMaster(context.Context, func(context.Context, *redis.Client) error) error
	}); ok {
		// An error of one primary leaves what the others know: the list is only a hint.
		_ = c.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return one(ctx, c) })
	} else {
		_ = one(ctx, client)
	}
	close(lists)
	var all []string
	for l := range lists {
		all = append(all, l...)
	}
	return all
}

// newAckRequest is the function of that name, for this adapter.
func (a *sharded) newAckRequest(opts *socket.BroadcastOptions, count func(uint64), ack socket.Ack) *ackRequest {
	return newAckRequest(opts, count, ack, a.opts.Logger, &a.wg)
}

// finish forgets an acknowledged broadcast, and counts it if fewer than want other servers have answered; the others are
// named.
func (a *sharded) finish(r *ackRequest, want int) (absent []string) {
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
func (a *sharded) expired(r *ackRequest) {
	want := int(a.servers.Load()) - 1
	if absent := a.finish(r, want); len(r.servers()) < want {
		a.opts.Logger.Warn("servers did not answer a broadcast with acknowledgement", "namespace", a.nsp,
			"got", len(r.servers()), "want", want, "missing", absent)
	}
}
