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
	}
	due := g.resyncs.add(g.spectators.of(topics))
	if len(due) > 0 {
		g.spawn(func() { g.resyncs.send(due, reason) })
	}
}

// spectating is a socket that spectates a guild.
type spectating struct {
	session *session
	guild   string
}

// resyncs are the resyncs that are still to be sent.
type resyncs struct {
	gateway *Gateway

	mu      sync.Mutex
	pending map[spectating]struct{}
}

func newResyncs(g *Gateway) *resyncs {
	return &resyncs{gateway: g, pending: map[spectating]struct{}{}}
}

// add returns those of list that have no resync pending yet.
func (x *resyncs) add(list []spectating) (due []spectating) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, s := range list {
		if _, told := x.pending[s]; !told {
			x.pending[s] = struct{}{}
			due = append(due, s)
		}
	}
	return due
}

// send sends the resyncs of due, one after another.
func (x *resyncs) send(due []spectating, reason string) {
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
		x.mu.Lock()
		delete(x.pending, s) // before its resync: what it misses from here on is another loss
		x.mu.Unlock()
		x.gateway.spawn(func() { s.session.resync(s.guild, reason) }) // which may have to wait for its turn
	}
}

// resync sends a resync, unless the socket spectates another guild by now.
//
// It comes behind the kept events of the guild, which may be older than what the client requests upon it.
func (s *session) resync(guild, reason string) {
	s.gateway.backlogs.pass(guild)
	s.take()
	defer s.give()
	if s.watched.guild == guild {
		s.gateway.metrics.resyncs.Inc()
		s.emit(eventResync, s.form, encode(resyncBody{guild, reason}))
	}
}
