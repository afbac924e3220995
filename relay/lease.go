package relay

import (
	"context"
	"crypto/rand"
	"strings"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/internal/botwire"
)

// hold takes or renews the lease. While this relay stands by and is not sure, it also syncs.
func (r *Relay) hold(ctx context.Context) {
	tick := time.NewTicker(r.opts.Lease / 6)
	defer tick.Stop()
	for {
		r.renew(ctx) // first: without a leader there is nobody to ask
		r.sync(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// sync asks the leader, if this relay is not sure, to answer once it has published all earlier messages. Without an
// answer it asks again with a new token: the leader may have changed, and the new one may have published later messages
// too.
func (r *Relay) sync(ctx context.Context) {
	r.mu.Lock()
	if r.hearing.sure || time.Since(r.hearing.asked) < r.opts.Lease {
		r.mu.Unlock()
		return
	}
	token := r.id + "/" + rand.Text()
	r.hearing.token, r.hearing.asked, r.hearing.echoed = token, time.Now(), false
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	_ = r.client.Publish(ctx, r.control, "sync "+token).Err() // asked again
}

// renew takes the lease, or renews it.
func (r *Relay) renew(ctx context.Context) {
	r.mu.Lock()
	sure, had := r.hearing.sure, r.lease.epoch
	r.mu.Unlock()
	if had > 0 && !sure { // another relay that is sure may know what this one has missed
		r.stepDown("it missed messages")
		_ = r.run(ctx, releaseScript, []string{r.leaseKey()}, r.id).Err()
		return
	}
	asked := time.Now()
	grace := time.Duration(0)
	if !sure {
		grace = r.opts.Lease
	}
	reply, err := r.run(ctx, leaseScript, []string{r.leaseKey()}, r.id, r.opts.Lease.Milliseconds(),
		grace.Milliseconds()).Int64Slice()
	if err != nil || len(reply) != 2 {
		return // the lease ends by itself
	}
	epoch := uint64(reply[0])
	switch {
	case epoch == 0 && had > 0:
		r.stepDown("another relay leads")
	case epoch > 0:
		r.leads(epoch, reply[1] == 1, asked.Add(r.opts.Lease))
	}
}

func (r *Relay) stepDown(why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lease.epoch > 0 {
		r.log.Info("relay leads no longer", "epoch", r.lease.epoch, "reason", why)
	}
	r.lease, r.syncs, r.adopted = lease{}, nil, map[string]uint64{}
	if r.admits { // its markers are not published yet, so it knows no more than before
		r.admits = false
		r.unsureLocked("it led, and did not say what was lost")
	}
}

// leads records that this relay leads. first says that no relay ever led, so there is nothing that it could have
// missed.
func (r *Relay) leads(epoch uint64, first bool, until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fresh := r.lease.epoch != epoch
	r.lease = lease{epoch, until}
	if fresh {
		r.stats.Takeovers++
		r.adopted, r.syncs = map[string]uint64{}, nil
		r.admits = !first && !r.hearing.sure
		r.log.Info("relay leads", "epoch", epoch, "pending", r.pending.entries, "sure", !r.admits)
		r.hearing.echoed, r.hearing.sure = true, true // from now on this relay decides what is pending
		for _, l := range r.pending.of {
			l.lossy = l.lossy || r.admits
		}
	}
	r.wake.Send()
}

// admit queues a marker for every guild if no relay knows what was lost. Nothing is published before it has found all
// guilds.
func (r *Relay) admit(ctx context.Context) error {
	r.mu.Lock()
	admits := r.admits
	r.mu.Unlock()
	if !admits {
		return nil
	}
	if err := r.client.Publish(ctx, r.control, "lost "+r.id).Err(); err != nil {
		return err
	}
	guilds, err := r.histories(ctx)
	if err != nil {
		return err
	}
	kind, pattern, parse := bus.Channel, "[0-9]*", event.ParseChannel
	if r.opts.Sharded {
		kind, pattern, parse = bus.Shard, "{[0-9]*", event.ParseShardedChannel
	}
	topics, err := r.bus.Subscribed(ctx, kind, globEscape.Replace(r.opts.ToPrefix)+pattern)
	if err != nil {
		return err
	}
	for _, channel := range topics {
		if topic, ok := parse(r.opts.ToPrefix, channel); ok {
			guilds[topic.Guild] = true
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for guild := range guilds {
		r.pending.line(guild).lossy = true
	}
	r.admits = false
	r.log.Warn("events may have been lost while no relay was sure: resync for all", "guilds", len(guilds))
	return nil
}

// histories returns the guilds that have a history.
func (r *Relay) histories(ctx context.Context) (map[string]bool, error) {
	var mu sync.Mutex // the servers of a cluster are asked at the same time
	guilds := map[string]bool{}
	scan := func(ctx context.Context, c goredis.Cmdable) error {
		keys := c.Scan(ctx, 0, botwire.HistoryKey("*"), 1000).Iterator()
		for keys.Next(ctx) {
			_, rest, _ := strings.Cut(keys.Val(), "{")
			if guild := strings.TrimSuffix(rest, "}"); event.ValidID(guild) {
				mu.Lock()
				guilds[guild] = true
				mu.Unlock()
			}
		}
		return keys.Err()
	}
	if c, ok := r.client.(*goredis.ClusterClient); ok {
		return guilds, c.ForEachMaster(ctx, func(ctx context.Context, c *goredis.Client) error { return scan(ctx, c) })
	}
	return guilds, scan(ctx, r.client)
}

// handOver gives up the lease, so that another relay need not wait for its end.
func (r *Relay) handOver() {
	r.mu.Lock()
	led := r.lease.epoch > 0
	r.mu.Unlock()
	if !led {
		return
	}
	r.stepDown("it ends")
	_ = r.run(context.Background(), releaseScript, []string{r.leaseKey()}, r.id).Err() // it ends by itself too
}
