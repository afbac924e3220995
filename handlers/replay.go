package handlers

import (
	"context"
	"errors"
	"time"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/permissions"
)

// maxBacklog bounds the option backlog of spectate, in events.
const maxBacklog = 500

// Outcomes of replays: labels of guildcast_replays_total.
const (
	replayRecovered     = "recovered"     // all since the client's position
	replayUnrecoverable = "unrecoverable" // the history does not reach back to it
	replayBacklog       = "backlog"       // the latest events
	replaySlow          = "slow"          // events left out for a client that reads slowly
)

// recall is the part of a spectate request that asks for the past.
type recall struct {
	positions bool              // events come with their positions
	since     *history.Position // replay what came after it; nil if not asked for
	backlog   int               // how many of the latest events to replay if since is not set or not available
}

// asks reports whether anything of the past is asked for.
func (c *recall) asks() bool { return c.since != nil || c.backlog > 0 }

// recall parses the fields of the request that ask for the past.
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

// recalled is the outcome of a recall.
type recalled struct {
	position  history.Position // the client's position once it has the replayed events
	known     bool             // position is valid
	recovered bool             // the client gets everything since the position that it sent
	replayed  int              // number of events that will be replayed
}

// outcome returns the label of guildcast_replays_total for this recall.
func (c *recall) outcome(got recalled) string {
	switch {
	case got.recovered:
		return replayRecovered
	case c.since != nil:
		return replayUnrecoverable
	}
	return replayBacklog
}

// readiness says how far the window is prepared for a recall.
type readiness struct {
	ahead  bool // the client's position is later than the latest event that this node has handled
	apart  bool // the client's position is that of an event within the window which nobody here has heard
	anew   int  // stream.anew at the time
	failed error
}

// prepare makes the window hold what c asks for, and reads the history if necessary. The caller must hold the window
// with need.
func (st *stream) prepare(ctx context.Context, c recall, logs bool) (ready readiness) {
	ctx, cancel := context.WithTimeout(ctx, historyTimeout)
	defer cancel()
	if ready.failed = st.mend(ctx, logs); ready.failed != nil {
		return ready
	}
	if c.since != nil && st.compare(*c.since) > 0 {
		st.catchUp(ctx)
	}
	st.mu.Lock()
	ready.anew = st.anew
	st.mu.Unlock()
	switch {
	case c.since == nil:
		ready.failed = st.cover(ctx, history.Position{}, true)
	case st.compare(*c.since) <= 0:
		if ready.failed = st.cover(ctx, *c.since, false); ready.failed == nil {
			ready.apart, ready.failed = st.apart(ctx, *c.since)
		}
	default:
		var page history.Page
		page, ready.failed = st.gateway.history.After(ctx, st.guild, *c.since, 1)
		if ready.ahead = page.Whole; ready.failed == nil && !page.Whole {
			ready.failed = st.cover(ctx, history.Position{}, true)
		}
	}
	return ready
}

// apart reports whether p is the position of an event within the window that the window does not hold, because it is
// for nobody here: a log entry, where nobody wants them.
func (st *stream) apart(ctx context.Context, p history.Position) (bool, error) {
	st.mu.Lock()
	_, found := st.window.after(p)
	within := p.Compare(st.window.from) > 0 && p.Compare(st.position) <= 0
	st.mu.Unlock()
	if found || !within {
		return false, nil
	}
	page, err := st.gateway.history.After(ctx, st.guild, p, 1)
	return page.Whole, err
}

// still reports whether the window is as it was prepared: it has not begun anew, and the node has not come past a
// client that was ahead of it.
func (st *stream) still(ready readiness, c recall) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.anew == ready.anew && !(ready.ahead && c.since.Compare(st.position) <= 0)
}

// compare compares p with the position of the latest event that this node has handled.
func (st *stream) compare(p history.Position) int {
	st.mu.Lock()
	defer st.mu.Unlock()
	return p.Compare(st.position)
}

// placeLocked sets where f begins, and returns what the answer says about it.
func (st *stream) placeLocked(f *follower, viewer permissions.Viewer, c recall, ready readiness) recalled {
	w := st.window
	f.cursor, f.plain, f.at = w.end(), w.end(), st.position
	got := recalled{position: st.position, known: st.known}
	if ready.failed != nil {
		return got
	}
	if c.since != nil {
		n, found := w.after(*c.since)
		if !found && ready.apart && c.since.Compare(w.from) > 0 {
			n, found = w.behind(*c.since), true
		}
		if found {
			count, whole := st.visibleLocked(viewer, n)
			if whole && within(count, st.gateway.limits().ReplayEvents) {
				f.cursor, f.at = n, *c.since
				got.recovered, got.replayed = true, count
				return got
			}
		} else if ready.ahead && c.since.Compare(st.position) > 0 {
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

// visibleLocked counts the durable events from number n on that a viewer may see. It returns false if some may be
// missing.
func (st *stream) visibleLocked(viewer permissions.Viewer, n int64) (count int, whole bool) {
	for _, p := range st.window.entries[n-st.window.first:] {
		if p.gap {
			return 0, false
		}
		if p.event != nil && !p.position.IsZero() && viewer.Sees(p.event) {
			count++
		}
	}
	return count, true
}

// spectateFrom makes the socket spectate v with positions from where c asks, and answers the request. The subscriptions
// in topics are confirmed.
func (s *session) spectateFrom(r *request, v view, topics subscriptions, c recall) error {
	g, st := s.gateway, topics.stream
	release := st.need()
	defer release()
	if c.asks() {
		if !g.replays.take(1) {
			g.replays.give(1)
			topics.release()
			return errTooManyRequests()
		}
		defer g.replays.give(1)
	}
	for {
		var ready readiness
		if c.asks() {
			ready = st.prepare(g.ctx, c, v.logs)
		}
		// The client can try again, and miss nothing.
		if errors.Is(ready.failed, history.ErrUnavailable) || errors.Is(ready.failed, context.DeadlineExceeded) {
			topics.release()
			return errRedis().because(ready.failed)
		}
		done, err := s.spectatePrepared(r, v, topics, c, ready)
		if err != nil {
			topics.release()
		}
		if done || err != nil {
			return err
		}
	}
}

// spectatePrepared is the rest of spectateFrom, once the window is prepared. It returns false if the window has to be
// prepared again.
func (s *session) spectatePrepared(
	r *request, v view, topics subscriptions, c recall, ready readiness,
) (done bool, _ error) {
	g, st := s.gateway, topics.stream
	s.take()
	defer s.give()
	if s.claims.Load() == nil { // the elevation ended meanwhile
		return false, s.lost
	}
	pv := s.viewOf(v, s.claims.Load())
	pv.Positions = true
	viewer, err := g.filter.Viewer(pv, time.Now())
	if err != nil {
		return false, viewError(err)
	}
	if c.asks() && !st.still(ready, c) {
		return false, nil
	}
	s.sit(st)
	f := newFollower(s, st, pv)
	f.began = time.Time{}
	if c.asks() {
		f.began = r.began
	}
	got, from := st.begin(f, viewer, c, ready)
	s.moveTo(v, topics)
	s.positions.Store(true)
	if c.asks() {
		g.metrics.replays.WithLabelValues(c.outcome(got)).Inc()
	}
	if c.since != nil && !got.recovered && g.complaints.Allow(complaint{event.Topic{Guild: v.guild}, notRecovered}) {
		g.log.Info("client can't have all that it missed", "guild_id", v.guild, "since", c.since.String(),
			"history_from", from.String(), "position", got.position.String(), "err", ready.failed)
	}
	bits, _ := pv.Claims.In(v.guild)
	r.hold(eventSpectateReturn, encode(v.answer(bits, r.id, &got)))
	defer g.outlet.flush(s.conn())
	if !f.begin() && !g.spawn(f.run) {
		st.unfollow(s.conn())
	}
	return true, nil
}

// begin makes f a follower of the stream, in place of what its socket spectated in this guild before. From is where the
// window begins.
func (st *stream) begin(
	f *follower, viewer permissions.Viewer, c recall, ready readiness,
) (got recalled, from history.Position) {
	st.mu.Lock()
	defer st.mu.Unlock()
	former := st.followers[f.session.conn()]
	if former != nil {
		former.end()
	}
	st.gateway.filter.Remove(f.session.conn())
	st.followLocked(f)
	got = st.placeLocked(f, viewer, c, ready)
	if former != nil && got.recovered { // the client does not know what plain events it has not had yet
		f.plain, f.missed = max(former.cursor, former.plain), former.missed
	}
	return got, st.window.from
}

// positionOf returns the latest position of a guild that this node knows. The guild's pools reflect every event up to
// it.
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
