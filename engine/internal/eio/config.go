package eio

import (
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"time"

	"github.com/architus/guildcast/internal/defaults"
)

// Names of the transports, as in the "transport" query parameter.
const (
	Polling   = "polling"
	WebSocket = "websocket"
)

// Config configures a Server. The zero value works. A limit that is zero or negative means its default.
type Config struct {
	// PingInterval is the time between heartbeats. Default 25 s.
	PingInterval time.Duration
	// PingTimeout is how long the peer may take to answer a heartbeat. Default 20 s.
	PingTimeout time.Duration
	// UpgradeTimeout is how long a WebSocket may take from its handshake to the upgrade packet. Default 10 s.
	UpgradeTimeout time.Duration
	// MaxHTTPBufferSize bounds a message, and the body of a POST, in bytes. Default 1,000,000. A larger WebSocket
	// message closes the session (close code 1009). A larger body gets status 413, and the session stays open, as in
	// Node.js.
	MaxHTTPBufferSize int

	// Transports are the transports to serve. Empty means polling and websocket.
	Transports []string
	// DisableUpgrades forbids a polling session to become a WebSocket.
	DisableUpgrades bool
	// AllowEIO3 admits clients of revision 3 of the protocol (socket.io-client 2.x), which includes JSONP polling.
	AllowEIO3 bool
	// Cookie, if not nil, is the template of a cookie with the session's id in the answer to a polling handshake. Its
	// Name defaults to "io". Its Value is ignored.
	Cookie *http.Cookie
	// BareMessages makes WebSockets carry messages without Engine.IO's open packet and packet types. It is for tests of
	// the WebSocket layer.
	BareMessages bool
	// InitialPacket, if not nil, is queued right after the open packet of every session.
	InitialPacket *Frame

	// Deflate, if not nil, accepts permessage-deflate of WebSocket peers, without context takeover.
	Deflate *Compression
	// ContextTakeover lets peers keep what they have inflated, if Deflate is not nil, so that a Group is of use.
	ContextTakeover bool
	// HTTPCompression, if not nil, compresses polling answers for peers that accept gzip.
	HTTPCompression *Compression

	// AllowRequest, if not nil, is called before a session is made. An error refuses the session: its text goes to the
	// peer with code 4.
	AllowRequest func(*http.Request) error
	// Admit, if not nil, is called before a session is made. A nil release refuses the session with 503 and
	// Retry-After. Otherwise release is called once, when the session has closed or could not be made.
	Admit func(*http.Request) (release func(), retryAfter time.Duration)
	// GenerateID, if not nil, returns the session's id, which must be unguessable and unique. Default: 15 random bytes
	// in base64url.
	GenerateID func(*http.Request) (string, error)
	// NodeID, if not empty, begins the ids of all sessions: NodeIDSize characters of base64url. It replaces as many
	// characters of what GenerateID returns.
	NodeID string
	// Forward, if not nil, passes on a request for a session whose id begins with the NodeID of another server. It
	// returns an error if it has not answered the request; the session then counts as unknown.
	Forward func(w http.ResponseWriter, r *http.Request, node string) error
	// Hooks observe the server.
	Hooks Hooks
	// Logger receives what an operator must know; nil discards.
	Logger *slog.Logger

	// MaxPayloadPackets bounds the packets in one POST. Default 100,000. A payload with more is refused. (A client that
	// emits before it is connected sends everything in one payload.)
	MaxPayloadPackets int
	// MaxFragments bounds the frames of one fragmented WebSocket message. Default 1,024. More close the WebSocket with
	// code 1008.
	MaxFragments int

	// QueueSoft is the number of queued bytes from which a connection counts as Lagging. Default 1 MiB. With many
	// connections it is less: an equal share of half of QueueBudget.
	QueueSoft int
	// QueueHard bounds the queued bytes of a connection; more cut it. Default 16 MiB. A single larger message passes if
	// the queue is empty.
	QueueHard int
	// QueueBudget bounds the queued bytes of all connections together. Default 512 MiB. While it is spent, a connection
	// that is over QueueSoft is cut when more is sent to it.
	QueueBudget int
	// StallTimeout bounds how long the rest of an unwanted body may take to arrive. It also cuts a WebSocket whose peer
	// has read nothing for so long while data waited, if the peer's system does not answer or half of QueueBudget is in
	// use. Default 10 s.
	StallTimeout time.Duration
	// UnreadTimeout cuts a WebSocket whose peer has read nothing for so long while data waited, although the peer's
	// system answers. Such a system may hide for a minute that its program reads a few KB a second. Default 9 times
	// StallTimeout, which makes 90 s.
	UnreadTimeout time.Duration

	// Flushers is the number of goroutines that write. Default GOMAXPROCS.
	Flushers int
	// DisablePoller gives every WebSocket a goroutine that reads. With TLS and outside Linux it has one anyway.
	DisablePoller bool
}

// Compression configures compression. The zero value works.
type Compression struct {
	// Threshold is the size in bytes from which a message or a polling answer is compressed. Default 1,024.
	Threshold int
	// Level is a level of compress/flate, 1 (fastest) to 9. Default 1.
	Level int
}

// Hooks are functions that the server calls if they are not nil. None is called with a lock held, and none may block
// for long.
type Hooks struct {
	// InitialHeaders is called with the headers of the answer to a session's first request, and Headers with those of
	// every answer. They may change the headers. Both are called for the 101 answer of a WebSocket.
	InitialHeaders func(h http.Header, r *http.Request)
	Headers        func(h http.Header, r *http.Request)
	// ConnectionError is called for every refused request.
	ConnectionError func(*ConnectionError)

	// The other hooks are called only for connections that observe the event; see Conn.Observe and Server.Observe.

	// Packet is called for a packet that arrived, before the Handler is. p.Data is valid only during the call.
	Packet func(c *Conn, p Packet)
	// PacketCreate is called for a packet that is about to be queued.
	PacketCreate func(c *Conn, p Packet)
	// Flush is called when queued packets are handed to the transport, Drain when the transport has taken them.
	Flush, Drain func(c *Conn)
	// Heartbeat is called when a ping (revision 3) or a pong (revision 4) arrives.
	Heartbeat func(c *Conn)
	// Upgrading is called when a WebSocket has been probed, Upgrade when it has replaced polling.
	Upgrading, Upgrade func(c *Conn)
}

// Events is a set of hooks that are called per packet.
type Events uint8

// The hooks that a connection can observe.
const (
	ObservePacket Events = 1 << iota
	ObservePacketCreate
	ObserveFlush
	ObserveDrain
	ObserveHeartbeat
	ObserveUpgrading
	ObserveUpgrade
)

// Defaults of the bounds of what waits to be sent, in bytes.
const (
	DefaultQueueHard   = 16 << 20
	DefaultQueueBudget = 512 << 20
)

// withDefaults returns the configuration with its defaults filled in.
func (c Config) withDefaults() (Config, error) {
	c.PingInterval = defaults.Positive(c.PingInterval, 25*time.Second)
	c.PingTimeout = defaults.Positive(c.PingTimeout, 20*time.Second)
	c.UpgradeTimeout = defaults.Positive(c.UpgradeTimeout, 10*time.Second)
	c.MaxHTTPBufferSize = defaults.Positive(c.MaxHTTPBufferSize, 1_000_000)
	c.MaxPayloadPackets = defaults.Positive(c.MaxPayloadPackets, 100_000)
	c.MaxFragments = defaults.Positive(c.MaxFragments, 1024)
	c.QueueSoft = defaults.Positive(c.QueueSoft, 1<<20)
	c.QueueHard = defaults.Positive(c.QueueHard, DefaultQueueHard)
	c.QueueBudget = defaults.Positive(c.QueueBudget, DefaultQueueBudget)
	c.StallTimeout = defaults.Positive(c.StallTimeout, 10*time.Second)
	c.UnreadTimeout = defaults.Positive(c.UnreadTimeout, 9*c.StallTimeout)
	c.Flushers = defaults.Positive(c.Flushers, runtime.GOMAXPROCS(0))
	if len(c.Transports) == 0 {
		c.Transports = []string{Polling, WebSocket}
	}
	for _, t := range c.Transports {
		if t != Polling && t != WebSocket {
			return c, fmt.Errorf("transport %q is not supported (supported are %q and %q)", t, Polling, WebSocket)
		}
	}
	if c.Cookie != nil {
		cookie := *c.Cookie
		cookie.Name = cmp.Or(cookie.Name, "io")
		cookie.Value = "id"
		if err := cookie.Valid(); err != nil {
			return c, fmt.Errorf("cookie: %w", err)
		}
		c.Cookie = &cookie
	}
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	if c.GenerateID == nil {
		c.GenerateID = generateID
	}
	if c.NodeID != "" && !validNodeID(c.NodeID) {
		return c, fmt.Errorf("node id %q: must be %d characters of base64url", c.NodeID, NodeIDSize)
	}
	return c, nil
}

// generateID returns 15 random bytes in base64url.
func generateID(*http.Request) (string, error) {
	var b [15]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.URLEncoding.EncodeToString(b[:]), nil
}
