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
	// exchangeTimeout bounds one exchange with Redis.
	exchangeTimeout = 10 * time.Second
	// maxPending bounds the revocations that wait to be stored. Further ones are found missing at the next reread.
	maxPending = 100_000
	// readPause is the default of Reread. readShare makes rereads rarer if there are many revocations: they take at
	// most 1/readShare of the time.
	readPause, readShare = time.Minute, 50
	// restorePause follows each batch that is published again, so that no node is flooded.
	restorePause = 5 * time.Millisecond
)

// Revocation is a revocation as Redis stores it.
type Revocation struct {
	Record  string    // a JSON object without "exp"; equal revocations have equal text
	Expires time.Time // when the last token that it revokes has expired
}

// RevocationsOptions configure Revocations.
type RevocationsOptions struct {
	// Apply puts a revocation into effect on this node and returns what to store of it. fresh reports whether it was
	// not in effect yet, or not for as long. message is as published or, for a stored revocation, the record with its
	// expiry as "exp", in Unix seconds. An error drops the revocation. Apply may be called concurrently and must not
	// block. Required.
	Apply func(message []byte) (r Revocation, fresh bool, err error)

	// Known calls yield with all revocations in effect, a batch at a time, until yield returns false. Those that Redis
	// has lost are stored again. Nil means that none are.
	Known func(yield func([]Revocation) bool)

	// Reread is the interval at which the stored revocations are read again, give or take a quarter. It grows if
	// reading takes long. Default 1 minute.
	Reread time.Duration

	// Logger receives what an operator must know; nil discards.
	Logger *slog.Logger
}

// RevocationsStats are counters since NewRevocations.
type RevocationsStats struct {
	Heard     uint64 // messages on guildcast:revoke
	Malformed uint64 // of those, too large or refused by Apply
	Loaded    uint64 // put into effect from storage
	Restored  uint64 // stored and published again, since Redis had lost them
	Unstored  int    // not in Redis yet
}

// Revocations hears which tokens are revoked, and stores it in Redis for nodes that are started later. It keeps no set
// of its own: its owner does, behind Apply and Known. All methods may be called concurrently.
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
	pending map[string]time.Time // expiries of the records to be stored
}

// NewRevocations returns the revocations of a node, which must be run, and subscribes to new ones. Load must be called
// before the node accepts its first token.
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

// Run stores what is heard, and rereads what is stored, until ctx ends. It returns nil once Load and all callbacks have
// returned. Revocations that are not stored by then are left to the other nodes that heard them. It may be called once.
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

// Load waits until new revocations are heard, then puts the stored ones into effect. If it fails, with ErrUnavailable,
// it may be called again.
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

// read does what Load does, and calls seen with each stored revocation.
func (r *Revocations) read(ctx context.Context, seen func(Revocation)) error {
	hear, cancel := context.WithTimeout(ctx, exchangeTimeout)
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

// reread reads the stored revocations. Then it stores and publishes those that are in effect here but not stored: Redis
// has lost them, and a node that was started since does not know them.
func (r *Revocations) reread(ctx context.Context) error {
	seed := maphash.MakeSeed()
	stored := map[uint64]int64{} // Unix milliseconds by a record's hash: the next reread mends a collision
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

// restore stores revocations again and, unless another node was faster, publishes them.
func (r *Revocations) restore(ctx context.Context, missing map[string]time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
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

// Revoke stores a revocation until it expires and publishes it to every node. It is for programs that can't know
// whether a node runs: a revocation that is only published is lost if nobody hears it. It returns how many subscribers
// heard it. It fails if message is no JSON object or is empty apart from "exp", and checks nothing else.
func Revoke(
	ctx context.Context, client goredis.UniversalClient, message []byte, expires time.Time,
) (heard int64, err error) {
	record, err := canonical(message)
	if err != nil {
		return 0, fmt.Errorf("revoke: %w", err)
	}
	// It is stored first, so that a node that starts in between reads it or hears it.
	if _, err := (revocationStore{client}).write(ctx, map[string]time.Time{record: expires}); err != nil {
		return 0, unavailable("store revocation", err)
	}
	if heard, err = client.Publish(ctx, revokeChannel, withExpiry(record, expires)).Result(); err != nil {
		return 0, unavailable("publish revocation", err)
	}
	return heard, nil
}

// handle handles one published revocation. The bus calls it, one message at a time.
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

// remember queues a revocation to be stored.
func (r *Revocations) remember(known Revocation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, waits := r.pending[known.Record]; !waits && len(r.pending) >= maxPending {
		return // the next reread finds it missing
	}
	r.pending[known.Record] = known.Expires
	r.unsaved.Send()
}

// save stores a batch of the pending revocations.
func (r *Revocations) save(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
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

// keepSaving stores pending revocations until ctx ends.
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

// keepReading rereads the stored revocations until ctx ends: whenever messages may have been missed, and at intervals,
// since Redis can lose keys without a trace.
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

// untilDone calls f until it succeeds or ctx ends. It logs failures, once a minute.
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
	s := RevocationsStats{
		Heard: r.heard.Load(), Malformed: r.malformed.Load(), Loaded: r.loaded.Load(), Restored: r.restored.Load(),
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s.Unstored = len(r.pending)
	return s
}
