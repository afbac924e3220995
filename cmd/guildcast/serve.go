package main

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/handlers"
	"github.com/architus/guildcast/node"
	"github.com/architus/guildcast/token"
)

// serve is the options of a node, in the groups in which the help shows them. A flag has the name of its field in
// node.Config, and ${name} is that field's default; see defaults.
type serve struct {
	Addr           string        `group:"Serving:" default:"${addr}" placeholder:"HOST:PORT" help:"Address to listen on."`
	AdminAddr      string        `group:"Serving:" placeholder:"HOST:PORT" help:"Address of metrics, health, profiles, reload, the configuration and explanations, for nobody but operators; if left out, metrics are on --addr."`
	Watch          bool          `group:"Serving:" help:"Reload when the configuration file, or a file that an option names, has changed."`
	TlsCert        string        `group:"Serving:" placeholder:"FILE" help:"Certificate chain in PEM; serves HTTPS."`
	TlsKey         string        `group:"Serving:" placeholder:"FILE" help:"Private key in PEM."`
	Origins        []string      `group:"Serving:" placeholder:"ORIGIN" help:"Origins of pages that may connect, such as https://board.example.com or https://*.example.com, with commas between them; null and file:// by name; or * for any; pages of the node's own host always may."`
	TrustedProxies []string      `group:"Serving:" placeholder:"CIDR" help:"Networks of proxies whose X-Forwarded-For, or else Forwarded, is believed, for the limits per address."`
	ProxyProtocol  bool          `group:"Serving:" help:"Expect the header of the PROXY protocol, version 1 or 2, before each connection from --trusted-proxies."`
	Traces         bool          `group:"Serving:" help:"Make traces of guild events and export them by OTLP, as the OTEL_... variables say."`
	KeepAlive      time.Duration `group:"Serving:" default:"${keep_alive}" placeholder:"DURATION" help:"Time that a connection may stay silent between two requests; more than the balancer in front keeps its own."`
	DrainDelay     time.Duration `group:"Serving:" default:"${drain_delay}" placeholder:"DURATION" help:"Time for which a node that got SIGTERM is not ready and still serves new clients, for balancers to notice."`
	Grace          time.Duration `group:"Serving:" default:"${grace}" placeholder:"DURATION" help:"Time over which a node that got SIGTERM closes its sockets."`

	Path            string               `group:"Engine.IO:" default:"${path}" placeholder:"PATH" help:"Path of the Socket.IO requests."`
	ServeClient     bool                 `group:"Engine.IO:" help:"Serve the browser client under the path: socket.io.js, socket.io.min.js, socket.io.esm.min.js."`
	PingInterval    time.Duration        `group:"Engine.IO:" default:"${ping_interval}" placeholder:"DURATION" help:"Time between heartbeats."`
	PingTimeout     time.Duration        `group:"Engine.IO:" default:"${ping_timeout}" placeholder:"DURATION" help:"Time that a client may take to answer a heartbeat."`
	MaxMessageBytes int64                `group:"Engine.IO:" default:"${max_message_bytes}" placeholder:"BYTES" help:"Largest message from a client."`
	AllowEio3       bool                 `name:"allow-eio3" group:"Engine.IO:" help:"Admit clients of protocol 3 (socket.io-client 2.x)."`
	Compression     node.CompressionMode `group:"Engine.IO:" default:"${compression}" placeholder:"MODE" help:"Compress what goes to WebSockets (permessage-deflate): off; message: each message of 1 KiB or more alone; or shared: guild events also with references to those before, once for all who get the same ones. Without a value: message."`
	Compat          string               `group:"Engine.IO:" enum:",architus" default:"" placeholder:"NAME" help:"Speak an older protocol too: architus, that of the first Architus dashboard; it brings --allow-eio3 and --token-cookie token."`

	bounds `group:"Bounds of connections:"`

	Redis                 string        `group:"Cluster:" default:"${redis}" placeholder:"URL" help:"Redis: embedded, or a URL with redis://, rediss://, redis+sentinel://, redis+cluster:// or unix://."`
	Advertise             string        `group:"Cluster:" placeholder:"URL" help:"Where other nodes reach this one, such as http://10.0.0.7:8080; found from the interface that reaches Redis if left out; or off: requests of other nodes' sessions are not passed on, and sessions must stick to their node."`
	ClusterSecret         string        `group:"Cluster:" placeholder:"SECRET" help:"Secret of all nodes, by which they know each other's requests; the secrets of tokens if left out."`
	ClusterSecretFile     string        `group:"Cluster:" placeholder:"FILE" help:"File that holds what --cluster-secret would."`
	TopicPrefix           string        `group:"Cluster:" placeholder:"TEXT" help:"What stands before the names of the channels of guild events."`
	Topics                string        `group:"Cluster:" enum:"plain,sharded" default:"${topics}" placeholder:"MODE" help:"Kind of the channels of guild events: plain or, on Redis 7, sharded."`
	Adapter               string        `group:"Cluster:" enum:"classic,sharded,sharded-static,sharded-dynamic-private" default:"${adapter}" placeholder:"MODE" help:"How to speak to other Socket.IO servers: classic, sharded, sharded-static, sharded-dynamic-private."`
	AdapterKey            string        `group:"Cluster:" default:"${adapter_key}" placeholder:"TEXT" help:"What stands before the names of the adapter's channels."`
	AdapterTimeout        time.Duration `group:"Cluster:" default:"${adapter_timeout}" placeholder:"DURATION" help:"Wait for the answers of other servers."`
	Shards                int           `group:"Cluster:" default:"${shards}" placeholder:"N" help:"Number of shards of the bot's workers."`
	RequestTimeout        time.Duration `group:"Cluster:" default:"${request_timeout}" placeholder:"DURATION" help:"Wait for the answer of a worker."`
	MaxAnswerBytes        int           `group:"Cluster:" default:"${max_answer_bytes}" placeholder:"BYTES" help:"Largest answer of a worker."`
	MaxAnswerBudget       int           `group:"Cluster:" default:"${max_answer_budget}" placeholder:"BYTES" help:"Most that the answers of workers hold that are not complete, together."`
	MaxStream             int           `group:"Cluster:" default:"${max_stream}" placeholder:"N" help:"Requests that wait in one stream, about; with more, the oldest are forgotten."`
	PublishQueueBytes     int           `group:"Cluster:" default:"${publish_queue_bytes}" placeholder:"BYTES" help:"Most that waits to be published while Redis is slow or lost; more is dropped."`
	ReceiveQueueBytes     int           `group:"Cluster:" default:"${receive_queue_bytes}" placeholder:"BYTES" help:"Most that Redis has sent and one subscription has not handled, of some eight of a node; more is dropped, and followed by a resync."`
	ReceiveStall          time.Duration `group:"Cluster:" default:"${receive_stall}" placeholder:"DURATION" help:"Time for which such a subscription holds up the others of its connection before it drops."`
	Interpreter           string        `group:"Cluster:" enum:"embedded,worker" default:"${interpreter}" placeholder:"MODE" help:"Who answers interpret: embedded, or a worker through Redis."`
	MockbotMaxBytes       int           `group:"Cluster:" default:"${mockbot_max_bytes}" placeholder:"BYTES" help:"Most that the embedded interpreter remembers of all mock guilds; with more, those unused the longest are forgotten."`
	MockbotStepsPerSecond int           `group:"Cluster:" default:"${mockbot_steps_per_second}" placeholder:"N" help:"Work of the embedded interpreter; more is refused with 429. The default takes a fifth of a core."`
	RevocationLifetime    time.Duration `group:"Cluster:" default:"${revocation_lifetime}" placeholder:"DURATION" help:"How long a revocation is remembered: the longest life of a token."`
	MaxRevocations        int           `group:"Cluster:" default:"${max_revocations}" placeholder:"N" help:"Revocations that are held; with more, tokens that may be revoked are refused."`

	secretOptions   `group:"Tokens and permissions:"`
	JwtJwks         string        `group:"Tokens and permissions:" placeholder:"URL|FILE" help:"JSON Web Key Set of the token issuer; accepts RS256, ES256 and EdDSA."`
	JwtJwksRefresh  time.Duration `group:"Tokens and permissions:" default:"${jwt_jwks_refresh}" placeholder:"DURATION" help:"Time between two readings of the key set."`
	JwtIssuer       string        `group:"Tokens and permissions:" placeholder:"TEXT" help:"Required iss claim; any if left out."`
	JwtAudience     []string      `group:"Tokens and permissions:" placeholder:"TEXT" help:"Accepted aud claims, with commas between them; any if left out."`
	JwtLeeway       time.Duration `group:"Tokens and permissions:" default:"${jwt_leeway}" placeholder:"DURATION" help:"How far clocks may differ, for nbf and iat; at most 5s."`
	TokenPerRequest string        `group:"Tokens and permissions:" enum:"required,optional" default:"${token_per_request}" placeholder:"MODE" help:"Whether requests of elevated sockets must carry a token: required or optional."`
	TokenCookie     string        `group:"Tokens and permissions:" placeholder:"NAME" help:"Cookie of the handshake that may hold a token, if the page is of the node's own host or of an origin that --origins names; none if left out."`
	UserPool        string        `group:"Tokens and permissions:" enum:"all,ids" default:"${user_pool}" placeholder:"MODE" help:"What elevated users may ask of the users of no guild: all of them and a search, or only those whose ids they know: all or ids."`
	ExpiryWarning   time.Duration `group:"Tokens and permissions:" default:"${expiry_warning}" placeholder:"DURATION" help:"How long before a token's end elevation_expiring is sent."`
	Policy          string        `group:"Tokens and permissions:" placeholder:"FILE" help:"Policy that replaces or adds kinds of events."`

	limits `group:"Limits (negative: none):"`

	Demo         bool          `group:"Demo:" help:"Add a demo guild with live events, a page that shows them, and tokens to try."`
	DemoMembers  int           `group:"Demo:" default:"240" placeholder:"N" help:"Members of the demo guild."`
	DemoInterval time.Duration `group:"Demo:" default:"300ms" placeholder:"DURATION" help:"Mean time between two events of the demo guild."`

	adminUI `group:"Admin UI:"`

	memory `group:"Memory:"`

	logging `group:"Log:"`
}

// adminUI is node.AdminUI as flags.
type adminUI struct {
	AdminUi             bool   `name:"admin-ui" help:"Let the official Socket.IO admin UI connect, to the namespace /admin; its page must be of an origin that may."`
	AdminUiUser         string `name:"admin-ui-user" default:"admin" placeholder:"NAME" help:"User of the admin UI."`
	AdminUiPassword     string `name:"admin-ui-password" placeholder:"HASH" help:"The bcrypt hash of the password of the admin UI."`
	AdminUiPasswordFile string `name:"admin-ui-password-file" placeholder:"FILE" help:"File that holds what --admin-ui-password would."`
	AdminUiWrite        bool   `name:"admin-ui-write" help:"Let the admin UI emit events, and have sockets join rooms, leave them and disconnect."`
	AdminUiMode         string `name:"admin-ui-mode" enum:"development,production" default:"development" placeholder:"MODE" help:"What the admin UI is told of: development: servers, sockets, rooms and events; production: servers and numbers of connections only, which costs less."`
}

// config returns the options as those of a node, or nil without an admin UI.
func (a adminUI) config() (*node.AdminUI, error) {
	if !a.AdminUi {
		return nil, nil
	}
	hash, err := fromFile("admin-ui-password", a.AdminUiPassword, a.AdminUiPasswordFile)
	if err != nil {
		return nil, err
	}
	if hash == "" {
		return nil, usagef("--admin-ui-password ($GUILDCAST_ADMIN_UI_PASSWORD) is required with --admin-ui")
	}
	return &node.AdminUI{
		User: a.AdminUiUser, PasswordHash: hash, Write: a.AdminUiWrite, Production: a.AdminUiMode == "production",
	}, nil
}

// bounds are those of engine.Options as flags.
type bounds struct {
	MaxQueueBytes     int `default:"${max_queue_bytes}" placeholder:"BYTES" help:"Most that waits to be sent to one client; one that is behind by more is disconnected. From a quarter of it on guild events are left out, and followed by a resync."`
	MaxQueueBudget    int `default:"${max_queue_budget}" placeholder:"BYTES" help:"Most that waits to be sent to all clients; while it is spent, those with over 1 MiB waiting are disconnected."`
	MaxInboundBytes   int `default:"${max_inbound_bytes}" placeholder:"BYTES" help:"Most that one client has sent and no handler has taken."`
	MaxInboundBudget  int `default:"${max_inbound_budget}" placeholder:"BYTES" help:"Most that clients have sent and no handler has taken, of all clients, beyond 8 KiB of each."`
	MaxDecodedBytes   int `placeholder:"BYTES" help:"Most that one message takes when it is decoded; 16 times --max-message-bytes if left out."`
	MaxDecodingBudget int `default:"${max_decoding_budget}" placeholder:"BYTES" help:"Most that the messages take that are being decoded or handled, for messages of up to 64 KiB, and as much for larger ones."`
	MaxAttachments    int `default:"${max_attachments}" placeholder:"N" help:"Binary attachments of one message."`
	MaxJsonDepth      int `default:"${max_json_depth}" placeholder:"N" help:"Depth of the JSON of one message."`
	MaxNamespaces     int `default:"${max_namespaces}" placeholder:"N" help:"Namespaces that one client is connected to."`
}

// limits are the fields of handlers.Limits as flags.
type limits struct {
	LimitSocketRate         float64 `default:"${limit_socket_rate}" placeholder:"N" help:"Events a second of one socket."`
	LimitSocketBurst        int     `default:"${limit_socket_burst}" placeholder:"N" help:"Events at once of one socket."`
	LimitUserRate           float64 `default:"${limit_user_rate}" placeholder:"N" help:"Events a second of one user, over all sockets of the node."`
	LimitUserBurst          int     `default:"${limit_user_burst}" placeholder:"N" help:"Events at once of one user."`
	LimitAddressRate        float64 `default:"${limit_address_rate}" placeholder:"N" help:"Events a second of one client address."`
	LimitAddressBurst       int     `default:"${limit_address_burst}" placeholder:"N" help:"Events at once of one client address."`
	LimitConnects           float64 `default:"${limit_connects}" placeholder:"N" help:"New connections a second; others are refused with 503 and Retry-After."`
	LimitConnections        int     `default:"${limit_connections}" placeholder:"N" help:"Connections that are open; others are refused with 503 and Retry-After."`
	LimitAddressConnects    float64 `default:"${limit_address_connects}" placeholder:"N" help:"New connections a second of one client address."`
	LimitAddressConnections int     `default:"${limit_address_connections}" placeholder:"N" help:"Connections that are open of one client address."`

	LimitFlood          int `default:"${limit_flood}" placeholder:"N" help:"Refused events after which a socket is disconnected."`
	LimitSocketRequests int `default:"${limit_socket_requests}" placeholder:"N" help:"Requests in progress of one socket."`
	LimitNodeRequests   int `default:"${limit_node_requests}" placeholder:"N" help:"Requests in progress of the node; a quarter of them for sockets that are not elevated."`

	LimitAddressRequests int `default:"${limit_address_requests}" placeholder:"N" help:"Requests in progress of one client address, of sockets that are not elevated."`
	LimitUserRequests    int `default:"${limit_user_requests}" placeholder:"N" help:"Requests in progress of one elevated user."`

	LimitSocketBytes    int `default:"${limit_socket_bytes}" placeholder:"BYTES" help:"Most that requests in progress of one socket hold."`
	LimitAddressBytes   int `default:"${limit_address_bytes}" placeholder:"BYTES" help:"The same of one client address, of sockets that are not elevated."`
	LimitUserBytes      int `default:"${limit_user_bytes}" placeholder:"BYTES" help:"The same of one elevated user."`
	LimitAnonymousBytes int `default:"${limit_anonymous_bytes}" placeholder:"BYTES" help:"The same of all sockets that are not elevated."`
	LimitElevatedBytes  int `default:"${limit_elevated_bytes}" placeholder:"BYTES" help:"The same of all elevated sockets."`

	LimitGuildBacklogBytes int `default:"${limit_guild_backlog_bytes}" placeholder:"BYTES" help:"Most that waits for slow readers of one guild; with more, its events are left out for those readers."`
	LimitNodeBacklogBytes  int `default:"${limit_node_backlog_bytes}" placeholder:"BYTES" help:"The same of all guilds."`
	LimitPageBytes         int `default:"${limit_page_bytes}" placeholder:"BYTES" help:"Most that pages of pools take that requests in progress share."`
	LimitResultBytes       int `default:"${limit_result_bytes}" placeholder:"BYTES" help:"Most that answers of workers take until their clients have read them."`

	LimitNodeReplays      int `default:"${limit_node_replays}" placeholder:"N" help:"Replays of past guild events in progress, until their answer."`
	LimitReplayEvents     int `default:"${limit_replay_events}" placeholder:"N" help:"Events of one replay; a client that has missed more is told so."`
	LimitGuildReplayBytes int `default:"${limit_guild_replay_bytes}" placeholder:"BYTES" help:"Most that events of one guild take that are kept for replays."`
	LimitNodeReplayBytes  int `default:"${limit_node_replay_bytes}" placeholder:"BYTES" help:"The same of all guilds."`

	LimitPayload int `default:"${limit_payload}" placeholder:"BYTES" help:"Payload of an event, with its attachments."`
	LimitPoolIds int `default:"${limit_pool_ids}" placeholder:"N" help:"Ids in one pool request."`
	LimitContent int `default:"${limit_content}" placeholder:"N" help:"Characters of an interpret message."`

	LimitSearchEntries int `default:"${limit_search_entries}" placeholder:"N" help:"Names that are held for searches; more than 0."`
	LimitSearchPools   int `default:"${limit_search_pools}" placeholder:"N" help:"Pools whose names are held for searches; more than 0."`
	LimitRemembered    int `default:"${limit_remembered}" placeholder:"N" help:"Users, and addresses, whose rates are remembered; more than 0."`
}

func (l limits) forHandlers() handlers.Limits {
	// Zero would mean the default there, but here it means that none pass.
	count := func(n int) int {
		if n == 0 {
			return 1
		}
		return n
	}
	return handlers.Limits{
		SocketRate: l.LimitSocketRate, SocketBurst: count(l.LimitSocketBurst),
		UserRate: l.LimitUserRate, UserBurst: count(l.LimitUserBurst),
		AddressRate: l.LimitAddressRate, AddressBurst: count(l.LimitAddressBurst),
		Connects: l.LimitConnects, Connections: count(l.LimitConnections),
		AddressConnects: l.LimitAddressConnects, AddressConnections: count(l.LimitAddressConnections),
		Flood: count(l.LimitFlood), SocketRequests: count(l.LimitSocketRequests),
		NodeRequests:    count(l.LimitNodeRequests),
		AddressRequests: count(l.LimitAddressRequests), UserRequests: count(l.LimitUserRequests),
		SocketBytes: count(l.LimitSocketBytes), AddressBytes: count(l.LimitAddressBytes),
		UserBytes: count(l.LimitUserBytes), AnonymousBytes: count(l.LimitAnonymousBytes),
		ElevatedBytes: count(l.LimitElevatedBytes),
		NodeReplays:   count(l.LimitNodeReplays), ReplayEvents: count(l.LimitReplayEvents),
		GuildReplayBytes: count(l.LimitGuildReplayBytes), NodeReplayBytes: count(l.LimitNodeReplayBytes),
		GuildBacklogBytes: count(l.LimitGuildBacklogBytes), NodeBacklogBytes: count(l.LimitNodeBacklogBytes),
		PageBytes: count(l.LimitPageBytes), ResultBytes: count(l.LimitResultBytes),
		Payload: count(l.LimitPayload), PoolIDs: count(l.LimitPoolIds), Content: count(l.LimitContent),
		SearchEntries: l.LimitSearchEntries, SearchPools: l.LimitSearchPools, Remembered: l.LimitRemembered,
	}
}

// weakSecret is the length in bytes below which a secret can be guessed from a token: RFC 7518, section 3.2.
const weakSecret = 32

// Run serves until ctx ends.
func (s *serve) Run(ctx context.Context, t terminal) error {
	hadTerminal := t.onTerminal() // before anybody can know that the node is there
	config, err := s.nodeConfig(t)
	if err != nil {
		return err
	}
	goredis.SetLogger(redisLog{config.Logger})
	config.Load = s.loader(t, &config)
	warned := false
	one := func(ctx context.Context) error {
		n, err := node.New(config)
		if err != nil {
			return usageError{err}
		}
		if !warned { // only now: a wrong value ends with its one line alone
			warned = true
			s.warn(t, &config)
		}
		ctx, stop := context.WithCancel(ctx)
		var running sync.WaitGroup
		running.Go(func() { t.follow(ctx, stop, n, hadTerminal) })
		defer running.Wait()
		defer stop()
		return n.Run(ctx)
	}
	if s.Demo {
		return runDemo(ctx, &config, one)
	}
	return one(ctx)
}

// warn logs what is odd about the configuration and serves all the same, and sets the limit of memory.
func (s *serve) warn(t terminal, c *node.Config) {
	for _, name := range t.unknown {
		c.Logger.Warn("environment variable is no option and ignored", "name", name)
	}
	warnOfWeak(c)
	s.memory.apply(c.Logger, memlimit.FromCgroup)
}

// warnOfWeak logs secrets that can be guessed.
func warnOfWeak(c *node.Config) {
	for _, secret := range c.JWTSecrets {
		if len(secret.Key) < weakSecret {
			c.Logger.Warn("token secret is shorter than HS256 asks for", "kid", secret.KeyID, "bytes", len(secret.Key),
				"want", weakSecret)
		}
	}
}

// nodeConfig is config with what a process adds to it.
func (s *serve) nodeConfig(t terminal) (node.Config, error) {
	c, err := s.config()
	if err != nil {
		return c, err
	}
	c.Logger, c.LogLevel = s.logger(t.err)
	c.Shown, c.Files = shown(t.options), t.files()
	c.Version, c.Revision = release, revision()
	if s.Demo {
		own := demoSecret()
		c.JWTSecrets = append(c.JWTSecrets, own)
		c.Demo = &node.Demo{Members: s.DemoMembers, Interval: s.DemoInterval, Mint: demoMint(&c, own)}
		c.Listening = func(i node.Info) { printDemo(t.out, &c, i) }
	}
	return c, nil
}

// config is the options as those of a node.
func (s *serve) config() (node.Config, error) {
	c := node.Config{
		Addr: s.Addr, AdminAddr: s.AdminAddr, Watch: s.Watch, TLSCert: s.TlsCert, TLSKey: s.TlsKey, Origins: s.Origins,
		ProxyProtocol: s.ProxyProtocol, Traces: s.Traces,
		KeepAlive: s.KeepAlive, DrainDelay: s.DrainDelay, Grace: s.Grace,
		Path: s.Path, ServeClient: s.ServeClient, PingInterval: s.PingInterval, PingTimeout: s.PingTimeout,
		MaxMessageBytes: s.MaxMessageBytes, AllowEIO3: s.AllowEio3, Compression: s.Compression,
		Compat:        handlers.Compat(s.Compat),
		MaxQueueBytes: s.MaxQueueBytes, MaxQueueBudget: s.MaxQueueBudget,
		MaxInboundBytes: s.MaxInboundBytes, MaxInboundBudget: s.MaxInboundBudget,
		MaxDecodedBytes: s.MaxDecodedBytes, MaxDecodingBudget: s.MaxDecodingBudget,
		MaxAttachments: s.MaxAttachments, MaxJSONDepth: s.MaxJsonDepth, MaxNamespaces: s.MaxNamespaces,
		Redis: s.Redis, Advertise: s.Advertise, TopicPrefix: s.TopicPrefix, Topics: node.TopicMode(s.Topics),
		Adapter: node.AdapterMode(s.Adapter), AdapterKey: s.AdapterKey,
		AdapterTimeout: s.AdapterTimeout, Shards: s.Shards, RequestTimeout: s.RequestTimeout,
		MaxAnswerBytes: s.MaxAnswerBytes, MaxAnswerBudget: s.MaxAnswerBudget, MaxStream: s.MaxStream,
		PublishQueueBytes: s.PublishQueueBytes, ReceiveQueueBytes: s.ReceiveQueueBytes, ReceiveStall: s.ReceiveStall,
		MockbotMaxBytes: s.MockbotMaxBytes, MockbotStepsPerSecond: s.MockbotStepsPerSecond,
		Interpreter: node.Interpreter(s.Interpreter), RevocationLifetime: s.RevocationLifetime,
		MaxRevocations: s.MaxRevocations,
		JWTJWKS:        s.JwtJwks, JWTJWKSRefresh: s.JwtJwksRefresh, JWTIssuer: s.JwtIssuer, JWTAudience: s.JwtAudience,
		JWTLeeway:       s.JwtLeeway,
		TokenPerRequest: handlers.TokenPerRequest(s.TokenPerRequest), UserPool: handlers.UserPool(s.UserPool),
		TokenCookie:   s.TokenCookie,
		ExpiryWarning: s.ExpiryWarning, Policy: s.Policy, Limits: s.forHandlers(),
	}
	if err := cmp.Or(s.positive(), s.memory.valid()); err != nil {
		return c, err
	}
	var err error
	if c.TrustedProxies, err = parsePrefixes(s.TrustedProxies); err != nil {
		return c, err
	}
	if c.ClusterSecret, err = fromFile("cluster-secret", s.ClusterSecret, s.ClusterSecretFile); err != nil {
		return c, err
	}
	if c.AdminUI, err = s.adminUI.config(); err != nil {
		return c, err
	}
	if c.JWTSecrets, err = s.secrets(); err != nil {
		return c, err
	}
	if len(c.JWTSecrets) == 0 && c.JWTJWKS == "" && !s.Demo {
		return c, usagef("--jwt-secret ($GUILDCAST_JWT_SECRET) is required, unless there is --jwt-jwks or --demo")
	}
	return c, nil
}

// fromFile returns the value of a flag or of the file that its neighbour names, or "".
func fromFile(flag, value, file string) (string, error) {
	if file == "" {
		return value, nil
	}
	if value != "" {
		return "", usagef("--%s and --%s-file exclude each other", flag, flag)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", usagef("--%s-file: %w", flag, err)
	}
	secret := strings.TrimSpace(string(data))
	if secret == "" {
		return "", usagef("--%s-file: the file is empty", flag)
	}
	return secret, nil
}

// positive returns an error if a number is outside of its range.
func (s *serve) positive() error {
	for name, d := range map[string]time.Duration{
		"keep-alive": s.KeepAlive, "grace": s.Grace, "ping-interval": s.PingInterval, "ping-timeout": s.PingTimeout,
		"adapter-timeout": s.AdapterTimeout, "request-timeout": s.RequestTimeout,
		"revocation-lifetime": s.RevocationLifetime, "receive-stall": s.ReceiveStall,
		"jwt-jwks-refresh": s.JwtJwksRefresh, "expiry-warning": s.ExpiryWarning, "demo-interval": s.DemoInterval,
	} {
		if d <= 0 {
			return usagef("--%s: must be more than 0", name)
		}
	}
	for name, n := range map[string]int{
		"max-message-bytes": int(s.MaxMessageBytes), "max-queue-bytes": s.MaxQueueBytes,
		"max-queue-budget":  s.MaxQueueBudget,
		"max-inbound-bytes": s.MaxInboundBytes, "max-inbound-budget": s.MaxInboundBudget,
		"max-decoding-budget": s.MaxDecodingBudget, "max-attachments": s.MaxAttachments,
		"max-json-depth": s.MaxJsonDepth,
		"max-namespaces": s.MaxNamespaces, "shards": s.Shards, "max-answer-bytes": s.MaxAnswerBytes,
		"max-answer-budget": s.MaxAnswerBudget, "max-stream": s.MaxStream, "limit-search-entries": s.LimitSearchEntries,
		"limit-search-pools": s.LimitSearchPools, "limit-remembered": s.LimitRemembered,
		"demo-members": s.DemoMembers, "max-revocations": s.MaxRevocations,
		"publish-queue-bytes": s.PublishQueueBytes, "receive-queue-bytes": s.ReceiveQueueBytes,
		"mockbot-max-bytes": s.MockbotMaxBytes, "mockbot-steps-per-second": s.MockbotStepsPerSecond,
	} {
		if n <= 0 {
			return usagef("--%s: must be more than 0", name)
		}
	}
	switch {
	case s.MaxDecodedBytes < 0:
		return usagef("--max-decoded-bytes: must not be negative")
	case s.DrainDelay < 0:
		return usagef("--drain-delay: must not be negative")
	case s.JwtLeeway < 0 || s.JwtLeeway > token.MaxLeeway:
		return usagef("--jwt-leeway: must be between 0 and %s", token.MaxLeeway)
	}
	return nil
}

// parsePrefixes reads --trusted-proxies.
func parsePrefixes(texts []string) (networks []netip.Prefix, err error) {
	for _, text := range texts {
		network, err := parsePrefix(text)
		if err != nil {
			return nil, usagef("--trusted-proxies: %w", err)
		}
		networks = append(networks, network)
	}
	return networks, nil
}

// parsePrefix reads a network, or one address.
func parsePrefix(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return prefix, fmt.Errorf("%q is neither a network such as 10.0.0.0/8 nor an address", text)
	}
	return prefix, nil
}
