package main

import (
	"context"
	"net/netip"
	"slices"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/handlers"
	"github.com/architus/guildcast/node"
)

// serve is the options of a node, in the groups in which the help shows them.
type serve struct {
	Addr           string        `group:"Serving:" default:":8080" placeholder:"HOST:PORT" help:"Address to listen on."`
	TlsCert        string        `group:"Serving:" placeholder:"FILE" help:"Certificate chain in PEM; serves HTTPS."`
	TlsKey         string        `group:"Serving:" placeholder:"FILE" help:"Private key in PEM."`
	Origins        []string      `group:"Serving:" placeholder:"ORIGIN" help:"Origins of pages that may connect, such as https://board.example.com or https://*.example.com, with commas between them; null and file:// by name; or * for any; pages of the node's own host always may."`
	TrustedProxies []string      `group:"Serving:" placeholder:"CIDR" help:"Networks of proxies whose X-Forwarded-For is believed, for the limits per address."`
	Grace          time.Duration `group:"Serving:" default:"10s" placeholder:"DURATION" help:"Time over which a node that got SIGTERM closes its sockets."`

	PingInterval    time.Duration `group:"Engine.IO:" default:"25s" placeholder:"DURATION" help:"Time between heartbeats."`
	PingTimeout     time.Duration `group:"Engine.IO:" default:"20s" placeholder:"DURATION" help:"Time that a client may take to answer a heartbeat."`
	MaxMessageBytes int64         `group:"Engine.IO:" default:"1000000" placeholder:"BYTES" help:"Largest message from a client."`
	AllowEio3       bool          `name:"allow-eio3" group:"Engine.IO:" help:"Admit clients of protocol 3 (socket.io-client 2.x)."`
	MaxQueueBytes   int           `group:"Engine.IO:" default:"16777216" placeholder:"BYTES" help:"Most that waits to be sent to one client; one that is behind by more is disconnected. From a quarter of it on guild events are left out, and followed by a resync."`
	Compression     bool          `group:"Engine.IO:" help:"Offer permessage-deflate."`

	Redis              string        `group:"Cluster:" default:"embedded" placeholder:"URL" help:"Redis: embedded, or a URL with redis://, rediss://, redis+sentinel://, redis+cluster:// or unix://."`
	TopicPrefix        string        `group:"Cluster:" placeholder:"TEXT" help:"What stands before the names of the channels of guild events."`
	Adapter            string        `group:"Cluster:" enum:"classic,sharded,sharded-static,sharded-dynamic-private" default:"classic" placeholder:"MODE" help:"How to speak to other Socket.IO servers: classic, sharded, sharded-static, sharded-dynamic-private."`
	AdapterKey         string        `group:"Cluster:" default:"socket.io" placeholder:"TEXT" help:"What stands before the names of the adapter's channels."`
	AdapterTimeout     time.Duration `group:"Cluster:" default:"5s" placeholder:"DURATION" help:"Wait for the answers of other servers."`
	Shards             int           `group:"Cluster:" default:"1" placeholder:"N" help:"Number of shards of the bot's workers."`
	RequestTimeout     time.Duration `group:"Cluster:" default:"5s" placeholder:"DURATION" help:"Wait for the answer of a worker."`
	Interpreter        string        `group:"Cluster:" enum:"embedded,worker" default:"embedded" placeholder:"MODE" help:"Who answers interpret: embedded, or a worker through Redis."`
	RevocationLifetime time.Duration `group:"Cluster:" default:"720h" placeholder:"DURATION" help:"How long a revocation is remembered: the longest life of a token."`

	secretOptions   `group:"Tokens and permissions:"`
	JwtJwks         string        `group:"Tokens and permissions:" placeholder:"URL|FILE" help:"JSON Web Key Set of the token issuer; accepts RS256, ES256 and EdDSA."`
	JwtJwksRefresh  time.Duration `group:"Tokens and permissions:" default:"15m" placeholder:"DURATION" help:"Time between two readings of the key set."`
	JwtIssuer       string        `group:"Tokens and permissions:" placeholder:"TEXT" help:"Required iss claim; any where left out."`
	JwtAudience     []string      `group:"Tokens and permissions:" placeholder:"TEXT" help:"Accepted aud claims, with commas between them; any where left out."`
	JwtLeeway       time.Duration `group:"Tokens and permissions:" default:"5s" placeholder:"DURATION" help:"How far clocks may differ, for nbf and iat; at most 5s."`
	TokenPerRequest string        `group:"Tokens and permissions:" enum:"required,optional" default:"required" placeholder:"MODE" help:"Whether requests of elevated sockets must carry a token: required or optional."`
	UserPool        string        `group:"Tokens and permissions:" enum:"all,ids" default:"all" placeholder:"MODE" help:"What elevated users may ask of the users of no guild: all of them and a search, or only those whose ids they know: all or ids."`
	ExpiryWarning   time.Duration `group:"Tokens and permissions:" default:"1m" placeholder:"DURATION" help:"How long before a token's end elevation_expiring is sent."`
	Policy          string        `group:"Tokens and permissions:" placeholder:"FILE" help:"Policy that replaces or adds kinds of events."`

	limits `group:"Limits (negative: none):"`

	Demo         bool          `group:"Demo:" help:"Add a demo guild with live events, a page that shows them, and tokens to try."`
	DemoMembers  int           `group:"Demo:" default:"240" placeholder:"N" help:"Members of the demo guild."`
	DemoInterval time.Duration `group:"Demo:" default:"300ms" placeholder:"DURATION" help:"Mean time between two events of the demo guild."`

	logging `group:"Log:"`
}

// limits are handlers.Limits as flags.
type limits struct {
	LimitSocketRate     float64 `default:"100" placeholder:"N" help:"Events a second of one socket."`
	LimitSocketBurst    int     `default:"400" placeholder:"N" help:"Events at once of one socket."`
	LimitUserRate       float64 `default:"200" placeholder:"N" help:"Events a second of one user, over all sockets of the node."`
	LimitUserBurst      int     `default:"1000" placeholder:"N" help:"Events at once of one user."`
	LimitAddressRate    float64 `default:"2000" placeholder:"N" help:"Events a second of one client address."`
	LimitAddressBurst   int     `default:"10000" placeholder:"N" help:"Events at once of one client address."`
	LimitFlood          int     `default:"1000" placeholder:"N" help:"Refused events after which a socket is disconnected."`
	LimitSocketRequests int     `default:"128" placeholder:"N" help:"Requests in progress of one socket."`
	LimitNodeRequests   int     `default:"8192" placeholder:"N" help:"Requests in progress of the node; a quarter of them for sockets that are not elevated."`

	LimitAddressRequests int `default:"256" placeholder:"N" help:"Requests in progress of one client address, of sockets that are not elevated."`
	LimitUserRequests    int `default:"512" placeholder:"N" help:"Requests in progress of one elevated user."`

	LimitPayload int `default:"262144" placeholder:"BYTES" help:"Payload of an event, with its attachments."`
	LimitPoolIds int `default:"10000" placeholder:"N" help:"Ids in one pool request."`
	LimitContent int `default:"4000" placeholder:"N" help:"Characters of an interpret message."`
}

func (l limits) forHandlers() handlers.Limits {
	// Zero would mean the default there; whoever sets zero wants none to pass.
	count := func(n int) int {
		if n == 0 {
			return 1
		}
		return n
	}
	return handlers.Limits{
		SocketPerSecond: l.LimitSocketRate, SocketBurst: count(l.LimitSocketBurst),
		UserPerSecond: l.LimitUserRate, UserBurst: count(l.LimitUserBurst),
		AddressPerSecond: l.LimitAddressRate, AddressBurst: count(l.LimitAddressBurst),
		FloodRefusals: count(l.LimitFlood), RequestsPerSocket: count(l.LimitSocketRequests),
		RequestsPerNode: count(l.LimitNodeRequests), PayloadBytes: count(l.LimitPayload),
		RequestsPerAddress: count(l.LimitAddressRequests), RequestsPerUser: count(l.LimitUserRequests),
		IDsPerPool: count(l.LimitPoolIds), ContentRunes: count(l.LimitContent),
	}
}

// weakSecret is the length in bytes below which a secret can be guessed from a token: RFC 7518, section 3.2.
const weakSecret = 32

// Run serves until ctx ends.
func (s *serve) Run(ctx context.Context, t terminal) error {
	config, err := s.config()
	if err != nil {
		return err
	}
	config.Logger = s.logger(t.err)
	config.Version, config.Revision = release, revision()
	goredis.SetLogger(redisLog{config.Logger})
	given := config.Secrets
	if s.Demo {
		own := demoSecret()
		config.Secrets = append(slices.Clone(given), own)
		config.Demo = &node.Demo{Members: s.DemoMembers, Interval: s.DemoInterval, Mint: demoMint(&config, own)}
		config.Listening = func(i node.Info) { printDemo(t.out, &config, i) }
	}
	n, err := node.New(config)
	if err != nil {
		return usageError{err}
	}
	// Only now: a wrong value ends with its one line alone.
	for _, name := range t.unknown {
		config.Logger.Warn("environment variable is no option and ignored", "name", name)
	}
	for _, secret := range given {
		if len(secret.Key) < weakSecret {
			config.Logger.Warn("token secret is shorter than HS256 asks for", "kid", secret.KeyID, "bytes", len(secret.Key), "want", weakSecret)
		}
	}
	return n.Run(ctx)
}

func (s *serve) config() (node.Config, error) {
	c := node.Config{
		Addr: s.Addr, TLSCert: s.TlsCert, TLSKey: s.TlsKey, Origins: s.Origins, Grace: s.Grace,
		PingInterval: s.PingInterval, PingTimeout: s.PingTimeout, MaxMessageBytes: s.MaxMessageBytes, MaxQueueBytes: s.MaxQueueBytes,
		AllowEIO3: s.AllowEio3, Compression: s.Compression,
		Redis: s.Redis, TopicPrefix: s.TopicPrefix, Adapter: node.AdapterMode(s.Adapter), AdapterKey: s.AdapterKey,
		AdapterWait: s.AdapterTimeout, Shards: s.Shards, RequestWait: s.RequestTimeout,
		Interpreter: node.Interpreter(s.Interpreter), RevokedUntil: s.RevocationLifetime,
		JWKS: s.JwtJwks, JWKSRefresh: s.JwtJwksRefresh, Issuer: s.JwtIssuer, Audience: s.JwtAudience, Leeway: s.JwtLeeway,
		TokenOptional: s.TokenPerRequest == "optional", UsersByID: s.UserPool == "ids", ExpiryWarning: s.ExpiryWarning, PolicyFile: s.Policy,
		Limits: s.forHandlers(),
	}
	for name, d := range map[string]time.Duration{
		"ping-interval": s.PingInterval, "ping-timeout": s.PingTimeout, "grace": s.Grace, "adapter-timeout": s.AdapterTimeout,
		"request-timeout": s.RequestTimeout, "revocation-lifetime": s.RevocationLifetime, "jwt-jwks-refresh": s.JwtJwksRefresh,
		"expiry-warning": s.ExpiryWarning, "demo-interval": s.DemoInterval,
	} {
		if d <= 0 {
			return c, usagef("--%s: must be more than 0", name)
		}
	}
	switch {
	case s.MaxMessageBytes <= 0:
		return c, usagef("--max-message-bytes: must be more than 0")
	case s.MaxQueueBytes <= 0:
		return c, usagef("--max-queue-bytes: must be more than 0")
	case s.Shards <= 0:
		return c, usagef("--shards: must be more than 0")
	case s.JwtLeeway < 0 || s.JwtLeeway > 5*time.Second:
		return c, usagef("--jwt-leeway: must be between 0 and 5s")
	}
	for _, text := range s.TrustedProxies {
		prefix, err := parsePrefix(text)
		if err != nil {
			return c, usagef("--trusted-proxies: %w", err)
		}
		c.TrustedProxies = append(c.TrustedProxies, prefix)
	}
	var err error
	if c.Secrets, err = s.secrets(); err != nil {
		return c, err
	}
	if len(c.Secrets) == 0 && c.JWKS == "" && !s.Demo {
		return c, usagef("--jwt-secret ($GUILDCAST_JWT_SECRET) is required, unless there is --jwt-jwks or --demo")
	}
	return c, nil
}

// parsePrefix reads a network, or one address.
func parsePrefix(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	return netip.ParsePrefix(text)
}
