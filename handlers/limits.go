package handlers

import (
	"cmp"
	"math"
)

// Limits bound what one socket, one user and one address may request of a node. Rates count all events that clients
// send. Zero means the default, and a negative number no limit.
type Limits struct {
	SocketRate  float64 // events per second of one socket; default 100
	SocketBurst int     // events at once; default 400

	UserRate  float64 // events per second of all sockets of one elevated user on this node; default 200
	UserBurst int     // events at once; default 1000

	AddressRate  float64 // events per second of all sockets of one client address on this node; default 2000
	AddressBurst int     // events at once; default 10000

	// New Engine.IO sessions per second, and as many at once. One over it is refused with 503.
	Connects        float64 // of all addresses; default 2000
	AddressConnects float64 // of one client address; default 1000

	// Engine.IO sessions that are open.
	Connections        int // of all addresses; default 100000
	AddressConnections int // of one client address; default 20000

	// Flood is how many refused events disconnect a socket. Refusals are forgotten at SocketRate. Default 1000; a
	// negative number never disconnects.
	Flood int

	// Pool and interpret requests in progress.

	SocketRequests  int // of one socket; default 128
	NodeRequests    int // of all sockets; default 8192. Sockets that are not elevated have a quarter of it
	AddressRequests int // of all sockets of one address that are not elevated; default 256
	UserRequests    int // of all sockets of one elevated user; default 512

	// What requests in progress hold, in bytes. A request that is alone under its bound always fits.
	SocketBytes    int // one socket; default 4 MiB
	AddressBytes   int // all sockets of one address that are not elevated; default 8 MiB
	UserBytes      int // all sockets of one elevated user; default 8 MiB
	AnonymousBytes int // all sockets that are not elevated; default 64 MiB
	ElevatedBytes  int // all elevated sockets; default 192 MiB

	// What waits for slow readers of guild events, in bytes. A guild over a bound waits for nobody: the engine queues
	// its events, or leaves them out, for each connection.
	GuildBacklogBytes int // of one guild; default 4 MiB
	NodeBacklogBytes  int // of all guilds; default 64 MiB

	// What is held so that requests in progress that ask for the same share it, in bytes.
	PageBytes   int // pages of pools; beyond it the oldest are read again; default 32 MiB
	ResultBytes int // workers' answers, until their clients have read them; beyond it requests fail; default 128 MiB

	// Replays of past guild events.

	NodeReplays      int // in progress, until their answer; default 8192
	ReplayEvents     int // events of one; a client that has missed more is told so; default 10000
	GuildReplayBytes int // events of one guild that are kept for replays, in bytes; default 24 MiB
	NodeReplayBytes  int // the same of all guilds; default 128 MiB

	Payload int // bytes of an event's payload with its attachments; default 262144
	PoolIDs int // ids in one pool request; default 10000
	Content int // characters of an interpret message; default 4000

	// SearchEntries is how many names are held for searches, at about 300 bytes each, and SearchPools of how many
	// pools. Beyond these the pool that was searched longest ago is dropped, and a single pool that is larger is
	// indexed in part. Defaults 1000000 and 1000.
	SearchEntries, SearchPools int

	// Remembered is how many users and how many addresses the rates remember. If more are active, those not seen for
	// longest are forgotten and start with a full burst again. Default 65536.
	Remembered int
}

// DefaultLimits returns the defaults.
func DefaultLimits() Limits {
	return Limits{
		SocketRate: 100, SocketBurst: 400, UserRate: 200, UserBurst: 1000, AddressRate: 2000, AddressBurst: 10000,
		Connects: 2000, AddressConnects: 1000, Connections: 100_000, AddressConnections: 20_000,
		Flood:          1000,
		SocketRequests: 128, NodeRequests: 8192, AddressRequests: 256, UserRequests: 512,
		SocketBytes: 4 << 20, AddressBytes: 8 << 20, UserBytes: 8 << 20,
		AnonymousBytes: 64 << 20, ElevatedBytes: 192 << 20,
		GuildBacklogBytes: 4 << 20, NodeBacklogBytes: 64 << 20, PageBytes: 32 << 20, ResultBytes: 128 << 20,
		NodeReplays: 8192, ReplayEvents: 10000, GuildReplayBytes: 24 << 20, NodeReplayBytes: 128 << 20,
		Payload: 256 << 10, PoolIDs: 10000, Content: 4000,
		SearchEntries: 1_000_000, SearchPools: 1000, Remembered: 65536,
	}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	l.SocketRate, l.SocketBurst = cmp.Or(l.SocketRate, d.SocketRate), cmp.Or(l.SocketBurst, d.SocketBurst)
	l.UserRate, l.UserBurst = cmp.Or(l.UserRate, d.UserRate), cmp.Or(l.UserBurst, d.UserBurst)
	l.AddressRate, l.AddressBurst = cmp.Or(l.AddressRate, d.AddressRate), cmp.Or(l.AddressBurst, d.AddressBurst)
	l.Connects = cmp.Or(l.Connects, d.Connects)
	l.AddressConnects = cmp.Or(l.AddressConnects, d.AddressConnects)
	l.Connections = cmp.Or(l.Connections, d.Connections)
	l.AddressConnections = cmp.Or(l.AddressConnections, d.AddressConnections)
	l.Flood = cmp.Or(l.Flood, d.Flood)
	l.SocketRequests = cmp.Or(l.SocketRequests, d.SocketRequests)
	l.NodeRequests = cmp.Or(l.NodeRequests, d.NodeRequests)
	l.AddressRequests = cmp.Or(l.AddressRequests, d.AddressRequests)
	l.UserRequests = cmp.Or(l.UserRequests, d.UserRequests)
	l.SocketBytes = cmp.Or(l.SocketBytes, d.SocketBytes)
	l.AddressBytes, l.UserBytes = cmp.Or(l.AddressBytes, d.AddressBytes), cmp.Or(l.UserBytes, d.UserBytes)
	l.AnonymousBytes = cmp.Or(l.AnonymousBytes, d.AnonymousBytes)
	l.ElevatedBytes = cmp.Or(l.ElevatedBytes, d.ElevatedBytes)
	l.GuildBacklogBytes = cmp.Or(l.GuildBacklogBytes, d.GuildBacklogBytes)
	l.NodeBacklogBytes = cmp.Or(l.NodeBacklogBytes, d.NodeBacklogBytes)
	l.PageBytes, l.ResultBytes = cmp.Or(l.PageBytes, d.PageBytes), cmp.Or(l.ResultBytes, d.ResultBytes)
	l.NodeReplays = cmp.Or(l.NodeReplays, d.NodeReplays)
	l.ReplayEvents = cmp.Or(l.ReplayEvents, d.ReplayEvents)
	l.GuildReplayBytes = cmp.Or(l.GuildReplayBytes, d.GuildReplayBytes)
	l.NodeReplayBytes = cmp.Or(l.NodeReplayBytes, d.NodeReplayBytes)
	l.Payload = cmp.Or(l.Payload, d.Payload)
	l.PoolIDs = cmp.Or(l.PoolIDs, d.PoolIDs)
	l.Content = cmp.Or(l.Content, d.Content)
	l.SearchEntries, l.SearchPools = cmp.Or(l.SearchEntries, d.SearchEntries), cmp.Or(l.SearchPools, d.SearchPools)
	l.Remembered = max(cmp.Or(l.Remembered, d.Remembered), 2)
	return l
}

// limits returns the limits of the moment.
func (g *Gateway) limits() *Limits { return g.bounds.Load() }

// SetLimits replaces the limits, for requests and events that come from now on. What is in progress, or held, under the
// limits from before stays until it ends. Users and addresses start with a full burst if their rates have changed.
func (g *Gateway) SetLimits(l Limits) {
	l = l.withDefaults()
	g.bounds.Store(&l)
	g.users.set(l.UserRate, l.UserBurst, l.Remembered)
	g.addresses.set(l.AddressRate, l.AddressBurst, l.Remembered)
	g.connects.set(l)
	g.slots.set(l)
	g.backlogs.set(l)
	g.replays.max.Store(int64(l.NodeReplays))
	g.streams.windows.max.Store(int64(l.NodeReplayBytes))
	g.pages.setMax(bound(l.PageBytes))
	g.results.setMax(bound(l.ResultBytes))
	g.directories.SetMax(l.SearchEntries, l.SearchPools)
}

// bound returns a limit as a number that nothing exceeds if there is no limit.
func bound(limit int) int {
	if limit < 0 {
		return math.MaxInt
	}
	return limit
}

// within reports whether n is within a limit. A negative limit bounds nothing.
func within(n, limit int) bool { return limit < 0 || n <= limit }
