package relay

import (
	"context"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // Redis names scripts by it
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/internal/botwire"
)

const (
	// batchGuilds bounds the guilds of one round trip; batchEvents and batchBytes bound what is published for each.
	batchGuilds, batchEvents, batchBytes = 256, 64, 8 << 20
	// echoTime is how long a relay waits to hear its own words.
	echoTime = 2 * time.Second
	// refusedPause is how long a guild waits after Redis has refused an event.
	refusedPause = time.Second
	// lostPause is how long a guild waits after an answer of Redis was lost.
	lostPause = 100 * time.Millisecond
	// callTime bounds a call of Redis.
	callTime = 3 * time.Second
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

// lead publishes what is pending while this relay leads.
func (r *Relay) lead(ctx context.Context) {
	pause := time.NewTicker(100 * time.Millisecond) // for guilds that were refused, and for the lease
	defer pause.Stop()
	for {
		more := r.step(ctx)
		if ctx.Err() != nil {
			return
		}
		if more {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		case <-pause.C:
		}
	}
}

// batch is what one call publishes for one guild.
type batch struct {
	guild  string
	marker bool
	items  []item
}

// step publishes one batch for every guild that has something pending. It reports whether there may be more to do right
// away.
func (r *Relay) step(ctx context.Context) (more bool) {
	if err := r.admit(ctx); err != nil {
		if ctx.Err() == nil && r.refused.Allow("") {
			r.log.Warn("relay can't list the guilds in which events may have been lost", "err", err)
		}
		return false
	}
	epoch, batches, strangers := r.collect()
	if epoch == 0 {
		return false
	}
	if len(strangers) > 0 {
		r.adopt(ctx, epoch, strangers)
	}
	if len(batches) > 0 {
		r.publish(ctx, epoch, batches)
	}
	r.answer(ctx, epoch)
	return len(batches) > 0 || len(strangers) > 0
}

// collect returns what to publish now, and the guilds that must be adopted first.
func (r *Relay) collect() (epoch uint64, batches []batch, strangers []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if !r.leadsLocked(now) || !r.hearing.sure || r.admits {
		return 0, nil, nil
	}
	until := r.pending.heard
	if len(r.syncs) > 0 {
		until = r.syncs[0].seq // those heard since come after the answer
	}
	for guild, l := range r.pending.of {
		if len(batches) == batchGuilds || len(strangers) == batchGuilds {
			break
		}
		if now.Before(l.retry) || !l.lossy && (len(l.items) == 0 || l.items[0].seq > until) {
			continue
		}
		if r.adopted[guild] != r.lease.epoch {
			strangers = append(strangers, guild)
			continue
		}
		b := batch{guild: guild, marker: l.lossy}
		bytes := 0
		for _, it := range l.items {
			if bytes += len(it.message); it.seq > until || len(b.items) == batchEvents ||
				bytes > batchBytes && len(b.items) > 0 {
				break
			}
			b.items = append(b.items, it)
		}
		batches = append(batches, b)
	}
	return r.lease.epoch, batches, strangers
}

// adopt fences guilds and waits until this relay hears that they are. By then it has heard of everything that was
// published before.
func (r *Relay) adopt(ctx context.Context, epoch uint64, guilds []string) {
	cmds := r.pipeline(ctx, fenceScript, len(guilds), func(i int) ([]string, []any) {
		says := fmt.Sprintf("fenced %s %d %s", guilds[i], epoch, r.id)
		return []string{r.fenceKey(guilds[i])}, []any{epoch, r.control, says}
	})
	waiting := map[string]bool{}
	for i, cmd := range cmds {
		if r.accepted(guilds[i], cmd.Err(), "") {
			waiting[guilds[i]] = true
		}
	}
	r.await(ctx, func() bool {
		for guild := range waiting {
			if r.adopted[guild] == epoch {
				delete(waiting, guild)
			}
		}
		return len(waiting) == 0
	})
}

// publish publishes batches and waits until this relay hears that they are. A batch of which it does not hear may be
// published or not. It has that guild adopted again, after which it knows.
func (r *Relay) publish(ctx context.Context, epoch uint64, batches []batch) {
	cmds := r.pipeline(ctx, publishScript, len(batches), func(i int) ([]string, []any) {
		b := batches[i]
		args := []any{epoch, r.control, "done " + b.guild, r.opts.MaxEntries, r.opts.MaxAge.Milliseconds()}
		if b.marker {
			args = append(args, r.channel(event.Topic{Guild: b.guild}), history.Marker(Reason), "marker")
		}
		for _, it := range b.items {
			args = append(args, r.channel(it.topic), it.message, it.hash)
		}
		return []string{botwire.HistoryKey(b.guild), r.fenceKey(b.guild)}, args
	})
	last := map[string]uint64{} // guild: what was published last
	for i, cmd := range cmds {
		b := batches[i]
		n, refusal, err := published(cmd)
		r.accepted(b.guild, err, refusal)
		if n == 0 {
			continue
		}
		r.mu.Lock()
		if b.marker {
			n--
			r.stats.Markers++
			r.pending.line(b.guild).lossy = false
			r.pending.tidy(b.guild, r.pending.line(b.guild))
		}
		r.stats.Published += uint64(n)
		r.mu.Unlock()
		if n > 0 {
			last[b.guild] = b.items[n-1].seq
		}
	}
	heard := r.await(ctx, func() bool {
		for guild, seq := range last {
			// The items of a line are in the order of their numbers.
			if l := r.pending.of[guild]; l == nil || len(l.items) == 0 || l.items[0].seq > seq {
				delete(last, guild)
			}
		}
		return len(last) == 0
	})
	if !heard {
		r.forsake(slices.Collect(maps.Keys(last)))
	}
}

// channel returns the topic's channel for nodes.
func (r *Relay) channel(t event.Topic) string {
	if r.opts.Sharded {
		return t.ShardedChannel(r.opts.ToPrefix)
	}
	return t.Channel(r.opts.ToPrefix)
}

// published returns the number of events that a publishScript published, and why it stopped.
func published(cmd *goredis.Cmd) (n int, refusal string, err error) {
	reply, err := cmd.Slice()
	if err != nil {
		return 0, "", err
	}
	if len(reply) != 2 {
		return 0, "", fmt.Errorf("the script returned %d values", len(reply))
	}
	count, _ := reply[0].(int64)
	refusal, _ = reply[1].(string)
	return int(count), refusal, nil
}

// accepted handles the error or the refusal of a guild's script. It reports whether there was neither.
func (r *Relay) accepted(guild string, err error, refusal string) bool {
	if reply, ok := errors.AsType[goredis.Error](err); ok {
		refusal = reply.Error()
	}
	switch {
	case err == nil && refusal == "":
		return true
	case strings.Contains(refusal, "UNFENCED"):
		r.forsake([]string{guild})
	case strings.Contains(refusal, "FENCED"):
		r.stepDown("another relay leads")
	case refusal != "":
		if r.refused.Allow(guild) {
			r.log.Warn("redis refuses to publish durably", "guild_id", guild, "err", refusal)
		}
		r.postpone(guild, refusedPause)
	default: // the answer was lost
		r.forsake([]string{guild})
		r.postpone(guild, lostPause)
	}
	return false
}

// postpone makes a guild wait for d.
func (r *Relay) postpone(guild string, d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.Refused++
	if l := r.pending.of[guild]; l != nil {
		l.retry = time.Now().Add(d)
	}
}

// forsake makes guilds be adopted again before anything is published for them.
func (r *Relay) forsake(guilds []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, guild := range guilds {
		delete(r.adopted, guild)
	}
}

// await waits until cond returns true, and reports whether it did. It calls cond under the lock.
func (r *Relay) await(ctx context.Context, cond func() bool) bool {
	timer := time.NewTimer(echoTime)
	defer timer.Stop()
	for {
		r.mu.Lock()
		yes, leads := cond(), r.lease.epoch > 0 && r.hearing.sure
		r.mu.Unlock()
		switch {
		case yes:
			return true
		case !leads:
			return false
		}
		select {
		case <-r.wake:
		case <-timer.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// answer answers the standbys whose barrier is reached.
func (r *Relay) answer(ctx context.Context, epoch uint64) {
	for {
		r.mu.Lock()
		if len(r.syncs) == 0 || r.lease.epoch != epoch {
			r.mu.Unlock()
			return
		}
		b, now := r.syncs[0], time.Now()
		var blocked []string
		for guild, l := range r.pending.of {
			if len(l.items) == 0 && !l.lossy || len(l.items) > 0 && l.items[0].seq > b.seq && !l.lossy {
				continue
			}
			if !now.Before(l.retry) {
				r.mu.Unlock()
				return // there is something to publish before
			}
			blocked = append(blocked, guild)
		}
		r.syncs = r.syncs[1:]
		r.mu.Unlock()
		text := strings.Join(append([]string{"synced", b.token, strconv.FormatUint(epoch, 10)}, blocked...), " ")
		_ = r.run(ctx, sayScript, []string{r.leaseKey()}, r.id, epoch, r.control, text).Err() // it asks again
	}
}

func (r *Relay) run(ctx context.Context, text string, keys []string, args ...any) *goredis.Cmd {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	return goredis.NewScript(text).Run(ctx, r.client, keys, args...)
}

// pipeline runs a script n times in one round trip. go-redis must not repeat it, because Redis may have run it.
func (r *Relay) pipeline(ctx context.Context, text string, n int, call func(i int) (keys []string, args []any),
) []*goredis.Cmd {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	sum := sha1.Sum([]byte(text)) //nolint:gosec // as above
	sha := hex.EncodeToString(sum[:])
	cmds := make([]*goredis.Cmd, n)
	todo := make([]int, n)
	for i := range todo {
		todo[i] = i
	}
	for _, form := range [][2]string{{"EVALSHA", sha}, {"EVAL", text}} {
		_, _ = r.client.Pipelined(ctx, func(p goredis.Pipeliner) error { // each command has its error
			for _, i := range todo {
				keys, args := call(i)
				all := []any{form[0], form[1], len(keys)}
				for _, key := range keys {
					all = append(all, key)
				}
				cmds[i] = goredis.NewCmd(ctx, append(all, args...)...)
				if err := p.Process(ctx, unrepeated{cmds[i]}); err != nil {
					return err
				}
			}
			return nil
		})
		todo = slices.DeleteFunc(todo, func(i int) bool { return !goredis.HasErrorPrefix(cmds[i].Err(), "NOSCRIPT") })
		if len(todo) == 0 {
			break
		}
	}
	return cmds
}

// unrepeated is a command that go-redis sends once.
type unrepeated struct{ *goredis.Cmd }

// NoRetry reports that go-redis must not send the command again.
func (unrepeated) NoRetry() bool { return true }

func parseEpoch(s string) (uint64, error) { return strconv.ParseUint(s, 10, 64) }
