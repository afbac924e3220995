package node

import (
	"cmp"
	"log/slog"
	"net/netip"
	"time"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/handlers"
	"github.com/architus/guildcast/internal/mockbot"
	"github.com/architus/guildcast/permissions"
	"github.com/architus/guildcast/redis"
	"github.com/architus/guildcast/token"
)

// Config of a node. Its fields have the names of the flags of `guildcast serve`. A zero field takes its value from
// DefaultConfig, unless the field says otherwise. The zero Config serves on :8080 with an embedded Redis, but needs
// JWTSecrets or JWTJWKS to be of use.
type Config struct {
	Logger *slog.Logger // nil discards

	// Version and Revision of the program, for guildcast_build_info; may be empty.
	Version, Revision string

	// Listening is called once, when the node serves. It must not block.
	Listening func(Info)

	// Load reads the configuration again, for a reload. It also returns the options that have changed and take effect
	// after a restart; what the Config says of these is not looked at. Nil means that a reload reads the files again
	// that this Config names.
	Load func() (c Config, restart []string, err error)

	// Locate adds to a mistake in an option (an OptionError of a reload) where the option was set. Nil adds nothing.
	Locate func(error) error

	Files    []string       // beside those named below, that Load reads; for Watch
	Shown    any            // what GET /config of the admin listener answers, as JSON; nil answers 404
	LogLevel *slog.LevelVar // of Logger, if a reload is to set it

	// Serving.

	Addr            string         // host:port
	AdminAddr       string         // host:port of metrics, profiles, reload and others; "" serves the metrics on Addr
	Watch           bool           // reload when a file has changed
	TLSCert, TLSKey string         // files in PEM; both or neither
	Origins         []string       // of pages that may connect, beside those of the node's own host; "*" is any
	TrustedProxies  []netip.Prefix // whose X-Forwarded-For is believed
	ProxyProtocol   bool           // whose connections begin with a header of the PROXY protocol
	KeepAlive       time.Duration  // how long a connection may stay silent between two requests
	Traces          bool           // make traces of guild events, as the OTEL variables of the environment say
	DrainDelay      time.Duration  // between "not ready" and the refusal of new clients; 0 means none
	Grace           time.Duration  // over which a draining node closes its sockets

	// Engine.IO.

	Path                      string // of the Engine.IO requests
	ServeClient               bool   // serve the browser client under Path: socket.io.js and others
	PingInterval, PingTimeout time.Duration
	MaxMessageBytes           int64 // of one message from a client
	AllowEIO3                 bool  // admit socket.io-client 2.x
	Compression               CompressionMode
	Compat                    handlers.Compat // an older protocol that is spoken too, with the options that it needs

	// Bounds of connections: see the fields of engine.Options with the same names. MaxDecodedBytes is 16 times
	// MaxMessageBytes if it is zero.

	MaxQueueBytes, MaxQueueBudget               int
	MaxInboundBytes, MaxInboundBudget           int
	MaxDecodedBytes, MaxDecodingBudget          int
	MaxAttachments, MaxJSONDepth, MaxNamespaces int

	// The cluster.

	Redis             string        // see redisurl.Connect
	Advertise         string        // URL where other nodes reach this one; "" to find it, "off" for an island
	ClusterSecret     string        // what nodes trust each other by; "" for JWTSecrets
	TopicPrefix       string        // of the channels of guild events
	Topics            TopicMode     // what kind of channels these are
	Adapter           AdapterMode   //
	AdapterKey        string        // starts the names of the adapter's channels
	AdapterTimeout    time.Duration // for the answers of other servers
	Shards            int           // of the bot's workers
	RequestTimeout    time.Duration // for the answer of a worker
	MaxAnswerBytes    int           // of one answer of a worker
	MaxAnswerBudget   int           // of all answers of workers that are not complete
	MaxStream         int           // requests that wait in one stream, about
	PublishQueueBytes int           // that wait for Redis; beyond it what is published is lost
	ReceiveQueueBytes int           // that wait for the handler of one subscription; see bus.Options
	ReceiveStall      time.Duration // how long a subscription that is full may hold up others
	Interpreter       Interpreter   //

	// Bounds of the embedded interpreter: see the fields of mockbot.Config.

	MockbotMaxBytes       int
	MockbotStepsPerSecond int

	RevocationLifetime time.Duration // how long a revocation without exp is remembered
	MaxRevocations     int           // held; with more, tokens that may be revoked are refused

	// Tokens and permissions.

	JWTSecrets      []token.Secret
	JWTJWKS         string        // URL or file of the issuer's public keys; "" for none
	JWTJWKSRefresh  time.Duration // between two readings of it
	JWTIssuer       string        // required iss; "" for any
	JWTAudience     []string      // accepted aud; none for any
	JWTLeeway       time.Duration // 5 s at most; 0 means none
	TokenPerRequest handlers.TokenPerRequest
	UserPool        handlers.UserPool
	TokenCookie     string        // name of a cookie that may hold a token, from pages named in Origins; "" for none
	ExpiryWarning   time.Duration // before the end of a token
	Policy          string        // file that changes the default policy; "" for none

	Limits handlers.Limits

	// AdminUI lets the official Socket.IO admin UI connect; nil refuses it.
	AdminUI *AdminUI

	// Demo adds a demo guild with live events, a worker and a page that shows them; nil for none.
	Demo *Demo
}

// OptionError is a mistake in a Config.
type OptionError struct {
	Option string // the name of the flag, such as "tls-cert"
	Err    error
}

func (e *OptionError) Error() string { return e.Err.Error() }
func (e *OptionError) Unwrap() error { return e.Err }

// wrong returns a mistake in an option, or nil if err is nil.
func wrong(option string, err error) error {
	if err == nil {
		return nil
	}
	return &OptionError{option, err}
}

// Info describes a started node.
type Info struct {
	URL   string // where a browser on this machine reaches it
	Redis string // host:port of the embedded Redis; "" where Redis is another process
}

// CompressionMode is how messages to WebSocket clients are compressed. The zero value is CompressionOff.
type CompressionMode string

// The modes.
const (
	CompressionOff     CompressionMode = "off"
	CompressionMessage CompressionMode = "message" // each message alone
	// CompressionShared compresses guild events with references to those before, once for all who get the same ones.
	CompressionShared CompressionMode = "shared"
)

// AdapterMode is how the node speaks to other Socket.IO servers.
type AdapterMode string

// Adapter modes.
const (
	AdapterClassic               AdapterMode = "classic"
	AdapterSharded               AdapterMode = "sharded"
	AdapterShardedStatic         AdapterMode = "sharded-static"
	AdapterShardedDynamicPrivate AdapterMode = "sharded-dynamic-private"
)

// TopicMode is the kind of channels on which guild events come.
type TopicMode string

// Topic modes.
const (
	TopicsPlain TopicMode = "plain" // heard by every server of a Redis Cluster
	// each on the server that has the guild's history, see event.Topic.ShardedChannel
	TopicsSharded TopicMode = "sharded"
)

// Interpreter is who answers `interpret`.
type Interpreter string

// Interpreters.
const (
	InterpreterEmbedded Interpreter = "embedded"
	InterpreterWorker   Interpreter = "worker"
)

// AdvertiseOff is the value of Config.Advertise for a node that neither passes requests of other nodes' sessions on,
// nor gets any.
const AdvertiseOff = "off"

// architusCookie is the cookie in which the first Architus dashboard has its token.
const architusCookie = "token"

// embeddedRedis is the value of Config.Redis for a Redis in this process that nobody has to find.
const embeddedRedis = "embedded"

// DefaultConfig returns the defaults of a Config's fields: what New takes for those that are zero, and for JWTLeeway
// what `guildcast serve` takes.
func DefaultConfig() Config {
	e := engine.DefaultOptions()
	r := redis.DefaultRequestsOptions()
	b := bus.DefaultOptions()
	m := mockbot.DefaultConfig()
	return Config{
		Addr: ":8080", KeepAlive: 2 * time.Minute, Grace: 10 * time.Second,

		Path: "/socket.io", PingInterval: 25 * time.Second, PingTimeout: 20 * time.Second, MaxMessageBytes: 1_000_000,
		Compression:   CompressionOff,
		MaxQueueBytes: e.MaxQueueBytes, MaxQueueBudget: e.MaxQueueBudget,
		MaxInboundBytes: e.MaxInboundBytes, MaxInboundBudget: e.MaxInboundBudget,
		MaxDecodingBudget: e.MaxDecodingBudget,
		MaxAttachments:    e.MaxAttachments, MaxJSONDepth: e.MaxJSONDepth, MaxNamespaces: e.MaxNamespaces,

		Redis: embeddedRedis, Topics: TopicsPlain, Adapter: AdapterClassic, AdapterKey: "socket.io",
		AdapterTimeout: 5 * time.Second,
		Shards:         r.Shards, RequestTimeout: r.Timeout,
		MaxAnswerBytes: r.MaxAnswerBytes, MaxAnswerBudget: r.MaxAnswerBudget, MaxStream: r.MaxStream,
		PublishQueueBytes: b.PublishQueueBytes, ReceiveQueueBytes: b.ReceiveQueueBytes, ReceiveStall: b.ReceiveStall,
		MockbotMaxBytes: m.MaxBytes, MockbotStepsPerSecond: m.StepsPerSecond,
		Interpreter: InterpreterEmbedded, RevocationLifetime: 30 * 24 * time.Hour,
		MaxRevocations: permissions.DefaultMaxRevocations,

		JWTJWKSRefresh: 15 * time.Minute, JWTLeeway: token.MaxLeeway,
		TokenPerRequest: handlers.TokenRequired, UserPool: handlers.UserPoolAll, ExpiryWarning: time.Minute,

		Limits: handlers.DefaultLimits(),
	}
}

func (c Config) withDefaults() Config {
	d := DefaultConfig()
	c.Logger = boundLog(cmp.Or(c.Logger, slog.New(slog.DiscardHandler)))
	if c.Listening == nil {
		c.Listening = func(Info) {}
	}
	c.Addr, c.KeepAlive, c.Grace = cmp.Or(c.Addr, d.Addr), cmp.Or(c.KeepAlive, d.KeepAlive), cmp.Or(c.Grace, d.Grace)
	c.Path, c.MaxMessageBytes = cmp.Or(c.Path, d.Path), cmp.Or(c.MaxMessageBytes, d.MaxMessageBytes)
	c.PingInterval, c.PingTimeout = cmp.Or(c.PingInterval, d.PingInterval), cmp.Or(c.PingTimeout, d.PingTimeout)
	c.Redis = cmp.Or(c.Redis, d.Redis)
	c.Topics = cmp.Or(c.Topics, d.Topics)
	c.Adapter, c.AdapterKey = cmp.Or(c.Adapter, d.Adapter), cmp.Or(c.AdapterKey, d.AdapterKey)
	c.AdapterTimeout, c.RequestTimeout = cmp.Or(c.AdapterTimeout, d.AdapterTimeout),
		cmp.Or(c.RequestTimeout, d.RequestTimeout)
	c.Shards, c.Interpreter = cmp.Or(c.Shards, d.Shards), cmp.Or(c.Interpreter, d.Interpreter)
	c.RevocationLifetime = cmp.Or(c.RevocationLifetime, d.RevocationLifetime)
	if c.Compat == handlers.CompatArchitus {
		c.AllowEIO3, c.TokenCookie = true, cmp.Or(c.TokenCookie, architusCookie)
	}
	return c
}
