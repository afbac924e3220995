package node

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/architus/guildcast/internal/retry"
	"github.com/architus/guildcast/permissions"
	"github.com/architus/guildcast/redis"
	"github.com/architus/guildcast/token"
)

// gate is a verifier that refuses all tokens, with 503, until the node knows which are revoked. Once opened it stays
// open, even while Redis is lost: the node reads what was revoked meanwhile when Redis is back.
type gate struct {
	current atomic.Pointer[token.Verifier] // replaced by a reload
	open    atomic.Bool
}

// Verify returns the claims of a token that is good at this moment.
func (g *gate) Verify(ctx context.Context, text string) (*permissions.Claims, error) {
	if !g.open.Load() {
		return nil, &token.Error{Word: token.RevocationsUnavailable}
	}
	return g.current.Load().Verify(ctx, text)
}

// applyRevocation puts a revocation that was published, or stored, into effect.
func (n *Node) applyRevocation(message []byte) (stored redis.Revocation, fresh bool, err error) {
	now := time.Now()
	r, err := permissions.ParseRevocation(message, now, n.config.RevocationLifetime)
	if err != nil {
		return redis.Revocation{}, false, err
	}
	record, err := r.Record()
	if err != nil {
		return redis.Revocation{}, false, err
	}
	// Before the gateway looks at its sockets: one that is being elevated now finds out by itself.
	fresh, err = n.known.Add(r, now)
	if err != nil {
		fresh = true
		if n.lines.Allow("too many revocations") {
			n.config.Logger.Error("more revocations are in force than fit; tokens are refused until they have expired",
				"err", err,
				"held", n.known.Len())
		}
	}
	if fresh && n.verifier.open.Load() { // before, no socket is elevated
		n.gateway.Revoke(r)
	}
	return redis.Revocation{Record: record, Expires: r.Expires}, fresh, nil
}

// knownRevocations calls yield with all revocations in force, some at a time.
func (n *Node) knownRevocations(yield func([]redis.Revocation) bool) {
	n.known.Batches(time.Now(), func(batch []permissions.Revocation) bool {
		stored := make([]redis.Revocation, 0, len(batch))
		for _, r := range batch {
			if record, err := r.Record(); err == nil { // as it was when it was applied
				stored = append(stored, redis.Revocation{Record: record, Expires: r.Expires})
			}
		}
		return yield(stored)
	})
}

// loadRevocations opens the gate once the stored revocations are in effect, however long Redis is away. Meanwhile it
// logs why they can't be read, once a minute.
func (n *Node) loadRevocations(ctx context.Context) error {
	pause := retry.Backoff{Min: loadPauseMin, Max: loadPauseMax}
	for ctx.Err() == nil {
		err := n.revocations.Load(ctx)
		if err == nil {
			n.verifier.open.Store(true)
			return nil
		}
		if ctx.Err() != nil {
			break
		}
		if n.lines.Allow("revocations can't be read") {
			n.config.Logger.Error("revocations can't be read; all tokens are refused", "err", err)
		}
		pause.Sleep(ctx)
	}
	return nil
}

// The pauses before the revocations are read again, if they can't be.
const (
	loadPauseMin = 100 * time.Millisecond
	loadPauseMax = 2 * time.Second
)
