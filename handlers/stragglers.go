package handlers

import (
	"sync"
	"time"

	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/event"
)

// reasonClientOverflow is the reason of a resync where the client itself was too slow.
const reasonClientOverflow = "client_overflow"

// stragglerStep is how often stragglers are looked at while there are any.
const stragglerStep = 20 * time.Millisecond

// lossOf says whether an event of a topic may be left out for a client that is behind. An update of an entity can be
// made up for: the client asks for the pool again. An entry of the log can't, and is left out only where the connection
// would be closed otherwise, of which the client would have less. Both are followed by a resync.
func lossOf(t event.Topic) engine.Loss {
	if t.Logs {
		return engine.ShedWhenFull
	}
	return engine.ShedWhenBehind
}

// stragglers are the connections for which guild events were left out. Each gets one resync, behind the last of them,
// as soon as it has caught up.
type stragglers struct {
	gateway *Gateway

	mu sync.Mutex
	// missed are the guilds of which something was left out. A connection that never catches up is closed by the
	// engine, so that it does not stay; its guilds are some that its token names.
	missed   map[*engine.Conn]map[string]struct{}
	watching bool // a goroutine looks after them
}

func newStragglers(g *Gateway) *stragglers {
	return &stragglers{gateway: g, missed: map[*engine.Conn]map[string]struct{}{}}
}

// note records that an event of guild was left out for conns. It is called before the event's flight ends.
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

// watch looks after stragglers until there are none.
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
				x.gateway.spawn(func() { s.caughtUp(guilds) }) // which may have to wait for its turn
			}
		}
		if left == 0 {
			return
		}
	}
}

// caughtUp takes those out that have caught up. Where none is left, watch ends.
func (x *stragglers) caughtUp() (back map[*engine.Conn]map[string]struct{}, left int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for c, guilds := range x.missed {
		// An event that is left out from here on is noted after mu is free, and so makes a straggler of it again.
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

// caughtUp tells the client that events were left out, if it still spectates their guild.
func (s *session) caughtUp(guilds map[string]struct{}) {
	s.take()
	defer s.give()
	if _, missed := guilds[s.watched.guild]; missed {
		s.gateway.metrics.resyncs.Inc()
		s.emit(eventResync, s.form, encode(resyncBody{s.watched.guild, reasonClientOverflow}))
	}
}
