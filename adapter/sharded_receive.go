package adapter

import (
	"github.com/architus/guildcast/adapter/internal/wire"
	"github.com/architus/guildcast/engine"
)

// onMessage implements protocol.
func (a *sharded) onMessage(_ string, payload []byte) error {
	m, err := decodeMessage(payload)
	switch {
	case err != nil:
		return err
	case m.uid == a.uid:
		a.count.own.Add(1)
		return nil
	case m.nsp != a.nsp:
		return &wire.Error{Reason: wire.OtherNamespace, Detail: m.nsp}
	case m.typ == typeBroadcast:
		return a.onBroadcast(m)
	}
	a.count.requests.Add(1)
	switch m.typ {
	case typeSocketsJoin, typeSocketsLeave, typeDisconnect:
		return a.onCommand(m)
	case typeFetch:
		return a.onFetch(m)
	case typeServerSideEmit:
		return a.onServerSideEmit(m)
	}
	return nil // heartbeats and the like, which this protocol does not use
}

func (a *sharded) onBroadcast(m shardedMessage) error {
	o, err := wire.DecodeOptions(m.data.Get("opts"))
	if err != nil {
		return err
	}
	request := scalarText(m.data.Get("requestId"))
	if request == "" && !a.concerns(o.Rooms) {
		a.count.filtered.Add(1)
		return nil
	}
	p, err := wire.DecodePacket(m.data.Get("packet"))
	if err != nil {
		return err
	}
	if request != "" {
		a.serveAckRequest(p, o, func(n uint64) {
			a.respond(m.uid, typeClientCount, request, wire.Field{Key: "clientCount", Value: n})
		}, func(values []any) { a.respond(m.uid, typeBroadcastAck, request, firstValue(values)...) })
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

// firstValue is the field of an acknowledgement, absent where there is no value, as JavaScript's undefined.
func firstValue(args []any) []wire.Field {
	if len(args) == 0 {
		return nil
	}
	return []wire.Field{{Key: "packet", Value: args[0]}}
}

func (a *sharded) onCommand(m shardedMessage) error {
	o, err := wire.DecodeOptions(m.data.Get("opts"))
	if err != nil {
		return err
	}
	c := message{kind: disconnect, opts: o, close: m.data.Get("close").Truthy()}
	switch m.typ {
	case typeSocketsJoin:
		c.kind = join
	case typeSocketsLeave:
		c.kind = leave
	}
	switch v := m.data.Get("rooms"); {
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

func (a *sharded) onFetch(m shardedMessage) error {
	request := scalarText(m.data.Get("requestId"))
	if request == "" {
		return &wire.Error{Reason: wire.BadShape, Detail: "no requestId"}
	}
	o, err := wire.DecodeOptions(m.data.Get("opts"))
	if err != nil {
		return err
	}
	a.respond(m.uid, typeFetched, request, wire.Field{Key: "sockets", Value: a.describeSockets(&o)})
	return nil
}

func (a *sharded) onServerSideEmit(m shardedMessage) error {
	var reply func([]any)
	if request := scalarText(m.data.Get("requestId")); request != "" {
		reply = func(values []any) { a.respond(m.uid, typeServerSideAck, request, firstValue(values)...) }
	}
	return a.serveEmit(m.data.Get("packet"), reply)
}

// respond answers a request of server asker.
func (a *sharded) respond(asker string, t messageType, request string, more ...wire.Field) {
	data := append(wire.Object{{Key: "requestId", Value: request}}, more...)
	payload, err := encodeMessage(t, data, a.uid, a.nsp)
	if err == nil {
		err = a.publish(a.answers+asker+"#", payload)
	}
	if err != nil {
		a.unsent("answer", err)
	}
}

// onResponse implements protocol.
func (a *sharded) onResponse(payload []byte) error {
	r, err := decodeMessage(payload)
	switch {
	case err != nil:
		return err
	case r.nsp != a.nsp:
		return &wire.Error{Reason: wire.OtherNamespace, Detail: r.nsp}
	case !a.answered(r):
		return &wire.Error{Reason: wire.Unanswerable, Detail: "no such request"}
	}
	return nil
}

// answered gives r to the request that it answers. It is false where none waits.
func (a *sharded) answered(r shardedMessage) bool {
	request := scalarText(r.data.Get("requestId"))
	switch r.typ {
	case typeClientCount:
		call := a.acks.get(request)
		if call == nil {
			return false
		}
		n := r.data.Get("clientCount").Float()
		if !(n >= 0 && n < 1<<53) {
			n = 0
		}
		call.counted(r.uid, uint64(n))
		return true
	case typeBroadcastAck:
		call := a.acks.get(request)
		if call == nil {
			return false
		}
		call.acked(r.data.Get("packet").Go(toBuffer))
		return true
	case typeFetched:
		return a.pending.add(request, answer{r.uid, r.data.Get("sockets")})
	case typeServerSideAck:
		return a.pending.add(request, answer{r.uid, r.data.Get("packet")})
	}
	return false
}
