package handlers

import (
	"context"
	"time"

	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/permissions"
)

// maxBacklog is the most events that a client can ask for without saying since when.
const maxBacklog = 500

// Outcomes of replays, which label a counter.
const (
	replayRecovered     = "recovered"     // all since the client's position
	replayUnrecoverable = "unrecoverable" // the history does not reach back to it
	replayBacklog       = "backlog"       // the latest events
	replaySlow          = "slow"          // what was left out for a client that reads slowly
)

// recall is what a spectate asks of the past.
type recall struct {
	positions bool              // events come with their positions
	since     *history.Position // nil: not asked for
	backlog   int               // how many of the latest events, if those since are not asked for or can't be had
}

// asks reports whether anything of the past is asked for.
func (c *recall) asks() bool { return c.since != nil || c.backlog > 0 }

// recall parses what the request asks of the past.
func (r *request) recall() (c recall, err *Error) {
	if c.positions, err = r.flag("positions"); err != nil {
		return c, err
	}
	text, err := r.text("since")
	if err != nil {
		return c, err
	}
	if r.has("since") {
		p, bad := history.ParsePosition(text)
		if bad != nil {
			return c, malformed("since must be a position as guild events and spectate_return have it.")
		}
		c.since = &p
	}
	n, err := r.integer("backlog", 0)
	if err != nil {
		return c, err
	}
	if n > maxBacklog {
		return c, malformed("backlog must be 0 to %d.", maxBacklog)
	}
	c.backlog = int(n)
	c.positions = c.positions || r.has("since") || r.has("backlog")
	return c, nil
}

// recalled is what became of a recall.
type recalled struct {
	position  history.Position // where the client stands once it has what is replayed
	known     bool             // there is such a position
	recovered bool             // nothing since the client's position is missing
	replayed  int              // events that will be replayed
}

// outcome labels the counter of replays.
func (c *recall) outcome(got recalled) string {
	switch {
	case got.recovered:
		return replayRecovered
	case c.since != nil:
		return replayUnrecoverable
	}
	return replayBacklog
}

// prepare reads what c asks for, unless it is there already. The caller needs the window of st. Ahead reports whether
// the client stands behind the latest event that this node has handled. If the past can't be had, reachable is false.
func (st *stream) prepare(ctx context.Context, c recall) (ahead, reachable bool) {
	if c.since == nil {
		return false, st.prepareFrom(ctx, history.Position{}, true)
	}
	st.mu.Lock()
	ahead = c.since.Compare(st.position) > 0
	st.mu.Unlock()
	if !ahead {
		return false, st.prepareFrom(ctx, *c.since, false)
	}
	ctx, cancel := context.WithTimeout(ctx, historyTimeout)
	defer cancel()
	page, err := st.gateway.history.After(ctx, st.guild, *c.since, 1)
	if err == nil && page.Whole {
		return true, true
	}
	return false, err == nil && c.backlog > 0 && st.prepareFrom(ctx, history.Position{}, true)
}

func (st *stream) prepareFrom(ctx context.Context, from history.Position, all bool) bool {
	err := st.cover(ctx, from, all)
	if err != nil {
		st.gateway.log.Debug("history could not be read", "guild_id", st.guild, "err", err)
	}
	return err == nil
}

// placeLocked sets where f begins. It returns what the client is told.
func (st *stream) placeLocked(f *follower, viewer permissions.Viewer, c recall, ahead, reachable bool) recalled {
	w := st.window
	f.cursor, f.at = w.end(), st.position
	got := recalled{position: st.position, known: st.known}
	if !reachable {
		return got
	}
	if c.since != nil {
		if n, found := w.after(*c.since); found {
			count, whole := st.visibleLocked(viewer, n)
			if whole && within(count, st.gateway.limits().ReplayEvents) {
				f.cursor, f.at = n, *c.since
				got.recovered, got.replayed = true, count
				return got
			}
		} else if ahead && c.since.Compare(st.position) > 0 {
			f.at = *c.since
			got.position, got.recovered = *c.since, true
			return got
		}
	}
	for n := w.end(); c.backlog > got.replayed && n > w.first; {
		n--
		p := w.entries[n-w.first]
		if p.event != nil && !p.position.IsZero() && viewer.Sees(p.event) {
			got.replayed++
			f.cursor = n
		}
	}
	if got.replayed > 0 {
		f.at = w.before(f.cursor)
	}
	return got
}

// visibleLocked counts the events from number n on that a viewer may see. It is false if some may be missing.
func (st *stream) visibleLocked(viewer permissions.Viewer, n int64) (count int, whole bool) {
	for _, p := range st.window.entries[n-st.window.first:] {
		if p.gap {
			return 0, false
		}
		if p.event != nil && viewer.Sees(p.event) {
			count++
		}
	}
	return count, true
}

// spectateFrom makes the socket spectate v with positions, beginning where c says, and answers. topics are confirmed
// for v.
func (s *session) spectateFrom(r *request, v view, topics subscriptions, c recall) error {
	g, st := s.gateway, topics.stream
	release := st.need()
	defer release()
	var ahead, reachable bool
	if c.asks() {
		if !g.replays.take(1) {
			g.replays.give(1)
			topics.release()
			return errTooManyRequests()
		}
		defer g.replays.give(1)
		ahead, reachable = st.prepare(g.ctx, c)
	}
	s.take()
	defer s.give()
	if s.claims.Load() == nil { // the elevation ended meanwhile
		topics.release()
		return s.lost
	}
	pv := s.viewOf(v, s.claims.Load())
	pv.Positions = true
	viewer, err := g.filter.Viewer(pv, time.Now())
	if err != nil {
		topics.release()
		return viewError(err)
	}
	old := s.watched.guild
	s.sit(st)
	f := newFollower(s, st, pv)
	got := st.begin(f, viewer, c, ahead, reachable)
	s.settle(v, topics, s.topics)
	s.positions.Store(true)
	if old != "" {
		g.flights.wait(old)
	}
	if c.asks() {
		g.metrics.replays.WithLabelValues(c.outcome(got)).Inc()
	}
	bits, _ := pv.Claims.In(v.guild)
	r.answer(eventSpectateReturn, encode(v.answer(bits, r.id, &got)))
	if !g.spawn(f.run) {
		st.unfollow(s.conn())
	}
	return nil
}

// begin makes f follow, in place of what its socket spectated in this guild before.
func (st *stream) begin(f *follower, viewer permissions.Viewer, c recall, ahead, reachable bool) recalled {
	st.mu.Lock()
	defer st.mu.Unlock()
	if former := st.followers[f.session.conn()]; former != nil {
		former.end()
	}
	st.gateway.filter.Remove(f.session.conn())
	st.followLocked(f)
	return st.placeLocked(f, viewer, c, ahead, reachable)
}

// positionOf returns the position of a guild as the gateway knows it: what came before it is in the pools of the guild.
func (g *Gateway) positionOf(ctx context.Context, guild string) (p history.Position, known bool) {
	if guild == "" {
		return p, false
	}
	if st := g.streams.of(guild); st != nil {
		st.mu.Lock()
		defer st.mu.Unlock()
		return st.position, st.known
	}
	if p, known = g.topics.Position(guild); known {
		return p, true
	}
	ctx, cancel := context.WithTimeout(ctx, historyTimeout)
	defer cancel()
	last, err := g.history.Last(ctx, []string{guild})
	if err != nil || len(last) == 0 || last[0].Err != nil {
		return p, false
	}
	return last[0].Position, true
}
