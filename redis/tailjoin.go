package redis

import (
	"context"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
)

// join counts a subscription to topic that Redis has just confirmed. It returns once the tail of the guild has come to
// where that subscription begins to deliver.
func (x *tails) join(ctx context.Context, q *tailQueue, topic event.Topic) error {
	q.mu.Lock()
	tl := q.guilds[topic.Guild] // exists: the caller holds it
	h := &tl.topics[topicIndex(topic)]
	h.confirmed++
	for !h.heard {
		if joining := h.joining; joining != nil {
			q.mu.Unlock()
			select {
			case <-joining:
			case <-ctx.Done():
				return ctx.Err()
			}
			q.mu.Lock()
			continue
		}
		h.joining = make(chan struct{})
		q.mu.Unlock()
		err := x.meet(ctx, tl, topic)
		q.mu.Lock()
		close(h.joining)
		h.joining = nil
		if err != nil {
			q.mu.Unlock()
			return err
		}
	}
	q.mu.Unlock()
	return nil
}

// meet reads the end of the history, brings the tail up to it, and marks the topic as heard.
func (x *tails) meet(ctx context.Context, tl *tail, topic event.Topic) error {
	epoch, _ := x.epoch(topic)
	lasts, err := x.reader.Last(ctx, []string{tl.guild})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var last history.Position
	if err == nil {
		last, err = lasts[0].Position, lasts[0].Err
	}
	if wait := x.meetLocking(tl, topicIndex(topic), epoch, last, err); wait != nil {
		select {
		case <-wait:
		case <-x.ended:
			return ErrUnavailable
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	tl.queue.mu.Lock()
	defer tl.queue.mu.Unlock()
	h := &tl.topics[topicIndex(topic)]
	h.heard = true
	if now, ok := x.epoch(topic); !ok || now != h.epoch { // the subscription was lost meanwhile
		x.beginLocked(tl, ReasonRedisLost)
	}
	return nil
}

// meetLocking is the part of meet under the lock. last is the end of the history, or err says why it is unknown. The
// channel that it returns is closed when the tail has come to that end; it is nil if the tail is there already.
func (x *tails) meetLocking(tl *tail, i int, epoch uint64, last history.Position, err error) <-chan struct{} {
	tl.queue.mu.Lock()
	defer tl.queue.mu.Unlock()
	h := &tl.topics[i]
	h.epoch = epoch
	if err != nil && (gone(err) || tl.state == tailFresh) {
		x.unreadableLocked(tl, err)
	}
	switch {
	case tl.state == tailFresh:
		tl.readable, tl.position, tl.verified, tl.repaired = err == nil, last, last, last
		x.openLocked(tl)
	case tl.readable && (err != nil || tl.state == tailRepairing || last.Compare(tl.position) > 0):
		// The other topic is live. What it has not delivered yet comes before what this one will deliver.
		h.since = last
		x.beginLocked(tl, "")
		return tl.doneLocked()
	}
	h.since = tl.position
	return nil
}

// openLocked makes a fresh tail live, and begins a repair if messages came in while it was fresh.
func (x *tails) openLocked(tl *tail) {
	tl.state = tailLive
	if !tl.readable {
		tl.wanted = history.Position{} // nobody has acquired a topic yet, so nobody missed it
	}
	if len(tl.waiting) > 0 || tl.wanted.Compare(tl.position) > 0 {
		x.beginLocked(tl, "")
	}
}
