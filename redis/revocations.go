package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/internal/botwire"
)

const (
	revokeChannel = botwire.RevokeChannel

	// maxRevocations is how many are remembered where nothing else is said.
	maxRevocations = 100_000

	// retryMin and retryMax bound the pause before Redis is asked again.
	retryMin, retryMax = 100 * time.Millisecond, 3 * time.Second
	// attemptTimeout bounds one attempt to read or write the stored revocations.
	attemptTimeout = 10 * time.Second
)

// RevocationsOptions configure Revocations.
type RevocationsOptions struct {
	// Apply puts a revocation into effect on this node, and says until when tokens that it takes back could still be
	// valid: so long it is stored. message is as it was published; of a stored one, it has "exp", in Unix seconds, from
	// storage. An error drops it. Apply may be called from several goroutines, and more than once with the same
	// revocation; it must not block. Required.
	Apply func(message []byte) (expires time.Time, err error)

	// Max bounds the revocations remembered, here and in Redis; with more, those that expire first are forgotten.
	// Default 100,000.
	Max int

	// Logger receives what an operator must know; nil discards.
	Logger *slog.Logger
}

// RevocationsStats are counters since NewRevocations.
type RevocationsStats struct {
	Heard     uint64 // messages on guildcast:revoke
	Malformed uint64 // of those, refused by Apply or no JSON object
	Loaded    uint64 // put into effect from storage
	Known     int    // remembered now
	Unstored  int    // of those, not in Redis yet
}

// Revocations hears which tokens are taken back, and stores it in Redis so that nodes started later know. Whoever
// revokes has only to publish: every node that hears it stores it, which is the same however many do. All methods may
// be called concurrently.
type Revocations struct {
	// Static after construction.
	opts    RevocationsOptions
	store   revocationStore
	ear     *ear
	unwatch func()
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	unsaved chan struct{} // capacity 1: pending is not empty
	gap     chan struct{} // capacity 1: messages may have been missed
	wg      sync.WaitGroup

	heard, malformed, loaded atomic.Uint64

	// Guarded by mu.
	mu      sync.Mutex
	known   map[string]time.Time // canonical revocations, and when they expire
	pending map[string]time.Time // of those, the ones to be written
}

// NewRevocations begins to hear. Load must be called before the first token is accepted; Close ends it.
func NewRevocations(client goredis.UniversalClient, b *bus.Bus, o RevocationsOptions) *Revocations {
	if o.Max <= 0 {
		o.Max = maxRevocations
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Revocations{
		opts: o, store: revocationStore{client: client, max: o.Max}, unsaved: make(chan struct{}, 1), gap: make(chan struct{}, 1),
		known: map[string]time.Time{}, pending: map[string]time.Time{},
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.unwatch = b.Watch(func(s bus.State) {
		if afterLoss(s) {
			raise(r.gap)
		}
	})
	r.ear = newEar(b, revokeChannel, r.handle)
	r.wg.Go(func() { r.whenever(r.unsaved, "store revocations", r.save) })
	r.wg.Go(func() { r.whenever(r.gap, "read revocations again", r.Load) })
	return r
}

// raise makes sure that c, of capacity 1, holds a token.
func raise(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Load waits until new revocations are heard, then puts those in effect that are stored. It fails with ErrUnavailable,
// and may be called again.
func (r *Revocations) Load(ctx context.Context) error {
	if err := r.ear.wait(ctx); err != nil {
		return unavailable("hear revocations", err)
	}
	seen := map[string]struct{}{}
	err := r.store.each(ctx, func(record string, expires time.Time) {
		seen[record] = struct{}{}
		r.restore(record, expires)
	})
	if err != nil {
		return unavailable("read revocations", err)
	}
	// A Redis that has lost its memory is told again.
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for record, expires := range r.known {
		if _, stored := seen[record]; !stored && expires.After(now) {
			r.pending[record] = expires
			raise(r.unsaved)
		}
	}
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
	if err := (revocationStore{client: client, max: maxRevocations}).write(ctx, map[string]time.Time{record: expires}); err != nil {
		return 0, unavailable("store revocation", err)
	}
	if heard, err = client.Publish(ctx, revokeChannel, withExpiry(record, expires)).Result(); err != nil {
		return 0, unavailable("publish revocation", err)
	}
	return heard, nil
}

// handle takes what was published. Called by the bus, one at a time.
func (r *Revocations) handle(m bus.Message) {
	if m.Missed > 0 {
		raise(r.gap)
	}
	r.heard.Add(1)
	record, err := canonical(m.Payload)
	if err == nil {
		var expires time.Time
		if expires, err = r.opts.Apply(m.Payload); err == nil {
			r.remember(record, expires)
			return
		}
	}
	if n := r.malformed.Add(1); n&(n-1) == 0 { // the first, and then ever more rarely
		r.opts.Logger.Warn("malformed revocation dropped", "err", err, "so_far", n)
	}
}

// remember keeps a revocation in effect for storage, unless it is known to last as long already.
func (r *Revocations) remember(record string, expires time.Time) {
	if !expires.After(time.Now()) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !expires.After(r.known[record]) {
		return
	}
	r.makeRoomLocked(record)
	r.known[record], r.pending[record] = expires, expires
	raise(r.unsaved)
}

// restore puts a stored revocation into effect, unless it is.
func (r *Revocations) restore(record string, expires time.Time) {
	r.mu.Lock()
	known := !expires.After(r.known[record])
	r.mu.Unlock()
	if known || !expires.After(time.Now()) {
		return
	}
	if _, err := r.opts.Apply(withExpiry(record, expires)); err != nil {
		r.opts.Logger.Warn("stored revocation is malformed", "err", err)
		return
	}
	r.loaded.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.makeRoomLocked(record)
	r.known[record] = expires
}

// makeRoomLocked forgets what has expired, or else what expires first, so that record fits.
func (r *Revocations) makeRoomLocked(record string) {
	if _, known := r.known[record]; known || len(r.known) < r.opts.Max {
		return
	}
	now := time.Now()
	var first string
	for old, expires := range r.known {
		if !expires.After(now) {
			delete(r.known, old)
			delete(r.pending, old)
		} else if first == "" || expires.Before(r.known[first]) {
			first = old
		}
	}
	if len(r.known) >= r.opts.Max {
		delete(r.known, first)
		delete(r.pending, first)
		r.opts.Logger.Error("too many revocations: the one that expires first is forgotten", "max", r.opts.Max)
	}
}

// save writes what is pending.
func (r *Revocations) save(ctx context.Context) error {
	r.mu.Lock()
	batch := maps.Clone(r.pending)
	r.mu.Unlock()
	if err := r.store.write(ctx, batch); err != nil {
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
		raise(r.unsaved)
	}
	return nil
}

// whenever calls f after each signal, until it succeeds.
func (r *Revocations) whenever(signal <-chan struct{}, what string, f func(context.Context) error) {
	for {
		select {
		case <-signal:
		case <-r.ctx.Done():
			return
		}
		for pause := retryMin; ; pause = min(2*pause, retryMax) {
			ctx, cancel := context.WithTimeout(r.ctx, attemptTimeout)
			err := f(ctx)
			cancel()
			if err == nil {
				break
			}
			if errors.Is(err, context.Canceled) {
				return
			}
			r.opts.Logger.Warn("revocations are incomplete until redis is back", "operation", what, "err", err)
			timer := time.NewTimer(pause)
			select {
			case <-timer.C:
			case <-r.ctx.Done():
				timer.Stop()
				return
			}
		}
	}
}

// Stats returns the counters.
func (r *Revocations) Stats() RevocationsStats {
	s := RevocationsStats{Heard: r.heard.Load(), Malformed: r.malformed.Load(), Loaded: r.loaded.Load()}
	r.mu.Lock()
	defer r.mu.Unlock()
	s.Known, s.Unstored = len(r.known), len(r.pending)
	return s
}

// Close stops hearing and waits for its goroutines. What is not stored by then is stored by the other nodes that heard
// it.
func (r *Revocations) Close() {
	r.unwatch()
	r.ear.close()
	r.cancel()
	r.wg.Wait()
}
