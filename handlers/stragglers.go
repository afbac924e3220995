package handlers

import (
	"sync"
	"time"

	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/event"
)

// reasonClientOverflow is the reason of a resync if the client itself was too slow.
const reasonClientOverflow = "client_overflow"

// stragglerStep is how often stragglers are checked while there are any.
const stragglerStep = 20 * time.Millisecond

// lossOf returns when an event of a topic may be left out for a client that is behind. An update of an entity can be:
// the client requests the pool again. A log entry can't be requested again, so it is left out only if the connection
// would be closed otherwise. A resync follows in both cases.
func lossOf(t event.Topic) engine.Loss {
	if t.Logs {
		return engine.ShedWhenFull
	}
	return engine.ShedWhenBehind
}

// stragglers are the connections for which guild events were left out. Each gets one resync as soon as it has caught
// up, after the last event that was left out.
type stragglers struct {
	gateway *Gateway

	mu sync.Mutex
	// missed are the guilds of which an event was left out. It is bounded: the engine closes a connection that never
	// catches up, and a connection's guilds are in its token.
	missed   map[*engine.Conn]map[string]struct{}
	watching bool // whether a goroutine runs watch
}

func newStragglers(g *Gateway) *stragglers {
	return &stragglers{gateway: g, missed: map[*engine.Conn]map[string]struct{}{}}
}

// note records that an event of guild was left out for conns. The event's flight has not ended.
func (x *stragglers) note(guild string, conns []*engine.Conn) {
	x.gateway.metrics.shed.Add(float64(len(conns)))
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, c := range conns {
		if x.missed[c] == nil {
			x.missed[c] = map[string]struct{}{}
		}
		x.missed[c][guild] = struct{}{}
	}
	if !x.watching {
		x.watching = x.gateway.spawn(x.watch)
	}
}

// watch sends resyncs to stragglers that have caught up, until there are no stragglers.
func (x *stragglers) watch() {
	tick := time.NewTicker(stragglerStep)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-x.gateway.ctx.Done():
			return
		}
		back, left := x.caughtUp()
		for c, guilds := range back {
			if s := x.gateway.sessionOf(c); s != nil {
				x.gateway.spawn(func() { s.caughtUp(guilds) }) // it may wait for the turn
			}
		}
		if left == 0 {
			return
		}
	}
}

// caughtUp removes and returns the stragglers that have caught up, and returns how many are left. If there are none,
// watch ends.
func (x *stragglers) caughtUp() (back map[*engine.Conn]map[string]struct{}, left int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for c, guilds := range x.missed {
		// An event that is left out from here on is noted after mu is free, and makes c a straggler again.
		if x.gateway.outlet.resume(c) {
			if back == nil {
				back = map[*engine.Conn]map[string]struct{}{}
			}
			back[c] = guilds
			delete(x.missed, c)
		}
	}
	x.watching = len(x.missed) > 0
	return back, len(x.missed)
}

// caughtUp sends a resync if the socket still spectates one of the guilds.
func (s *session) caughtUp(guilds map[string]struct{}) {
	for guild := range guilds {
		s.gateway.backlogs.pass(guild) // kept events come before: they may be older than what the client requests then
	}
	s.take()
	defer s.give()
	if _, missed := guilds[s.watched.guild]; missed {
		s.gateway.metrics.resyncs.Inc()
		s.emit(eventResync, s.form, encode(resyncBody{s.watched.guild, reasonClientOverflow}))
	}
}
