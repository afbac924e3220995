package redis

// lose begins to repair every guild of the queue: each may have missed events.
func (x *tails) lose(q *tailQueue, reason string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, tl := range q.guilds {
		x.beginLocked(tl, reason)
	}
}

// loseDoubted begins to repair all guilds. No more is told of those whose subscriptions are later than the epoch
// doubted, and whose repair began since they were made: a message with the new epoch may come before the news of the
// loss. They are repaired all the same, for their histories may have been read from a server that was the primary then.
func (x *tails) loseDoubted(q *tailQueue, reason string, doubted uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, tl := range q.guilds {
		news := ""
		for i := range tl.topics {
			h := &tl.topics[i]
			if now, ok := x.epoch(tl.topic(i)); h.heard && (!ok || now != h.epoch || now <= doubted) {
				news = reason
			}
		}
		x.beginLocked(tl, news)
	}
}

// loseChanged begins to repair the guilds one of whose subscriptions has a new epoch: it was lost in between.
func (x *tails) loseChanged(q *tailQueue, reason string) {
	for _, tl := range q.all() {
		for i := range tl.topics {
			q.mu.Lock()
			h := tl.topics[i]
			q.mu.Unlock()
			if !h.heard {
				continue
			}
			if now, ok := x.epoch(tl.topic(i)); !ok || now != h.epoch {
				q.mu.Lock()
				x.beginLocked(tl, reason)
				q.mu.Unlock()
			}
		}
	}
}
