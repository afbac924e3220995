package adapter

import (
	"github.com/architus/guildcast/adapter/internal/wire"
)

// onRequest serves a command or question of another server, or of an emitter.
func (a *sharded) onRequest(m wire.ShardedMessage) (err error) {
	switch m.Type {
	case wire.ShardedFetch:
		err = a.onFetch(m)
	case wire.ShardedServerSideEmit:
		err = a.onServerSideEmit(m)
	default:
		err = a.onCommand(m)
	}
	if err == nil {
		a.count.requests.Add(1)
	}
	return err
}

func (a *sharded) onCommand(m wire.ShardedMessage) error {
	opts := m.Data.Get("opts")
	if !opts.Present() { // it would be everybody
		return &wire.Error{Reason: wire.BadShape, Detail: "command without opts"}
	}
	o, err := wire.DecodeOptions(opts)
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
