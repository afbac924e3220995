package handlers

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Config of a gateway. The zero value works.
type Config struct {
	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil: the metrics are counted and not shown

	// TokenOptional lets elevated events come without a token. A token that comes all the same is verified.
	TokenOptional bool

	// UsersByID lets nobody but an architus_admin list or search the users that belong to no guild: they are had by
	// their ids, or with a guild's members.
	UsersByID bool

	// ExpiryWarning is how long before the end of a token elevation_expiring is sent, though never before half of the
	// token's remaining life is over. Default 1 minute.
	ExpiryWarning time.Duration

	// SubscribeTimeout is how long a spectate waits for Redis to confirm. Default 5 s.
	SubscribeTimeout time.Duration

	// InterpretTimeout is how long an interpret request may take from its arrival, waiting for those of the same socket
	// before it included. Default 5 s.
	InterpretTimeout time.Duration

	// TrustedProxies may say in X-Forwarded-For which address a client has. Default none: the peer's address counts.
	TrustedProxies []netip.Prefix

	Limits Limits
}

func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.ExpiryWarning <= 0 {
		c.ExpiryWarning = time.Minute
	}
	if c.SubscribeTimeout <= 0 {
		c.SubscribeTimeout = 5 * time.Second
	}
	if c.InterpretTimeout <= 0 {
		c.InterpretTimeout = 5 * time.Second
	}
	c.Limits = c.Limits.withDefaults()
	return c
}
