package adapter

import (
	"github.com/architus/guildcast/adapter/internal/wire"
)

// onResponse implements protocol.
func (a *sharded) onResponse(payload []byte) error {
	r, err := wire.DecodeMessage(payload)
	if err != nil {
		return err
	}
	if own, err := a.checkNamespace(r.Nsp); !own {
		return err
	}
	switch r.Type {
	case wire.ShardedFetched, wire.ShardedServerSideAck, wire.ShardedClientCount, wire.ShardedBroadcastAck:
		if !a.answered(r) {
			return &wire.Error{Reason: wire.Unanswerable, Detail: "no such request"}
		}
		return nil
	}
	return &wire.Error{Reason: wire.BadRequestType, Detail: "request on the channel of responses"}
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
