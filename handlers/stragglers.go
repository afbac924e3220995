package handlers

import (
	"maps"
	"slices"
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
// up, after the last event that was left out, or when it turns to another guild.
type stragglers struct {
	gateway *Gateway

	mu sync.Mutex
	// missed are the guilds of which an event was left out. It is bounded: the engine closes a connection that never
	// catches up, and a connection's guilds are in its token.
	missed   map[*engine.Conn]map[string]struct{}
	owed     map[*engine.Conn]map[string]struct{} // has caught up, and will be told in its turn
	watching bool                                 // whether a goroutine runs watch
}

func newStragglers(g *Gateway) *stragglers {
	return &stragglers{
		gateway: g, missed: map[*engine.Conn]map[string]struct{}{}, owed: map[*engine.Conn]map[string]struct{}{},
	}
}

// note records that an event of guild was left out for conns. The event's flight has not ended.
func (x *stragglers) note(guild string, conns []*engine.Conn) {
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
		for _, c := range back {
			if s := x.gateway.sessionOf(c); s == nil || !x.gateway.spawn(s.caughtUp) { // it may wait for the turn
				x.settle(c)
			}
		}
		if left == 0 {
			return
		}
	}
}

// caughtUp returns the stragglers that have caught up, which are owed a resync from then on, and how many are left. If
// there are none, watch ends.
func (x *stragglers) caughtUp() (back []*engine.Conn, left int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for c, guilds := range x.missed {
		// An event that is left out from here on is noted after mu is free, and makes c a straggler again.
		if !x.gateway.outlet.resume(c) {
			continue
		}
		delete(x.missed, c)
		if x.owed[c] == nil {
			x.owed[c] = guilds
		} else {
			maps.Copy(x.owed[c], guilds)
		}
		back = append(back, c)
	}
	x.watching = len(x.missed) > 0
	return back, len(x.missed)
}

// of returns the guilds of which c is owed a resync.
func (x *stragglers) of(c *engine.Conn) []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Collect(maps.Keys(x.owed[c]))
}

// settle removes what c is owed, and returns it.
func (x *stragglers) settle(c *engine.Conn) map[string]struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	guilds := x.owed[c]
	delete(x.owed, c)
	return guilds
}

// leave reports whether an event of guild was left out of which c has not been told yet, and forgets it.
func (x *stragglers) leave(c *engine.Conn, guild string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	_, missed := x.missed[c][guild]
	_, owed := x.owed[c][guild]
	delete(x.missed[c], guild) // c itself stays: it has to be resumed
	delete(x.owed[c], guild)
	return missed || owed
}

// caughtUp sends the resync that the socket is owed of the guild that it spectates. Of others it was told when it left
// them.
func (s *session) caughtUp() {
	for _, guild := range s.gateway.stragglers.of(s.conn()) {
		s.gateway.backlogs.pass(guild) // kept events come before: they may be older than what the client requests then
	}
	s.take()
	defer s.give()
	if _, owed := s.gateway.stragglers.settle(s.conn())[s.watched.guild]; owed {
		s.tellMissed(s.watched.guild, reasonClientOverflow)
	}
}
