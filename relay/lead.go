package relay

import (
	"context"
	"crypto/sha1" //nolint:gosec // Redis names scripts by it
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

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
