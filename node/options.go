package node

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter"
	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/permissions"
	"github.com/architus/guildcast/token"
	"github.com/architus/guildcast/token/jwks"
	"github.com/architus/guildcast/web"
)

// newVerifier returns a verifier of tokens; keys may be nil.
func (n *Node) newVerifier(c *Config, keys *jwks.Source) (*token.Verifier, error) {
	o := token.VerifierOptions{
		Secrets: c.JWTSecrets, Issuer: c.JWTIssuer, Audience: c.JWTAudience, Leeway: c.JWTLeeway, Revocations: &n.known,
	}
	if keys != nil {
		o.Keys = keys
	}
	return token.NewVerifier(o)
}

// LoadPolicy returns the default policy as a file changes it; "" is no file.
func LoadPolicy(file string) (*permissions.Policy, error) {
	policy := permissions.DefaultPolicy()
	if file == "" {
		return policy, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	if policy, err = policy.With(data); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return policy, nil
}

// loadCertificate returns nil if there is none.
func loadCertificate(cert, key string) (*tls.Certificate, error) {
	switch {
	case cert == "" && key == "":
		return nil, nil
	case cert == "" || key == "":
		return nil, errors.New("TLS needs both a certificate and a key")
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("load the TLS certificate: %w", err)
	}
	return &pair, nil
}

// tlsConfig serves the certificate of the moment.
func (n *Node) tlsConfig() *tls.Config {
	return &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return n.live.Load().certificate, nil },
		MinVersion:     tls.VersionTLS12,
		// Socket.IO needs HTTP/1.1 for its WebSockets, and polling gains nothing from HTTP/2.
		NextProtos: []string{"http/1.1"},
	}
}

// compressFrom is the size in bytes from which a message is compressed, if compression is on.
const compressFrom = 1024

// serverOptions are those of the Socket.IO server. CORS is not among them: see origins.
func (n *Node) serverOptions(a socket.AdapterConstructor) *socket.ServerOptions {
	c := &n.config
	o := socket.DefaultServerOptions()
	o.SetAdapter(a)
	o.SetPath(c.Path)
	o.SetServeClient(c.ServeClient)
	o.SetAllowEIO3(c.AllowEIO3)
	o.SetPingInterval(c.PingInterval)
	o.SetPingTimeout(c.PingTimeout)
	o.SetMaxHttpBufferSize(c.MaxMessageBytes)
	if c.Compression == CompressionMessage || c.Compression == CompressionShared {
		o.SetPerMessageDeflate(&types.PerMessageDeflate{Threshold: compressFrom})
	}
	return o
}

// engineOptions are those of the engine below the Socket.IO server.
func (n *Node) engineOptions() engine.Options {
	c := &n.config
	o := engine.Options{
		Logger: c.Logger, ClientFiles: web.ClientFiles(),
		MaxQueueBytes: c.MaxQueueBytes, MaxQueueBudget: c.MaxQueueBudget,
		MaxInboundBytes: c.MaxInboundBytes, MaxInboundBudget: c.MaxInboundBudget,
		MaxDecodedBytes: c.MaxDecodedBytes, MaxDecodingBudget: c.MaxDecodingBudget,
		ContextTakeover: c.Compression == CompressionShared,
		MaxAttachments:  c.MaxAttachments, MaxJSONDepth: c.MaxJSONDepth, MaxNamespaces: c.MaxNamespaces,
		AdmitSession: func(r *http.Request) (func(), time.Duration) { return n.gateway.AdmitSession(r) },
		// There is a gateway before anybody connects.
		Admit: func(s *socket.Socket, in engine.Incoming) bool { return n.gateway.Admit(s, in) },
		Busy:  func(c *engine.Conn) bool { return n.gateway.Busy(c) },
	}
	if n.forward != nil {
		o.NodeID, o.Forward = n.forward.ID(), n.forward.Forward
	}
	return o
}

// adapter is how the node speaks to other Socket.IO servers, and what is counted of it.
func (n *Node) adapter() (socket.AdapterConstructor, func() adapter.Stats) {
	c := &n.config
	if c.Adapter == AdapterClassic {
		a := adapter.New(n.redis.Client, adapter.Options{
			Key: c.AdapterKey, RequestsTimeout: c.AdapterTimeout, Logger: c.Logger, Bus: n.bus, Expect: expectElevation,
			// With miniredis it is the cheaper way; see docs/decisions/0008-room-channels.md.
			PatternSubscription: n.redis.Embedded != "",
		})
		return a, a.Stats
	}
	a := adapter.NewSharded(n.redis.Client, adapter.ShardedOptions{
		ChannelPrefix: c.AdapterKey, SubscriptionMode: shardedModes[c.Adapter], RequestsTimeout: c.AdapterTimeout,
		Logger: c.Logger, Bus: n.bus,
		Expect: expectElevation,
	})
	return a, a.Stats
}

// shardedModes are the modes of the sharded adapter.
var shardedModes = map[AdapterMode]adapter.SubscriptionMode{
	AdapterSharded: adapter.Dynamic, AdapterShardedStatic: adapter.Static,
	AdapterShardedDynamicPrivate: adapter.DynamicPrivate,
}

// expectElevation names the room that the members of a room will join: a socket is there to be elevated.
func expectElevation(room socket.Room) []socket.Room {
	if event.IsAuthRoom(string(room)) {
		return nil
	}
	return []socket.Room{socket.Room(event.AuthRoom(string(room)))}
}
