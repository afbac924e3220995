package handlers

import (
	"cmp"
	"log/slog"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/architus/guildcast/internal/defaults"
)

// Config of a gateway. The zero value works.
type Config struct {
	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil: the metrics are counted and not shown

	TokenPerRequest TokenPerRequest // default TokenRequired
	UserPool        UserPool        // default UserPoolAll

	// ExpiryWarning is how long before the end of a token elevation_expiring is sent, though never before half of the
	// token's remaining life is over. Default 1 minute.
	ExpiryWarning time.Duration

	// SubscribeTimeout is how long a spectate waits for Redis to confirm. Default 5 s.
	SubscribeTimeout time.Duration

	// RequestTimeout is how long an interpret request may take from its arrival, waiting for those of the same socket
	// before it included, and how long a pool request waits for a worker, with all others that wait for the same answer.
	// Default 5 s.
	RequestTimeout time.Duration

	// TrustedProxies may say in X-Forwarded-For which address a client has. Default none: the peer's address counts.
	TrustedProxies []netip.Prefix

	Limits Limits
}

// TokenPerRequest says if the events of an elevated socket must carry a token.
type TokenPerRequest string

// With TokenOptional, a token that an event carries is verified all the same.
const (
	TokenRequired TokenPerRequest = "required"
	TokenOptional TokenPerRequest = "optional"
)

// UserPool says what elevated users may ask of the users that belong to no guild.
type UserPool string

// With UserPoolIDs, only an architus_admin may list and search them; others get those whose ids they know, and those of
// a guild's members.
const (
	UserPoolAll UserPool = "all"
	UserPoolIDs UserPool = "ids"
)

func (c Config) withDefaults() Config {
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	c.ExpiryWarning = defaults.Positive(c.ExpiryWarning, time.Minute)
	c.SubscribeTimeout = defaults.Positive(c.SubscribeTimeout, 5*time.Second)
	c.RequestTimeout = defaults.Positive(c.RequestTimeout, 5*time.Second)
	c.Limits = c.Limits.withDefaults()
	return c
}
