package redis

import (
	"cmp"
	"context"
	"time"

	"github.com/architus/guildcast/history"
)

const (
	probeTick  = 100 * time.Millisecond
	probeBatch = 50                     // guilds that are looked at in one tick: 500 in a second
	probeAgain = 500 * time.Millisecond // until a guild is looked at again that had not heard all that its history has
	probeMarks = 1000                   // entries of one guild that are compared at once
	probeSoon  = 200                    // events of one guild after which it is looked at before it is its turn
)

// glance is a tail as it was before Redis was asked.
type glance struct {
	tl                 *tail
	position, verified history.Position
}

// probe compares tails with their histories, one after another, until ctx ends. What pub/sub lost without the loss of a
// connection is found here.
func (x *tails) probe(ctx context.Context) {
	tick := time.NewTicker(probeTick)
	defer tick.Stop()
	var round, doubted []*tail
	var began, again time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		x.unpark(false)
		now := time.Now()
		if len(round) == 0 && now.Sub(began) >= x.probeEvery {
			round, began = x.all(), now
		}
		n := min(probeBatch, len(round))
		due := round[:n:n]
		round = round[n:]
		due = append(due, x.hurried()...)
		if len(doubted) > 0 && !now.Before(again) {
			due, doubted = append(doubted, due...), nil
		}
		if doubts := x.look(ctx, due); len(doubts) > 0 {
			if len(doubted) == 0 {
				again = time.Now().Add(probeAgain)
			}
			doubted = append(doubted, doubts...)
		}
	}
}

// hurry has a tail looked at before its history is trimmed up to what was verified last.
func (x *tails) hurry(tl *tail) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.hot) < probeMarks {
		x.hot = append(x.hot, tl)
	}
}

func (x *tails) hurried() []*tail {
	x.mu.Lock()
	defer x.mu.Unlock()
	hot := x.hot
	x.hot = nil
	return hot
}

func (x *tails) all() (all []*tail) {
	for _, q := range x.queues {
		all = append(all, q.all()...)
	}
	return all
}

// look compares tails with their histories. It returns those that have not heard everything, which may be on its way.
func (x *tails) look(ctx context.Context, tls []*tail) (doubts []*tail) {
	glances := make([]glance, 0, len(tls))
	guilds := make([]string, 0, len(tls))
	for _, tl := range tls {
		tl.queue.mu.Lock()
		if tl.state == tailLive && !tl.forgotten {
			glances = append(glances, glance{tl, tl.position, tl.verified})
			guilds = append(guilds, tl.guild)
		}
		tl.queue.mu.Unlock()
	}
	if len(guilds) == 0 {
		return nil
	}
	lasts, _ := x.reader.Last(ctx, guilds) // each has its error
	for i := range min(len(lasts), len(glances)) {
		g := glances[i]
		if x.lookAt(g, lasts[i]) && x.lookInto(ctx, g) {
			doubts = append(doubts, g.tl)
		}
	}
	return doubts
}

// lookAt compares a tail with the end of its history. It reports whether there is more to compare.
func (x *tails) lookAt(g glance, last history.Last) (more bool) {
	tl := g.tl
	tl.queue.mu.Lock()
	defer tl.queue.mu.Unlock()
	switch {
	case tl.state != tailLive: // it is being repaired
	case last.Err != nil:
		if gone(last.Err) {
			x.unreadableLocked(tl, last.Err)
		}
	case !tl.readable:
		x.adoptLocked(tl, last.Position)
	case last.Position.IsZero() && expired(g.position):
		if tl.position == g.position { // and no new one has begun since
			tl.position, tl.verified, tl.delivered = history.Position{}, history.Position{}, tl.delivered[:0]
		}
	case last.Position.Compare(g.position) < 0:
		tl.lost = cmp.Or(tl.lost, ReasonHistoryLost)
		x.beginLocked(tl, "")
	case last.Position != tl.verified:
		return true
	}
	return false
}

// expired reports whether Redis may have let a history expire whose last entry is p.
func expired(p history.Position) bool { return time.Since(time.UnixMilli(int64(p.Time))) > keptFor }

// adoptLocked makes a history whose end can be read again the tail's.
func (x *tails) adoptLocked(tl *tail, last history.Position) {
	if tl.position.IsZero() && (!tl.endSeen || tl.end != last) { // what it ends with may be on its way
		tl.end, tl.endSeen = last, true
		return
	}
	if tl.position.IsZero() {
		tl.position = last
	}
	tl.readable, tl.endSeen = true, false
	tl.verified, tl.repaired, tl.delivered = tl.position, history.Position{}, tl.delivered[:0]
	x.beginLocked(tl, "")
}

// lookInto compares a tail with the entries of its history. It reports whether some have not been heard yet.
func (x *tails) lookInto(ctx context.Context, g glance) (late bool) {
	marks, err := x.reader.Marks(ctx, g.tl.guild, g.verified, probeMarks)
	if err != nil {
		return false // the next probe will see
	}
	replaced := !marks.Whole && x.replaced(ctx, g.tl.guild, g.verified, marks)
	tl := g.tl
	tl.queue.mu.Lock()
	defer tl.queue.mu.Unlock()
	if tl.state != tailLive || !tl.readable || tl.verified != g.verified {
		return false
	}
	if replaced {
		tl.lost = cmp.Or(tl.lost, ReasonHistoryLost)
		x.beginLocked(tl, "")
		return false
	}
	before := tl.late
	found := tl.verifyLocked(marks)
	switch {
	case found == markReplaced:
		tl.lost = cmp.Or(tl.lost, ReasonHistoryLost)
		x.beginLocked(tl, "")
	case found == markMissed:
		tl.lost = cmp.Or(tl.lost, ReasonMessageLost)
		x.beginLocked(tl, "")
	case found == markLate && tl.late == before:
		x.beginLocked(tl, ReasonMessageLost)
	}
	return found == markLate
}

// replaced reports whether a history in which position p is no more is another one than that which had it: one from
// which nothing was ever trimmed.
func (x *tails) replaced(ctx context.Context, guild string, p history.Position, marks history.Marks) bool {
	if marks.Last.Time-min(marks.Last.Time, p.Time) > uint64(keptFor.Milliseconds()) { // the former one expired
		return false
	}
	first, err := x.reader.Marks(ctx, guild, history.Position{}, 1)
	return err == nil && first.Whole
}

// markFound is what became of the entries of a history.
type markFound uint8

const (
	markPassed markFound = iota // all were passed on, or need not be
	markLate                    // one has not been heard yet, nor has one after it
	markMissed                  // one was not heard, but one after it was

	markReplaced // one that was passed on is no more, and nothing was trimmed
)

// verifyLocked compares what was passed on with what the history has after tl.verified.
func (tl *tail) verifyLocked(marks history.Marks) markFound {
	found := markPassed
	delivered := tl.delivered
	tl.late = history.Position{}
	for _, m := range marks.Marks {
		for len(delivered) > 0 && delivered[0].Compare(m.Position) < 0 {
			delivered = delivered[1:]
			if marks.Whole { // else it was trimmed
				found = markReplaced
			}
		}
		h := &tl.topics[topicIndex(m.Topic)]
		switch {
		case len(delivered) > 0 && delivered[0] == m.Position:
			delivered = delivered[1:]
		case !m.Event || h.wanted == 0 || m.Position.Compare(h.since) <= 0:
		case m.Position.Compare(tl.position) > 0:
			tl.late = m.Position
			found = max(found, markLate)
		case !h.heard: // somebody is acquiring the topic
		default:
			found = max(found, markMissed)
		}
		if !tl.late.IsZero() {
			break
		}
		tl.verified = m.Position
	}
	if tl.verified.Compare(tl.position) > 0 {
		tl.position = tl.verified
	}
	tl.delivered = append(tl.delivered[:0], delivered...)
	return found
}
