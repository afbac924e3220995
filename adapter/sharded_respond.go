package adapter

import (
	"github.com/architus/guildcast/adapter/internal/wire"
)

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

// firstValue is the field of an acknowledgement, absent if there is no value, as JavaScript's undefined.
func firstValue(args []any) []wire.Field {
	if len(args) == 0 {
		return nil
	}
	return []wire.Field{{Key: "packet", Value: args[0]}}
}
