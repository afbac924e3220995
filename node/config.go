package node

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/architus/guildcast/handlers"
	"github.com/architus/guildcast/token"
)

// Config of a node. The zero value serves on :8080 with an embedded Redis, but needs Secrets or JWKS to be of use.
type Config struct {
	Logger *slog.Logger // nil discards

	// Version and Revision of the program, for guildcast_build_info; may be empty.
	Version, Revision string

	// Listening is called once, when the node serves. It must not block.
	Listening func(Info)

	// What the node serves.

	Addr            string         // host:port; default ":8080"
	TLSCert, TLSKey string         // files in PEM; both or neither
	Origins         []string       // of pages that may connect, beside those of the node's own host; "*" is any
	TrustedProxies  []netip.Prefix // whose X-Forwarded-For is believed
	Grace           time.Duration  // over which a draining node closes its sockets; default 10 s

	// Engine.IO. Zero values take the engine's defaults, which are those of Node's.

	PingInterval, PingTimeout time.Duration
	MaxMessageBytes           int64 // of one message from a client
	MaxQueueBytes             int   // that wait to be sent to one client
	AllowEIO3                 bool  // admit socket.io-client 2.x
	Compression               bool  // permessage-deflate

	// The cluster.

	Redis        string        // see redisurl.Connect; default "embedded"
	TopicPrefix  string        // of the channels of guild events
	Adapter      AdapterMode   // default AdapterClassic
	AdapterKey   string        // default "socket.io"
	AdapterWait  time.Duration // for the answers of other servers; default 5 s
	Shards       int           // of the bot's workers; default 1
	RequestWait  time.Duration // for the answer of a worker; default 5 s
	Interpreter  Interpreter   // default InterpreterEmbedded
	RevokedUntil time.Duration // how long a revocation without exp is remembered; default 30 days

	// Who may see what.

	Secrets       []token.Secret
	JWKS          string        // URL or file of the issuer's public keys; "" for none
	JWKSRefresh   time.Duration // default 15 minutes
	Issuer        string        // required iss; "" for any
	Audience      []string      // accepted aud; none for any
	Leeway        time.Duration // 5 s at most; 0 means none
	TokenOptional bool          // elevated requests may come without a token
	UsersByID     bool          // users of no guild are had by their ids, and not listed or searched
	ExpiryWarning time.Duration // default 1 minute
	PolicyFile    string        // changes the default policy; "" for none
	Limits        handlers.Limits

	// Demo adds a demo guild with live events, a worker and a page that shows them; nil for none.
	Demo *Demo
}

// Info is what a started node can tell.
type Info struct {
	URL   string // where a browser on this machine reaches it
	Redis string // host:port of the embedded Redis; "" where Redis is another process
}

// AdapterMode is how the node speaks to other Socket.IO servers.
type AdapterMode string

// Adapter modes.
const (
	AdapterClassic               AdapterMode = "classic"
	AdapterSharded               AdapterMode = "sharded"
	AdapterShardedStatic         AdapterMode = "sharded-static"
	AdapterShardedDynamicPrivate AdapterMode = "sharded-dynamic-private"
)

// Interpreter is who answers `interpret`.
type Interpreter string

// Interpreters.
const (
	InterpreterEmbedded Interpreter = "embedded"
	InterpreterWorker   Interpreter = "worker"
)

// embeddedRedis is the value of Config.Redis for a Redis in this process that nobody has to find.
const embeddedRedis = "embedded"

func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Logger = boundLog(c.Logger)
	if c.Listening == nil {
		c.Listening = func(Info) {}
	}
	c.Addr = orDefault(c.Addr, ":8080")
	c.Grace = orDefault(c.Grace, 10*time.Second)
	c.Redis = orDefault(c.Redis, embeddedRedis)
	c.Adapter = orDefault(c.Adapter, AdapterClassic)
	c.AdapterKey = orDefault(c.AdapterKey, "socket.io")
	c.AdapterWait = orDefault(c.AdapterWait, 5*time.Second)
	c.Shards = orDefault(c.Shards, 1)
	c.RequestWait = orDefault(c.RequestWait, 5*time.Second)
	c.Interpreter = orDefault(c.Interpreter, InterpreterEmbedded)
	c.RevokedUntil = orDefault(c.RevokedUntil, 30*24*time.Hour)
	return c
}

func orDefault[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}
