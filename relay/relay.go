// Package relay publishes durably what others publish plainly. Several relays stand by for each other. One leads and
// publishes. The others keep every message until they hear that it was published.
// docs/decisions/0039-relays-stand-by.md has the protocol between them.
//
// The files: relay.go (what is heard), line.go (messages of a guild that nobody has published yet), lease.go (who
// leads), lead.go (the leader publishes), scripts.go (what that asks of Redis).
package relay

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/internal/defaults"
	"github.com/architus/guildcast/internal/service"
	"github.com/architus/guildcast/internal/throttle"
	"github.com/architus/guildcast/internal/wake"
)

// Reason is the reason of the resync for which a relay's marker asks nodes.
const Reason = "relay_lost"

// Options configure a Relay. FromPrefix and ToPrefix must differ, so New refuses the zero value.
type Options struct {
	// FromPrefix precedes the guild's id in the names of the channels on which the relay listens. Default "".
	FromPrefix string

	// ToPrefix precedes the guild's id in the names of the channels to which it publishes. Default "".
	ToPrefix string

	// MaxEntries, MaxAge and Sharded are as in history.PublisherOptions.
	MaxEntries int
	MaxAge     time.Duration
	Sharded    bool

	// Lease is how long the others wait for a silent leader before one of them takes over. Default 3 s.
	Lease time.Duration

	// These bound the messages that are not published yet: per guild MaxGuildEntries (default 10,000) and MaxGuildBytes
	// (default 16 MiB), for all guilds together MaxAllEntries (default 500,000) and MaxAllBytes (default 256 MiB). A
	// message beyond a bound is dropped, and the guild's spectators get a resync.
	MaxGuildEntries, MaxGuildBytes int
	MaxAllEntries, MaxAllBytes     int

	// Logger receives what an operator must know; nil discards.
	Logger *slog.Logger
}

// Stats describe a relay. The counters only grow.
type Stats struct {
	Leading      bool
	Ready        bool   // the relay could take over without a resync
	Heard        uint64 // messages of guilds that are valid events
	Malformed    uint64 // messages of guilds that are not, and were dropped
	Published    uint64 // events that this relay published durably
	Markers      uint64 // markers that this relay published
	Overflowed   uint64 // messages that were dropped at a bound
	Refused      uint64 // refusals of events by Redis
	Takeovers    uint64 // how often this relay began to lead
	Pending      int    // messages that are not published yet, as far as this relay knows
	PendingBytes int
	Waiting      time.Duration // age of the oldest pending message
}

// Relay is one relay of a deployment. All methods may be called concurrently.
type Relay struct {
	// Static after construction.
	client  goredis.UniversalClient
	bus     *bus.Bus
	opts    Options
	id      string
	pattern string // of the topics that are listened to
	control string // the channel on which relays talk to each other
	life    service.Life
	wake    wake.Signal // there is something to do for the leader
	log     *slog.Logger
	refused throttle.Minutely[string] // log lines, by guild

	// Guarded by mu.
	mu      sync.Mutex
	pending lines
	hearing hearing
	lease   lease
	adopted map[string]uint64 // guild: the epoch whose fence this relay has heard
	syncs   []barrier         // what standbys wait for, in order
	admits  bool              // the leader has still to say where events may have been lost
	stats   Stats
}

// hearing says whether a relay knows all pending messages.
type hearing struct {
	epochs map[string]uint64 // of the bus, by pattern or channel, since token was heard
	token  string            // the token that is awaited, or was heard last
	asked  time.Time         // when token was made
	echoed bool              // token was heard: every message since is kept
	sure   bool              // and the leader has published every message before
}

// lease is what a relay knows about its own lease.
type lease struct {
	epoch uint64    // 0 if it does not lead
	until time.Time // by this process's clock, checked before every publishing
}

// barrier is a place among the messages. Everything up to it must be published before a standby gets its answer.
type barrier struct {
	token string
	seq   uint64
}

// New returns a relay; call Run. It fails if the relay would listen to what it publishes.
func New(b *bus.Bus, client goredis.UniversalClient, o Options) (*Relay, error) {
	if rest, ok := strings.CutPrefix(o.ToPrefix, o.FromPrefix); ok && strings.Trim(rest, "0123456789") == "" {
		return nil, fmt.Errorf("a relay from prefix %q to prefix %q would hear itself", o.FromPrefix, o.ToPrefix)
	}
	o.MaxEntries = defaults.Positive(o.MaxEntries, history.DefaultMaxEntries)
	o.MaxAge = defaults.Positive(o.MaxAge, history.DefaultMaxAge)
	o.Lease = defaults.Positive(o.Lease, 3*time.Second)
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	_, cluster := client.(*goredis.ClusterClient)
	r := &Relay{
		client: client, bus: b, opts: o, id: rand.Text(), wake: wake.New(), log: o.Logger,
		pattern: globEscape.Replace(o.FromPrefix) + "[0-9]*",
		control: controlPrefix + o.ToPrefix,
		adopted: map[string]uint64{},
		pending: lines{
			maxLineEntries: defaults.Positive(o.MaxGuildEntries, 10_000),
			maxLineBytes:   defaults.Positive(o.MaxGuildBytes, 16<<20),
			maxEntries:     defaults.Positive(o.MaxAllEntries, 500_000),
			maxBytes:       defaults.Positive(o.MaxAllBytes, 256<<20),
			unordered:      cluster,
		},
	}
	r.pending.reset()
	return r, nil
}

var globEscape = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`)

// Names in Redis.
const (
	controlPrefix = "guildcast:relay:"
	leasePrefix   = "guildcast:relay:lease:"
	fencePrefix   = "guildcast:relay:fence:"
)

func (r *Relay) leaseKey() string { return leasePrefix + r.opts.ToPrefix }

// fenceKey is in the slot of the guild's history.
func (r *Relay) fenceKey(guild string) string {
	return fencePrefix + "{" + guild + "}:" + r.opts.ToPrefix
}

// Stats returns a snapshot.
func (r *Relay) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stats
	s.Leading, s.Ready = r.leadsLocked(time.Now()), r.hearing.sure
	s.Heard, s.Overflowed = r.pending.heard, r.pending.overflowed
	s.Pending, s.PendingBytes = r.pending.entries, r.pending.bytes
	for _, l := range r.pending.of {
		if len(l.items) > 0 {
			s.Waiting = max(s.Waiting, time.Since(l.items[0].at))
		}
	}
	return s
}

func (r *Relay) leadsLocked(now time.Time) bool {
	return r.lease.epoch > 0 && now.Before(r.lease.until)
}

// Run relays until ctx ends, then hands over. It returns nil once all of its goroutines have ended. Call it once.
func (r *Relay) Run(ctx context.Context) error {
	if err := r.life.Begin(); err != nil {
		return fmt.Errorf("run relay: %w", err)
	}
	defer r.life.End()
	sub := r.bus.NewSubscription(bus.HandlerFunc(r.handle))
	defer sub.Close()
	unwatch := r.bus.Watch(func(s bus.State) {
		if s.Hearing && s.Gap {
			r.unsure("the connection to redis was lost")
		}
	})
	defer unwatch()
	for kind, name := range map[bus.Kind]string{bus.Pattern: r.pattern, bus.Channel: r.control} {
		if err := sub.Subscribe(ctx, kind, name); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("run relay: %w", err)
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() { r.hold(ctx) })
	wg.Go(func() { r.lead(ctx) })
	wg.Wait()
	r.handOver()
	return nil
}

// handle takes a message of the bus. It runs for one message at a time, in their order.
func (r *Relay) handle(m bus.Message) {
	if !r.life.Enter() {
		return
	}
	defer r.life.Leave()
	name := cmp.Or(m.Pattern, m.Channel)
	r.mu.Lock()
	defer r.mu.Unlock()
	if epoch, ok := r.hearing.epochs[name]; m.Missed > 0 || ok && epoch != m.Epoch {
		r.unsureLocked("messages were missed")
	}
	if r.hearing.epochs == nil {
		r.hearing.epochs = map[string]uint64{}
	}
	r.hearing.epochs[name] = m.Epoch
	if name == r.control {
		r.talkLocked(string(m.Payload))
		return
	}
	topic, ok := event.ParseChannel(r.opts.FromPrefix, m.Channel)
	if !ok {
		return
	}
	if _, err := event.Parse(topic, m.Payload); err != nil {
		r.stats.Malformed++
		return
	}
	if r.pending.add(topic, m.Payload, time.Now()) && r.lease.epoch > 0 {
		r.wake.Send()
	}
}

// What relays say to each other, in words with blanks between them:
//
//	sync <token>                          from now on I keep what I hear
//	synced <token> <epoch> [<guild>...]   what was heard before that is published, except of these guilds
//	done <guild> <hash>...                these are published
//	fenced <guild> <epoch> <id>           nobody before that epoch publishes for the guild any more
//	lost                                  the leader does not know what was published before; nobody does
func (r *Relay) talkLocked(text string) {
	words := strings.Fields(text)
	if len(words) == 0 {
		return
	}
	switch args := words[1:]; {
	case words[0] == "sync" && len(args) == 1:
		r.syncLocked(args[0])
	case words[0] == "synced" && len(args) >= 2:
		r.syncedLocked(args[0], args[2:])
	case words[0] == "done" && len(args) >= 1 && r.keepsDoneLocked():
		now := time.Now()
		for _, hash := range args[1:] {
			r.pending.done(args[0], hash, now)
		}
		r.wake.Send()
	case words[0] == "fenced" && len(args) == 3 && args[2] == r.id:
		if epoch, err := parseEpoch(args[1]); err == nil && epoch == r.lease.epoch {
			r.adopted[args[0]] = epoch
			r.wake.Send()
		}
	case words[0] == "lost" && len(args) == 1 && args[0] != r.id:
		r.unsureLocked("the leader missed messages")
	}
}

// keepsDoneLocked reports whether this relay has heard the messages that a "done" names. Between the echo of its sync
// and the answer it may not have.
func (r *Relay) keepsDoneLocked() bool { return r.hearing.sure || !r.hearing.echoed }

// syncLocked handles a sync. If it is this relay's own, the relay begins to keep messages. Otherwise the leader will
// answer it.
func (r *Relay) syncLocked(token string) {
	switch {
	case token == r.hearing.token && !r.hearing.echoed:
		r.pending.reset()
		r.hearing.echoed = true
	case token != r.hearing.token && r.lease.epoch > 0:
		r.syncs = append(r.syncs, barrier{token, r.pending.heard})
		r.wake.Send()
	}
}

func (r *Relay) syncedLocked(token string, except []string) {
	if token != r.hearing.token || !r.hearing.echoed || r.hearing.sure {
		return
	}
	r.hearing.sure = true
	for _, guild := range except {
		r.pending.line(guild).lossy = true
	}
	r.log.Info("relay stands by", "pending", r.pending.entries)
}

// unsure records that this relay no longer knows all pending messages.
func (r *Relay) unsure(why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unsureLocked(why)
}

func (r *Relay) unsureLocked(why string) {
	if r.hearing.sure {
		r.log.Warn("relay can't know what is published", "reason", why, "leading", r.lease.epoch > 0)
	}
	r.hearing = hearing{}
	r.pending.reset()
	r.wake.Send()
}
