package redis

import (
	"cmp"
	"context"
	"time"

	"github.com/architus/guildcast/history"
)

const (
	probeTick  = 100 * time.Millisecond
	probeBatch = 50                     // guilds compared in one tick: 500 in a second
	probeAgain = 500 * time.Millisecond // before a guild is compared again to which pub/sub had not delivered all
	probeMarks = 1000                   // entries of one guild compared at once
	probeSoon  = 200                    // events of one guild after which it is compared ahead of its turn
)

// glance is the state of a tail from before Redis was asked.
type glance struct {
	tl                 *tail
	position, verified history.Position
}

// probe compares tails with their histories, one after another, until ctx ends. It finds messages that pub/sub lost
// although the connection lived.
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

// hurry has a tail compared ahead of its turn, before its history is trimmed beyond what was verified last.
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

// look compares tails with their histories. It returns the tails to which pub/sub has not delivered everything; the
// rest may be on its way.
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
	lasts, _ := x.reader.Last(ctx, guilds) // each has its own error
	for i := range min(len(lasts), len(glances)) {
		g := glances[i]
		if x.lookAt(g, lasts[i]) && x.lookInto(ctx, g) {
			doubts = append(doubts, g.tl)
		}
	}
	return doubts
}

// lookAt compares a tail with the end of its history. It reports whether the entries must be compared too.
func (x *tails) lookAt(g glance, last history.Last) (more bool) {
	tl := g.tl
	tl.queue.mu.Lock()
	defer tl.queue.mu.Unlock()
	switch {
	case tl.state != tailLive: // under repair
	case last.Err != nil:
		if gone(last.Err) {
			x.unreadableLocked(tl, last.Err)
		}
	case !tl.readable:
		x.adoptLocked(tl, last.Position)
	case last.Position.IsZero() && expired(g.position):
		if tl.position == g.position { // and no new history has begun since
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

// expired reports whether a history whose last entry is at p may have expired.
func expired(p history.Position) bool { return time.Since(time.UnixMilli(int64(p.Time))) > keptFor }

// adoptLocked makes the tail readable again and begins a repair: the end of its history could be read.
func (x *tails) adoptLocked(tl *tail, last history.Position) {
	if tl.position.IsZero() && (!tl.endSeen || tl.end != last) { // pub/sub may yet deliver it
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

// lookInto compares a tail with the entries of its history. It reports whether pub/sub has not delivered some of them
// yet.
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

// replaced reports whether a history that lacks position p is a new one, and not the old one with its beginning
// trimmed. A new one was never trimmed.
func (x *tails) replaced(ctx context.Context, guild string, p history.Position, marks history.Marks) bool {
	if marks.Last.Time-min(marks.Last.Time, p.Time) > uint64(keptFor.Milliseconds()) { // the old one may have expired
		return false
	}
	first, err := x.reader.Marks(ctx, guild, history.Position{}, 1)
	return err == nil && first.Whole
}

// markFound says what a comparison with the entries of a history found.
type markFound uint8

const (
	markPassed markFound = iota // all entries were passed on or need not be
	markLate                    // pub/sub has delivered neither one entry nor any after it
	markMissed                  // pub/sub has not delivered one entry, but a later one

	markReplaced // an entry that was passed on is gone, though nothing was trimmed
)

// verifyLocked compares what was passed on with what the history has after tl.verified.
func (tl *tail) verifyLocked(marks history.Marks) markFound {
	found := markPassed
	delivered := tl.delivered
	tl.late = history.Position{}
	for _, m := range marks.Marks {
		for len(delivered) > 0 && delivered[0].Compare(m.Position) < 0 {
			delivered = delivered[1:]
			if marks.Whole { // otherwise it was trimmed
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
