package adapter

import (
	"github.com/architus/guildcast/adapter/internal/wire"
	"github.com/architus/guildcast/engine"
)

// onMessage implements protocol.
func (a *sharded) onMessage(_ string, payload []byte) error {
	m, err := wire.DecodeMessage(payload)
	switch {
	case err != nil:
		return err
	case m.UID == a.uid:
		a.count.own.Add(1)
		return nil
	case m.Nsp != a.nsp:
		return &wire.Error{Reason: wire.OtherNamespace, Detail: m.Nsp}
	case m.Type == wire.ShardedBroadcast:
		return a.onBroadcast(m)
	}
	a.count.requests.Add(1)
	switch m.Type {
	case wire.ShardedJoin, wire.ShardedLeave, wire.ShardedDisconnect:
		return a.onCommand(m)
	case wire.ShardedFetch:
		return a.onFetch(m)
	case wire.ShardedServerSideEmit:
		return a.onServerSideEmit(m)
	}
	return nil // heartbeats and the like, which this protocol does not use
}

func (a *sharded) onBroadcast(m wire.ShardedMessage) error {
	o, err := wire.DecodeOptions(m.Data.Get("opts"))
	if err != nil {
		return err
	}
	request := wire.ScalarText(m.Data.Get("requestId"))
	if request == "" && !a.concerns(o.Rooms) {
		a.count.filtered.Add(1)
		return nil
	}
	p, err := wire.DecodePacket(m.Data.Get("packet"))
	if err != nil {
		return err
	}
	if request != "" {
		a.serveAckRequest(p, o, func(n uint64) {
			a.respond(m.UID, wire.ShardedClientCount, request, wire.Field{Key: "clientCount", Value: n})
		}, func(values []any) { a.respond(m.UID, wire.ShardedBroadcastAck, request, firstValue(values)...) })
		return nil
	}
	args, attachments, err := p.Args()
	if err != nil {
		return err
	}
	a.count.broadcasts.Add(1)
	a.BroadcastMessage(engine.NewEventMessage(a.nsp, args, attachments), libraryOptions(o))
	return nil
}

// firstValue is the field of an acknowledgement, absent if there is no value, as JavaScript's undefined.
func firstValue(args []any) []wire.Field {
	if len(args) == 0 {
		return nil
	}
	return []wire.Field{{Key: "packet", Value: args[0]}}
}

func (a *sharded) onCommand(m wire.ShardedMessage) error {
	o, err := wire.DecodeOptions(m.Data.Get("opts"))
	if err != nil {
		return err
	}
	c := message{kind: disconnect, opts: o, close: m.Data.Get("close").Truthy()}
	switch m.Type {
	case wire.ShardedJoin:
		c.kind = join
	case wire.ShardedLeave:
		c.kind = leave
	}
	switch v := m.Data.Get("rooms"); {
	case c.kind == disconnect:
	case v.Kind() == wire.Array:
		for r := range v.Elems() {
			c.rooms = append(c.rooms, r.Text())
		}
	case v.Kind() == wire.String:
		c.rooms = append(c.rooms, v.Text())
	default:
		return &wire.Error{Reason: wire.BadShape, Detail: "rooms"}
	}
	a.serveCommand(c)
	return nil
}

func (a *sharded) onFetch(m wire.ShardedMessage) error {
	request := wire.ScalarText(m.Data.Get("requestId"))
	if request == "" {
		return &wire.Error{Reason: wire.BadShape, Detail: "no requestId"}
	}
	o, err := wire.DecodeOptions(m.Data.Get("opts"))
	if err != nil {
		return err
	}
	a.respond(m.UID, wire.ShardedFetched, request, wire.Field{Key: "sockets", Value: a.describeSockets(&o)})
	return nil
}

func (a *sharded) onServerSideEmit(m wire.ShardedMessage) error {
	var reply func([]any)
	if request := wire.ScalarText(m.Data.Get("requestId")); request != "" {
		reply = func(values []any) { a.respond(m.UID, wire.ShardedServerSideAck, request, firstValue(values)...) }
	}
	return a.serveEmit(m.Data.Get("packet"), reply)
}

// respond answers a request of server asker.
func (a *sharded) respond(asker string, t wire.MessageType, request string, more ...wire.Field) {
	data := append(wire.Object{{Key: "requestId", Value: request}}, more...)
	payload, err := wire.EncodeMessage(t, data, a.uid, a.nsp)
	if err == nil {
		err = a.publish(a.answers+asker+"#", payload)
	}
	if err != nil {
		a.unsent("answer", err)
	}
}

// onResponse implements protocol.
func (a *sharded) onResponse(payload []byte) error {
	r, err := wire.DecodeMessage(payload)
	switch {
	case err != nil:
		return err
	case r.Nsp != a.nsp:
		return &wire.Error{Reason: wire.OtherNamespace, Detail: r.Nsp}
	case !a.answered(r):
		return &wire.Error{Reason: wire.Unanswerable, Detail: "no such request"}
	}
	return nil
}

// answered hands r to the request that it answers. It returns false if none waits.
func (a *sharded) answered(r wire.ShardedMessage) bool {
	request := wire.ScalarText(r.Data.Get("requestId"))
	switch r.Type {
	case wire.ShardedClientCount:
		call := a.acks.get(request)
		if call == nil {
			return false
		}
		n := r.Data.Get("clientCount").Float()
		if !(n >= 0 && n < 1<<53) {
			n = 0
		}
		call.counted(r.UID, uint64(n))
		return true
	case wire.ShardedBroadcastAck:
		call := a.acks.get(request)
		if call == nil {
			return false
		}
		call.acked(r.Data.Get("packet").Go(toBuffer))
		return true
	case wire.ShardedFetched:
		return a.pending.add(request, answer{r.UID, r.Data.Get("sockets")})
	case wire.ShardedServerSideAck:
		return a.pending.add(request, answer{r.UID, r.Data.Get("packet")})
	}
	return false
}
