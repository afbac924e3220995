package handlers

import (
	"sync"
	"time"

	"github.com/architus/guildcast/event"
)

// After a loss each spectator requests several pools again. Spectators get their resyncs one after another, so that
// neither they nor the node nor the bot's workers have all the work at once.
const (
	resyncStep   = time.Millisecond // from one spectator to the next
	resyncSpread = 5 * time.Second  // at most, from the first spectator to the last
)

// resyncBody is the payload of resync.
type resyncBody struct {
	GuildID string `json:"guild_id"`
	Reason  string `json:"reason"`
}

// Resync tells the sockets that spectate one of topics that they may have missed events: each once, one after another,
// guild by guild. Reason is a word for programs. Resync returns at once.
func (g *Gateway) Resync(topics []event.Topic, reason string) {
	for _, t := range topics {
		if !t.Logs {
			g.directories.Lost(t.Guild)
		}
		if st := g.streams.of(t.Guild); st != nil {
			st.lost()
		}
	}
	due := g.resyncs.add(g.spectators.of(topics), reason)
	if len(due) > 0 {
		g.spawn(func() { g.resyncs.send(due) })
	}
}

// spectating is a socket that spectates a guild.
type spectating struct {
	session *session
	guild   string
}

// resyncs are the resyncs that are still to be sent. One that waits for its time is sent at once if its socket turns to
// another guild: it has missed events all the same.
type resyncs struct {
	gateway *Gateway

	mu      sync.Mutex
	pending map[spectating]*dueResync
}

// dueResync is a resync to be sent. Guarded by resyncs.mu.
type dueResync struct {
	reason string
	again  bool // events were lost once more, so that what is kept now must come before it, too
}

func newResyncs(g *Gateway) *resyncs {
	return &resyncs{gateway: g, pending: map[spectating]*dueResync{}}
}

// add returns those of list that have no resync pending yet.
func (x *resyncs) add(list []spectating, reason string) (due []spectating) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, s := range list {
		if p := x.pending[s]; p != nil {
			p.again = true
			continue
		}
		x.pending[s] = &dueResync{reason: reason}
		due = append(due, s)
	}
	return due
}

// send sends the resyncs of due, one after another.
func (x *resyncs) send(due []spectating) {
	step := min(resyncStep, resyncSpread/time.Duration(len(due)))
	begin := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i, s := range due { // the first after a step, for a loss seldom comes alone
		if wait := time.Until(begin.Add(time.Duration(i+1) * step)); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-x.gateway.ctx.Done():
				return
			}
		}
		x.gateway.spawn(func() { s.session.resync(s.guild) }) // which may have to wait for its turn
	}
}

// take takes the resync of s, if one is due. It is not, unless at once is set, if events were lost once more (again):
// what has been kept since must come before it, too.
func (x *resyncs) take(s spectating, atOnce bool) (reason string, again, due bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	p := x.pending[s]
	switch {
	case p == nil:
		return "", false, false
	case p.again && !atOnce:
		p.again = false
		return "", true, false
	}
	delete(x.pending, s)
	return p.reason, false, true
}

// resync sends a pending resync.
//
// It comes behind the kept events of the guild, which may be older than what the client requests upon it.
func (s *session) resync(guild string) {
	for again := true; again; {
		s.gateway.backlogs.pass(guild)
		s.take()
		var reason string
		var due bool
		if reason, again, due = s.gateway.resyncs.take(spectating{s, guild}, false); due {
			s.tellMissed(guild, reason)
		}
		s.give()
	}
}

// leave sends the resync that is due for a guild that the socket has turned away from. No event of the guild is on its
// way any more, and no loss is noted from here on. The turn is held.
func (s *session) leave(guild string) {
	reason, _, due := s.gateway.resyncs.take(spectating{s, guild}, true)
	if s.gateway.stragglers.leave(s.conn(), guild) && !due {
		reason, due = reasonClientOverflow, true
	}
	if due && !s.closed {
		s.tellMissed(guild, reason)
	}
}

// resyncLater tells a socket, in its turn, that it has missed events, if it still spectates guild.
func (g *Gateway) resyncLater(s *session, guild string) {
	g.spawn(func() {
		g.backlogs.pass(guild)
		s.take()
		defer s.give()
		if s.watched.guild == guild {
			s.tellMissed(guild, reasonClientOverflow)
		}
	})
}

func (s *session) tellMissed(guild, reason string) {
	s.gateway.metrics.resyncs.Inc()
	s.emit(eventResync, s.form, encode(resyncBody{guild, reason}))
}
