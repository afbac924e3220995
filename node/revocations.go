package node

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/architus/guildcast/permissions"
	"github.com/architus/guildcast/redis"
	"github.com/architus/guildcast/token"
)

// gate is the verifier while it is not known yet which tokens were taken back: it refuses all with a status of 503.
// Once opened it stays open, also while Redis is lost: what was taken back meanwhile is read when Redis is found again.
type gate struct {
	*token.Verifier
	open atomic.Bool
}

// Verify gives the claims of a token that is good at this moment.
func (g *gate) Verify(ctx context.Context, text string) (*permissions.Claims, error) {
	if !g.open.Load() {
		return nil, &token.Error{Word: token.RevocationsUnavailable}
	}
	return g.Verifier.Verify(ctx, text)
}

// applyRevocation puts a revocation that was published, or stored, into effect.
func (n *Node) applyRevocation(message []byte) (expires time.Time, err error) {
	now := time.Now()
	r, err := permissions.ParseRevocation(message, now, n.config.RevokedUntil)
	if err != nil {
		return time.Time{}, err
	}
	// Before the gateway looks at its sockets: one that is being elevated now finds out by itself.
	if _, err := n.known.Add(r, now); err != nil && n.sayTooMany.now(now) {
		n.config.Logger.Error("more revocations are in force than fit; all tokens are refused until they have expired", "err", err,
			"held", n.known.Len())
	}
	n.gateway.Revoke(r)
	return r.Expires, nil
}

// loadRevocations opens the gate once the stored revocations are in effect, however long Redis is away.
func (n *Node) loadRevocations(ctx context.Context) {
	for pause := loadPauseMin; ; pause = min(2*pause, loadPauseMax) {
		attempt, cancel := context.WithTimeout(ctx, loadTimeout)
		err := n.revocations.Load(attempt)
		cancel()
		if err == nil {
			n.verifier.open.Store(true)
			return
		}
		if ctx.Err() != nil {
			return
		}
		if !errors.Is(err, redis.ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded) {
			n.config.Logger.Error("revocations can't be read; all tokens are refused", "err", err)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// How long one attempt to read the revocations may take, and the pauses before the next.
const (
	loadTimeout  = 10 * time.Second
	loadPauseMin = 100 * time.Millisecond
	loadPauseMax = 2 * time.Second
)

// minutely lets through one log line a minute. Its zero value is ready to use.
type minutely struct{ last atomic.Int64 } // Unix milliseconds

// now reports whether the line is due, and if so counts it.
func (m *minutely) now(now time.Time) bool {
	last, ms := m.last.Load(), now.UnixMilli()
	return (last == 0 || ms-last >= time.Minute.Milliseconds()) && m.last.CompareAndSwap(last, ms)
}
