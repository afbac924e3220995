package redis

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/internal/botwire"
	"github.com/architus/guildcast/internal/defaults"
	"github.com/architus/guildcast/internal/retry"
	"github.com/architus/guildcast/internal/service"
	"github.com/architus/guildcast/internal/throttle"
	"github.com/architus/guildcast/internal/wake"
)

const (
	revokeChannel = botwire.RevokeChannel

	// retryMin and retryMax bound the pause before Redis is asked again.
	retryMin, retryMax = 100 * time.Millisecond, 3 * time.Second
	// attemptTimeout bounds one exchange with Redis.
	attemptTimeout = 10 * time.Second
	// maxPending bounds the revocations that wait to be written; more are found missing when the set is read again.
	maxPending = 100_000
	// readPause is how often the stored revocations are read again if nothing else is said, and readShare makes it
	// rarer if there are many: reading takes at most one part in so many of the time.
	readPause, readShare = time.Minute, 50
	// restorePause follows each batch that is published again, so that no node is flooded.
	restorePause = 5 * time.Millisecond
)

// Revocation is a revocation as Redis stores it.
type Revocation struct {
	Record  string    // a JSON object without "exp", the same text for the same tokens
	Expires time.Time // when the last token that it takes back has expired
}

// RevocationsOptions configure Revocations.
type RevocationsOptions struct {
	// Apply puts a revocation into effect on this node and returns what to store of it. fresh reports whether it was
	// not in effect yet, or not for as long. message is as it was published; of a stored one, it has "exp", in Unix
	// seconds, from storage. An error drops it. Apply may be called from several goroutines; it must not block.
	// Required.
	Apply func(message []byte) (r Revocation, fresh bool, err error)

	// Known calls yield with all revocations in effect, some at a time, until it returns false. What Redis has lost is
	// stored again from there. nil: nothing is.
	Known func(yield func([]Revocation) bool)

	// Reread is how often the stored revocations are read again, give or take a quarter; rarer if it takes long.
	// Default 1 minute.
	Reread time.Duration

	// Logger receives what an operator must know; nil discards.
	Logger *slog.Logger
}

// RevocationsStats are counters since NewRevocations.
type RevocationsStats struct {
	Heard     uint64 // messages on guildcast:revoke
	Malformed uint64 // of those, refused by Apply or no JSON object
	Loaded    uint64 // put into effect from storage
	Restored  uint64 // stored and published again, since Redis had lost them
	Unstored  int    // not in Redis yet
}

// Revocations hears which tokens are taken back, and stores it in Redis so that nodes started later know. It keeps no
// set of its own: Apply and Known are its owner's. All methods may be called concurrently.
type Revocations struct {
	// Static after construction.
	opts    RevocationsOptions
	store   revocationStore
	ear     *ear
	unwatch func()
	life    service.Life       // entered by Load and callbacks
	ctx     context.Context    // ends with Run
	cancel  context.CancelFunc // called by Run
	unsaved wake.Signal        // pending is not empty
	gap     wake.Signal        // messages may have been missed

	lines throttle.Minutely[string] // by message or operation

	heard, malformed, loaded, restored atomic.Uint64

	// Guarded by mu.
	mu      sync.Mutex
	pending map[string]time.Time // records to be written, and when they expire
}

// NewRevocations begins to hear. Load must be called before the first token is accepted. It must be run.
func NewRevocations(client goredis.UniversalClient, b *bus.Bus, o RevocationsOptions) *Revocations {
	o.Reread = defaults.Positive(o.Reread, readPause)
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	if o.Known == nil {
		o.Known = func(func([]Revocation) bool) {}
	}
	r := &Revocations{
		opts: o, store: revocationStore{client}, unsaved: wake.New(), gap: wake.New(),
		pending: map[string]time.Time{},
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.unwatch = b.Watch(func(s bus.State) {
		if afterLoss(s) {
			r.gap.Send()
		}
	})
	r.ear = newEar(b, revokeChannel, r.handle)
	return r
}

// Run stores what was heard and reads again what is stored, until ctx ends. It returns nil once nothing runs any more.
// What is not stored by then is stored by the other nodes that heard it. It may be called once.
func (r *Revocations) Run(ctx context.Context) error {
	if err := r.life.Begin(); err != nil {
		return fmt.Errorf("run revocations: %w", err)
	}
	var loops sync.WaitGroup
	loops.Go(func() { r.keepSaving(ctx) })
	loops.Go(func() { r.keepReading(ctx) })
	<-ctx.Done()
	r.cancel()
	r.unwatch()
	r.ear.close()
	loops.Wait()
	r.life.End()
	return nil
}

// Load waits until new revocations are heard, then puts those in effect that are stored. It fails with ErrUnavailable,
// and may be called again.
func (r *Revocations) Load(ctx context.Context) error {
	if !r.life.Enter() {
		return unavailable("read revocations", service.ErrEnded)
	}
	defer r.life.Leave()
	loading, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.ctx, cancel)()
	err := r.read(loading, func(Revocation) {})
	if err != nil && r.ctx.Err() != nil && ctx.Err() == nil {
		return unavailable("read revocations", service.ErrEnded)
	}
	return err
}

// read is Load; it calls seen with each revocation that is stored.
func (r *Revocations) read(ctx context.Context, seen func(Revocation)) error {
	hear, cancel := context.WithTimeout(ctx, attemptTimeout)
	err := r.ear.wait(hear)
	cancel()
	if err != nil {
		return unavailable("hear revocations", err)
	}
	var malformed int
	var last error
	now := time.Now()
	err = r.store.each(ctx, func(record string, expires time.Time) {
		if !expires.After(now) {
			return
		}
		known, fresh, err := r.opts.Apply(withExpiry(record, expires))
		if err != nil {
			malformed, last = malformed+1, err
			return
		}
		if fresh {
			r.loaded.Add(1)
		}
		seen(known)
	})
	if malformed > 0 && r.lines.Allow("malformed, stored") {
		r.opts.Logger.Error("malformed revocations are stored", "count", malformed, "err", last)
	}
	if err != nil {
		return unavailable("read revocations", err)
	}
	return nil
}

// reread reads what is stored, and stores and publishes what is in effect here but is not stored: Redis has lost it, and
// a node that was started since does not know it.
func (r *Revocations) reread(ctx context.Context) error {
	seed := maphash.MakeSeed()
	stored := map[uint64]int64{} // Unix milliseconds by the hash of a record: a collision is mended by the next reread
	err := r.read(ctx, func(known Revocation) {
		h := maphash.String(seed, known.Record)
		stored[h] = max(stored[h], known.Expires.UnixMilli())
	})
	if err != nil {
		return err
	}
	r.opts.Known(func(batch []Revocation) bool {
		missing := map[string]time.Time{}
		for _, known := range batch {
			if stored[maphash.String(seed, known.Record)] < known.Expires.UnixMilli() {
				missing[known.Record] = known.Expires
			}
		}
		if len(missing) > 0 {
			err = r.restore(ctx, missing)
		}
		return err == nil
	})
	return err
}

// restore stores and publishes revocations again, unless another node was faster.
func (r *Revocations) restore(ctx context.Context, missing map[string]time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	news, err := r.store.write(ctx, missing)
	if err != nil {
		return unavailable("store revocations again", err)
	}
	if news == 0 {
		return nil
	}
	if err := r.store.publish(ctx, missing); err != nil {
		return unavailable("publish revocations again", err)
	}
	r.restored.Add(uint64(len(missing)))
	retry.Sleep(ctx, restorePause)
	return nil
}

// Revoke stores a revocation until it expires, and publishes it to every node. It is for those who are no node and
// can't know whether one runs: what is only published is lost where nobody hears it. It returns how many heard; a
// message that is no JSON object is an error, what it says is not looked at.
func Revoke(ctx context.Context, client goredis.UniversalClient, message []byte, expires time.Time) (heard int64, err error) {
	record, err := canonical(message)
	if err != nil {
		return 0, fmt.Errorf("revoke: %w", err)
	}
	// First stored: a node that starts in between reads it, or hears it.
	if _, err := (revocationStore{client}).write(ctx, map[string]time.Time{record: expires}); err != nil {
		return 0, unavailable("store revocation", err)
	}
	if heard, err = client.Publish(ctx, revokeChannel, withExpiry(record, expires)).Result(); err != nil {
		return 0, unavailable("publish revocation", err)
	}
	return heard, nil
}

// handle takes what was published. Called by the bus, one at a time.
func (r *Revocations) handle(m bus.Message) {
	if !r.life.Enter() {
		return
	}
	defer r.life.Leave()
	if m.Missed > 0 {
		r.gap.Send()
	}
	r.heard.Add(1)
	err := errTooLarge
	if len(m.Payload) <= maxRevocation {
		var known Revocation
		var fresh bool
		if known, fresh, err = r.opts.Apply(m.Payload); err == nil {
			if fresh {
				r.remember(known)
			}
			return
		}
	}
	if n := r.malformed.Add(1); r.lines.Allow("malformed") {
		r.opts.Logger.Warn("malformed revocation dropped", "err", err, "so_far", n)
	}
}

// remember keeps a revocation until it is stored.
func (r *Revocations) remember(known Revocation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, waits := r.pending[known.Record]; !waits && len(r.pending) >= maxPending {
		return // found missing when the set is read again
	}
	r.pending[known.Record] = known.Expires
	r.unsaved.Send()
}

// save writes some of what is pending.
func (r *Revocations) save(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	batch := map[string]time.Time{}
	r.mu.Lock()
	for record, expires := range r.pending {
		if batch[record] = expires; len(batch) == storeChunk {
			break
		}
	}
	r.mu.Unlock()
	if _, err := r.store.write(ctx, batch); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for record, expires := range batch {
		if r.pending[record].Equal(expires) {
			delete(r.pending, record)
		}
	}
	if len(r.pending) > 0 {
		r.unsaved.Send()
	}
	return nil
}

// keepSaving writes what is pending until ctx ends.
func (r *Revocations) keepSaving(ctx context.Context) {
	for {
		select {
		case <-r.unsaved:
		case <-ctx.Done():
			return
		}
		r.untilDone(ctx, "store revocations", r.save)
	}
}

// keepReading reads what is stored again until ctx ends: if messages may have been missed, and now and then, since a Redis
// can lose them without a trace.
func (r *Revocations) keepReading(ctx context.Context) {
	for interval := r.opts.Reread; ctx.Err() == nil; {
		timer := time.NewTimer(interval*3/4 + rand.N(interval/2+1))
		select {
		case <-r.gap:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		begun := time.Now()
		r.untilDone(ctx, "read revocations again", r.reread)
		interval = max(r.opts.Reread, readShare*time.Since(begun))
	}
}

// untilDone calls f until it succeeds, or ctx ends. It logs failures, once a minute.
func (r *Revocations) untilDone(ctx context.Context, what string, f func(context.Context) error) {
	pause := retry.Backoff{Min: retryMin, Max: retryMax}
	for ctx.Err() == nil {
		err := f(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		if r.lines.Allow(what) {
			r.opts.Logger.Warn("revocations are incomplete", "operation", what, "err", err)
		}
		pause.Sleep(ctx)
	}
}

// Stats returns the counters.
func (r *Revocations) Stats() RevocationsStats {
	s := RevocationsStats{Heard: r.heard.Load(), Malformed: r.malformed.Load(), Loaded: r.loaded.Load(), Restored: r.restored.Load()}
	r.mu.Lock()
	defer r.mu.Unlock()
	s.Unstored = len(r.pending)
	return s
}
