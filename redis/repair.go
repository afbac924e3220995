package redis

import (
	"cmp"
	"context"
	"time"

	"github.com/architus/guildcast/history"
)

const (
	repairWorkers = 4   // goroutines that read histories to repair
	askBatch      = 500 // histories whose ends are asked for in one round trip
	readBatch     = 256 // entries per read

	// A tail that can't be repaired now is tried again after so long, or as soon as Redis answers.
	parkMin = 50 * time.Millisecond
	parkMax = 2 * time.Second

	maxTries    = 40              // reads without an event that pub/sub delivered, before it counts as lost
	hearingWait = 3 * time.Second // for Redis to confirm both topics of a guild; then one is repaired alone

	// keptFor is the least time for which Redis keeps the last entry of a guild. The publish script sets a longer
	// expiry.
	keptFor = 24 * time.Hour
)

// beginLocked begins to repair a tail. reason is that of a loss, or "" if nothing was lost and there is only something
// to read.
func (x *tails) beginLocked(tl *tail, reason string) {
	if tl.state == tailFresh || tl.forgotten {
		return
	}
	if tl.state == tailLive && reason != "" {
		x.repairs.Add(1)
	}
	tl.state = tailRepairing
	tl.reason = cmp.Or(tl.reason, reason)
	tl.again, tl.anew = true, tl.anew || reason != ""
	if !tl.queued {
		tl.queued = true
		x.enqueue(&x.asked, tl)
	}
}

// enqueue adds tails to list, which is x.asked or x.behind, and wakes a worker.
func (x *tails) enqueue(list *[]*tail, tls ...*tail) {
	x.mu.Lock()
	defer x.mu.Unlock()
	*list = append(*list, tls...)
	x.wake.Send()
}

// park makes tails wait until Redis answers again.
func (x *tails) park(tls ...*tail) {
	if len(tls) == 0 {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.parked) == 0 {
		x.parkedUntil = time.Now().Add(x.backoff.Next())
	}
	x.parked = append(x.parked, tls...)
}

// unpark has the parked tails tried again, with atOnce even before their time has come.
func (x *tails) unpark(atOnce bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.parked) > 0 && (atOnce || !time.Now().Before(x.parkedUntil)) {
		x.asked = append(x.asked, x.parked...)
		x.parked = nil
		x.wake.Send()
	}
}

// answered notes that Redis answers: parked tails are tried again.
func (x *tails) answered() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.backoff.Reset()
}

// work repairs tails until ctx ends.
func (x *tails) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-x.wake:
		}
		for ctx.Err() == nil {
			asked, behind := x.next()
			if len(asked) > 0 {
				x.ask(ctx, asked)
			} else if behind != nil {
				x.repair(ctx, behind)
			} else {
				break
			}
		}
	}
}

// next returns what a worker does next: tails to compare, or one to repair. Comparing comes first, because it costs
// least and most guilds need no more.
func (x *tails) next() (asked []*tail, behind *tail) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if n := min(askBatch, (len(x.asked)+repairWorkers-1)/repairWorkers); n > 0 {
		asked = append(asked, x.asked[:n]...)
		if x.asked = x.asked[n:]; len(x.asked) == 0 {
			x.asked = nil
		}
	} else if len(x.behind) > 0 {
		behind = x.behind[0]
		if x.behind = x.behind[1:]; len(x.behind) == 0 {
			x.behind = nil
		}
	}
	if len(x.asked)+len(x.behind) > 0 {
		x.wake.Send()
	}
	return asked, behind
}

// ask compares tails with the ends of their histories. Tails that missed nothing become live again.
func (x *tails) ask(ctx context.Context, tls []*tail) {
	var readable, quiet, behind, parked []*tail
	var guilds []string
	for _, tl := range tls {
		ready, reads := x.prepare(tl)
		switch {
		case !ready:
			parked = append(parked, tl)
		case reads:
			readable = append(readable, tl)
			guilds = append(guilds, tl.guild)
		default:
			quiet = append(quiet, tl)
		}
	}
	if len(guilds) > 0 {
		lasts, err := x.reader.Last(ctx, guilds)
		if err == nil {
			x.answered()
		}
		for i, tl := range readable {
			last := history.Last{Err: err}
			if i < len(lasts) {
				last = lasts[i]
			}
			switch x.compare(tl, last) {
			case tailUnavailable:
				parked = append(parked, tl)
			case tailBehind:
				behind = append(behind, tl)
			case tailQuiet:
				quiet = append(quiet, tl)
			}
		}
	}
	x.park(parked...)
	x.tellAll(quiet)
	for _, tl := range quiet {
		if !x.finish(tl) {
			behind = append(behind, tl)
		}
	}
	if len(behind) > 0 {
		x.enqueue(&x.behind, behind...)
	}
}

// prepare records the epochs of a tail's subscriptions before its history is read. While they stay the same, pub/sub
// delivers what the reading is too early to find. ready is false if Redis has not confirmed the subscriptions; reads is
// false if there is no history to read.
func (x *tails) prepare(tl *tail) (ready, reads bool) {
	tl.queue.mu.Lock()
	defer tl.queue.mu.Unlock()
	var heard, deaf int
	epochs := [2]uint64{tl.topics[0].epoch, tl.topics[1].epoch}
	for i := range tl.topics {
		if !tl.topics[i].heard {
			continue
		}
		if now, ok := x.epoch(tl.topic(i)); ok {
			heard++
			epochs[i] = now
		} else {
			deaf++
		}
	}
	switch {
	case deaf == 0:
		tl.halfHeard = time.Time{}
	case heard > 0 && tl.halfHeard.IsZero():
		tl.halfHeard = time.Now()
		return false, false
	case heard == 0 || time.Since(tl.halfHeard) < hearingWait:
		return false, false
	}
	tl.again, tl.anew = false, false
	for i, epoch := range epochs {
		if h := &tl.topics[i]; h.epoch != epoch { // it was lost in between, whatever this repair began for
			h.epoch = epoch
			tl.reason, tl.told = cmp.Or(tl.reason, ReasonRedisLost), false
		}
	}
	return true, tl.readable
}

// tailGap is what lies between a tail and the end of its history.
type tailGap uint8

const (
	tailQuiet       tailGap = iota // no gap
	tailBehind                     // entries, or it is unknown
	tailUnavailable                // Redis does not answer
)

func (x *tails) compare(tl *tail, last history.Last) tailGap {
	tl.queue.mu.Lock()
	defer tl.queue.mu.Unlock()
	switch {
	case last.Err != nil && gone(last.Err):
		x.unreadableLocked(tl, last.Err)
		if tl.wanted.Compare(tl.position) > 0 { // dropped, because the repair would have read it
			tl.lost = cmp.Or(tl.lost, ReasonHistoryLost)
		}
		return tailQuiet
	case last.Err != nil:
		return tailUnavailable
	case last.Position != tl.position || tl.verified != tl.position || tl.wanted.Compare(tl.position) > 0:
		return tailBehind
	}
	return tailQuiet
}

// tellLocked reports whether OnMissed must be called for what a repair could not restore, and returns the reason.
func (x *tails) tellLocked(tl *tail) (reason string, tell bool) {
	switch {
	case tl.lost != "":
		reason, tl.lost = tl.lost, ""
	case tl.reason == "" || tl.told:
		return "", false
	case !tl.readable, tl.position.IsZero(), !tl.plainAt.IsZero() && time.Since(tl.plainAt) < x.plainMemory:
		reason = tl.reason
	default:
		return "", false
	}
	tl.told = true
	return reason, true
}

// tellAll calls OnMissed for the tails that a repair can't restore completely, once per reason.
func (x *tails) tellAll(tls []*tail) {
	guilds := map[string][]string{}
	for _, tl := range tls {
		tl.queue.mu.Lock()
		if reason, tell := x.tellLocked(tl); tell {
			guilds[reason] = append(guilds[reason], tl.guild)
		}
		tl.queue.mu.Unlock()
	}
	for reason, list := range guilds {
		x.tell(list, reason)
	}
}

// finish makes a tail live again, or queues it for another repair. It returns false if this repair has more to do.
func (x *tails) finish(tl *tail) bool {
	tl.queue.mu.Lock()
	defer tl.queue.mu.Unlock()
	if !tl.again && (len(tl.waiting) > 0 || tl.lost != "" || tl.readable && tl.wanted.Compare(tl.position) > 0) {
		return false
	}
	if tl.again { // repair again from the start
		tl.told = tl.told && !tl.anew
		x.enqueue(&x.asked, tl)
		return true
	}
	tl.state, tl.reason, tl.told, tl.tries = tailLive, "", false, 0
	tl.queued, tl.wanted, tl.late = false, history.Position{}, history.Position{}
	if tl.readable {
		tl.repaired, tl.verified, tl.delivered = tl.position, tl.position, tl.delivered[:0]
	}
	if tl.done != nil {
		close(tl.done)
		tl.done = nil
	}
	tl.forgetLocked()
	return true
}

// repair passes on what a tail has missed, then the messages that wait, and makes the tail live again.
func (x *tails) repair(ctx context.Context, tl *tail) {
	x.awaitQueue(tl)
	for {
		if !x.read(ctx, tl) {
			x.park(tl)
			return
		}
		x.tellAll([]*tail{tl})
		x.release(tl)
		if x.finish(tl) {
			return
		}
	}
}

// awaitQueue waits until the queue has passed on the message that it had begun with before the repair.
func (x *tails) awaitQueue(tl *tail) {
	tl.queue.mu.Lock()
	if !tl.passing {
		tl.queue.mu.Unlock()
		return
	}
	idle := tl.idleLocked()
	tl.queue.mu.Unlock()
	<-idle
}

// read passes on the entries of the history after the tail's position. It returns false if it must be tried again
// later.
func (x *tails) read(ctx context.Context, tl *tail) bool {
	ready, reads := x.prepare(tl)
	if !ready || !reads {
		return ready
	}
	if !x.verify(ctx, tl) {
		return false
	}
	for {
		page, ok := x.page(ctx, tl)
		if !ok {
			return false
		}
		for i := range page.Entries {
			if !x.pass(ctx, tl, &page.Entries[i]) {
				return true
			}
		}
		if !page.More {
			return x.found(tl)
		}
	}
}

// verify compares what was passed on before the repair with the history, as a probe does. No probe can do so later. It
// returns false if Redis does not answer.
func (x *tails) verify(ctx context.Context, tl *tail) bool {
	for {
		tl.queue.mu.Lock()
		verified, position := tl.verified, tl.position
		tl.queue.mu.Unlock()
		if verified == position {
			return true
		}
		marks, err := x.reader.Marks(ctx, tl.guild, verified, probeMarks)
		if err != nil {
			return gone(err) // if it is gone, read will find out too
		}
		replaced := !marks.Whole && x.replaced(ctx, tl.guild, verified, marks)
		tl.queue.mu.Lock()
		if replaced {
			tl.lost = cmp.Or(tl.lost, ReasonHistoryLost)
		} else if found := tl.verifyLocked(marks); found == markMissed {
			tl.lost = cmp.Or(tl.lost, ReasonMessageLost)
		} else if found == markReplaced {
			tl.lost = cmp.Or(tl.lost, ReasonHistoryLost)
		}
		more := marks.More && !replaced && tl.late.IsZero() && tl.verified.Compare(tl.position) < 0
		if !more { // entries that were trimmed meanwhile count as passed on
			tl.verified, tl.delivered = tl.position, tl.delivered[:0]
		}
		tl.queue.mu.Unlock()
		if !more {
			return true
		}
	}
}

// found reports whether the history had all events that pub/sub delivered during the repair. After maxTries reads it
// takes those that are still missing as lost.
func (x *tails) found(tl *tail) bool {
	tl.queue.mu.Lock()
	defer tl.queue.mu.Unlock()
	switch {
	case !tl.readable || tl.wanted.Compare(tl.position) <= 0:
	case tl.tries < maxTries:
		tl.tries++
		return false
	default:
		tl.lost, tl.wanted = ReasonHistoryLost, history.Position{}
	}
	return true
}

// page reads the next entries of a tail. If entries before them are missing, it jumps to the end of the history. It
// returns false if Redis does not answer.
func (x *tails) page(ctx context.Context, tl *tail) (history.Page, bool) {
	tl.queue.mu.Lock()
	from, wanted := tl.position, tl.wanted
	tl.queue.mu.Unlock()
	page, err := x.reader.After(ctx, tl.guild, from, readBatch)
	if err == nil && !page.Whole && time.Since(time.UnixMilli(int64(from.Time))) > keptFor { // it may have expired
		if anew, err := x.reader.After(ctx, tl.guild, history.Position{}, readBatch); err == nil && anew.Whole {
			page = anew
		}
	}
	if err == nil && !page.Whole {
		var lasts []history.Last
		if lasts, err = x.reader.Last(ctx, []string{tl.guild}); err == nil {
			err = lasts[0].Err
		}
		if err == nil {
			x.jump(tl, lasts[0].Position, wanted)
			page = history.Page{More: true}
		}
	}
	switch {
	case err == nil:
		x.answered()
	case gone(err):
		tl.queue.mu.Lock()
		defer tl.queue.mu.Unlock()
		x.unreadableLocked(tl, err)
		tl.lost = cmp.Or(tl.lost, ReasonHistoryLost)
		return history.Page{}, true
	}
	return page, err == nil
}

// jump skips to the end of a history that lacks entries, and calls OnMissed. wanted is tl.wanted from before that end
// was read: if it has not changed, the jump covers it, or it is lost too.
func (x *tails) jump(tl *tail, to, wanted history.Position) {
	tl.queue.mu.Lock()
	if to.Compare(tl.position) < 0 && tl.position.Compare(tl.replaced) > 0 {
		tl.replaced = tl.position
	}
	tl.position, tl.verified, tl.delivered = to, to, tl.delivered[:0]
	if tl.wanted == wanted {
		tl.wanted = history.Position{}
	}
	tl.lost = ReasonHistoryLost
	tl.queue.mu.Unlock()
	x.tellAll([]*tail{tl})
}

// pass passes on one entry of a history. It returns false if ctx has ended or nobody wants the guild any more.
func (x *tails) pass(ctx context.Context, tl *tail, e *history.Entry) bool {
	tl.queue.mu.Lock()
	if ctx.Err() != nil || tl.topics[0].wanted+tl.topics[1].wanted == 0 {
		tl.wanted = history.Position{}
		tl.queue.mu.Unlock()
		return false
	}
	wanted := e.Message != nil && tl.topics[topicIndex(e.Topic)].wanted > 0
	tl.position, tl.verified = e.Position, e.Position
	tl.queue.mu.Unlock()
	if wanted {
		x.repaired.Add(1)
		x.message(e.Topic, e.Position, e.Message, time.Time{})
	}
	return true
}

// release passes on the messages that wait.
func (x *tails) release(tl *tail) {
	for {
		tl.queue.mu.Lock()
		if len(tl.waiting) == 0 {
			tl.queue.mu.Unlock()
			return
		}
		w := tl.nextLocked()
		if !w.position.IsZero() {
			tl.position = w.position
		}
		tl.queue.mu.Unlock()
		x.message(w.topic, w.position, w.payload, time.Time{})
	}
}
