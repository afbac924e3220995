package adapter

import (
	"github.com/architus/guildcast/adapter/internal/wire"
)

// respond answers r, if an answer is wanted.
func (a *classic) respond(r wire.Request, o wire.Object) {
	if r.ID != "" {
		a.publishResponse(a.responseChannel(r), o)
	}
}

// answerEmit publishes the first value that a listener answered, if any. It always goes to all servers, as in Node.js.
func (a *classic) answerEmit(r wire.Request, args []any) {
	o := wire.Object{{Key: "type", Value: int(wire.ServerSideEmit)}, {Key: "requestId", Value: r.ID}}
	if len(args) > 0 {
		o = append(o, wire.Field{Key: "data", Value: args[0]})
	}
	a.publishResponse(a.answers, o)
}

// publishResponse publishes an answer. It adds this server's id, which Node.js does not, so that the asking server can
// tell who did not answer.
func (a *classic) publishResponse(channel string, o wire.Object) {
	payload, err := wire.AppendJSON(nil, append(o, wire.Field{Key: "uid", Value: a.uid}))
	if err == nil {
		err = a.publish(channel, payload)
	}
	if err != nil {
		a.unsent("response", err)
	}
}

// respondAck publishes the answer of one client, in msgpack because it may be binary.
func (a *classic) respondAck(r wire.Request, values []any) {
	var value any
	if len(values) > 0 {
		value = values[0]
	}
	msgpack, err := wire.AppendMsgpack(nil, wire.Object{
		{Key: "type", Value: int(wire.AckValue)},
		{Key: "requestId", Value: r.ID},
		{Key: "packet", Value: value},
	})
	if err == nil {
		msgpack, err = wire.EncodeWith(a.opts.Codec, msgpack)
	}
	if err == nil {
		err = a.publish(a.responseChannel(r), msgpack)
	}
	if err != nil {
		a.unsent("acknowledgement", err)
	}
}

func (a *classic) responseChannel(r wire.Request) string {
	if a.opts.PublishOnSpecificResponseChannel && r.UID != "" {
		return a.answers + r.UID + "#"
	}
	return a.answers
}
