package handlers

import (
	"cmp"
	"log/slog"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/architus/guildcast/internal/defaults"
	"github.com/architus/guildcast/internal/traces"
)

// Config of a gateway. The zero value works.
type Config struct {
	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil: the metrics are counted and not shown

	TokenPerRequest TokenPerRequest // default TokenRequired
	UserPool        UserPool        // default UserPoolAll

	// TokenCookie is the name of the cookie that may hold a token; see TakeCookie. Default none.
	TokenCookie string

	// Compat is an older protocol that is spoken too. CompatArchitus needs a server that allows revision 3 of
	// Engine.IO, and a TokenCookie. Default none.
	Compat Compat

	// ExpiryWarning is how long before a token expires elevation_expiring is sent, but at most half of the token's
	// remaining life. Default 1 minute.
	ExpiryWarning time.Duration

	// SubscribeTimeout is how long a spectate waits for Redis to confirm. Default 5 s.
	SubscribeTimeout time.Duration

	// RequestTimeout bounds an interpret request from its arrival, including its wait for earlier ones of the same
	// socket, and how long a pool request waits for a worker, with all others that wait for the same reply. Default 5
	// s.
	RequestTimeout time.Duration

	// TrustedProxies are the proxies whose X-Forwarded-For is believed. Default none: the peer's address counts.
	TrustedProxies []netip.Prefix

	// ShareCompression compresses guild events once for all who get the same ones, if the engine has
	// Options.ContextTakeover.
	ShareCompression bool

	// Sent is called with each event that is sent to sockets, and with their ids. args is the JSON array of its name
	// and arguments. It must not block, and not keep args. Nil, the default, costs nothing.
	Sent func(sockets []string, args []byte)

	// Tracer makes traces of guild events; nil makes none.
	Tracer *traces.Tracer

	Limits Limits
}

// TokenPerRequest says whether requests of an elevated socket must carry a token.
type TokenPerRequest string

// With TokenOptional, a token that a request carries is still verified.
const (
	TokenRequired TokenPerRequest = "required"
	TokenOptional TokenPerRequest = "optional"
)

// UserPool says what elevated users may request of the pool of users, which belongs to no guild.
type UserPool string

// With UserPoolIDs, only an architus_admin may list and search users. Others get users whose ids they know, and those
// of a guild's members.
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
