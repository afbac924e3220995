package adapter

import (
	"sync/atomic"

	"github.com/architus/guildcast/adapter/internal/wire"
	"github.com/architus/guildcast/bus"
)

// Stats are counters since the start. They only grow.
type Stats struct {
	// Broadcasts were handed to local sockets.
	Broadcasts uint64
	// Filtered were meant for rooms without a member here, and were dropped undecoded. Bus.ReceiveSkipped counts those
	// that were not even read.
	Filtered uint64
	// Own came back from Redis to the server that sent them.
	Own uint64
	// Requests of other servers were served.
	Requests uint64
	// Responses to our requests came in time.
	Responses uint64
	// Incomplete requests ended without all answers.
	Incomplete uint64
	// Unsent messages could not be encoded or queued.
	Unsent uint64
	// Dropped messages from Redis, by reason.
	Dropped map[string]uint64
	// Bus has the counters of the connections. It is zero if the server has no namespace any more.
	Bus bus.Stats
}

// counters are the atomic form of Stats.
type counters struct {
	broadcasts, filtered, own, requests, responses, incomplete, unsent atomic.Uint64

	dropped [wire.NumReasons]atomic.Uint64
}

func (c *counters) stats() Stats {
	s := Stats{
		Broadcasts: c.broadcasts.Load(), Filtered: c.filtered.Load(), Own: c.own.Load(),
		Requests: c.requests.Load(), Responses: c.responses.Load(), Incomplete: c.incomplete.Load(),
		Unsent: c.unsent.Load(), Dropped: map[string]uint64{},
	}
	for r := range c.dropped {
		s.Dropped[wire.Reason(r).String()] = c.dropped[r].Load()
	}
	return s
}
