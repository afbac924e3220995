package adapter

import (
	"bytes"
	"fmt"

	"github.com/architus/guildcast/adapter/internal/wire"
)

// onResponse implements protocol. Those to other servers come too.
func (a *classic) onResponse(payload []byte) error {
	if a.pending.n.Load() == 0 && a.acks.empty() {
		return a.checkResponse(payload)
	}
	payload, err := a.decodeUnlessJSON(payload)
	if err != nil {
		return err
	}
	r, err := wire.DecodeResponse(payload)
	if err != nil {
		return err
	}
	if ack := a.acks.get(r.ID); ack != nil {
		switch r.Type {
		case wire.ClientCount:
			ack.counted(r.UID, r.ClientCount)
		case wire.AckValue:
			ack.acked(r.Value.Go(toBuffer))
		default:
			return &wire.Error{Reason: wire.BadRequestType, Detail: fmt.Sprint(r.Type)}
		}
		return nil
	}
	value := r.Value
	switch {
	case r.Sockets.Present():
		value = r.Sockets
	case r.Rooms.Present():
		value = r.Rooms
	}
	a.pending.add(r.ID, answer{uid: r.UID, value: value})
	return nil
}

// checkResponse returns an error for what is no response to any server. It does not decode: every response has a
// requestId. It knows nothing of what a codec encoded.
func (a *classic) checkResponse(payload []byte) error {
	if a.opts.Codec != nil && payload[0] != '{' || bytes.Contains(payload, []byte("requestId")) ||
		bytes.Contains(payload, []byte("requestid")) {
		return nil
	}
	return &wire.Error{Reason: wire.BadShape, Detail: "response without requestId"}
}
