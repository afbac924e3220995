package handlers

import "cmp"

// Limits bound what one client, one user and one address may ask of a node. Rates count the events that clients send,
// whatever they are; zero takes the default and a negative number switches the limit off.
type Limits struct {
	SocketRate  float64 // events of one socket; default 100
	SocketBurst int     // how many at once; default 400

	UserRate  float64 // events of one elevated user, over all of the user's sockets on this node; default 200
	UserBurst int     // default 1000

	AddressRate  float64 // events of one client address, over all of its sockets on this node; default 2000
	AddressBurst int     // default 10000

	// A socket is disconnected for flooding when it has had this many events refused, which are forgiven at
	// SocketRate again. Default 1000; negative never disconnects.
	Flood int

	SocketRequests int // pool and interpret requests in progress; default 128
	NodeRequests   int // the same, all sockets together; default 8192. A quarter is for sockets that are not elevated

	AddressRequests int // the same, all sockets of an address that are not elevated; default 256
	UserRequests    int // the same, all sockets of an elevated user; default 512

	Payload int // of the payload of an event with its attachments; default 262144
	PoolIDs int // ids in one pool request; default 10000
	Content int // characters of an interpret message; default 4000

	// Names that are held for search, of about 300 bytes each, and pools that they are of. Beyond these the pool that
	// was searched longest ago is dropped, and of a single pool that is larger only a part is found. Defaults 1000000
	// and 1000.
	SearchEntries, SearchPools int

	// How many users and how many addresses are remembered. When more than these are active at once the longest unseen
	// are forgotten and start with a full burst again. Default 65536.
	Remembered int
}

// DefaultLimits returns the defaults.
func DefaultLimits() Limits {
	return Limits{
		SocketRate: 100, SocketBurst: 400, UserRate: 200, UserBurst: 1000, AddressRate: 2000, AddressBurst: 10000,
		Flood:          1000,
		SocketRequests: 128, NodeRequests: 8192, AddressRequests: 256, UserRequests: 512,
		Payload: 256 << 10, PoolIDs: 10000, Content: 4000,
		SearchEntries: 1_000_000, SearchPools: 1000, Remembered: 65536,
	}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	l.SocketRate, l.SocketBurst = cmp.Or(l.SocketRate, d.SocketRate), cmp.Or(l.SocketBurst, d.SocketBurst)
	l.UserRate, l.UserBurst = cmp.Or(l.UserRate, d.UserRate), cmp.Or(l.UserBurst, d.UserBurst)
	l.AddressRate, l.AddressBurst = cmp.Or(l.AddressRate, d.AddressRate), cmp.Or(l.AddressBurst, d.AddressBurst)
	l.Flood = cmp.Or(l.Flood, d.Flood)
	l.SocketRequests, l.NodeRequests = cmp.Or(l.SocketRequests, d.SocketRequests), cmp.Or(l.NodeRequests, d.NodeRequests)
	l.AddressRequests, l.UserRequests = cmp.Or(l.AddressRequests, d.AddressRequests), cmp.Or(l.UserRequests, d.UserRequests)
	l.Payload, l.PoolIDs, l.Content = cmp.Or(l.Payload, d.Payload), cmp.Or(l.PoolIDs, d.PoolIDs), cmp.Or(l.Content, d.Content)
	l.SearchEntries, l.SearchPools = cmp.Or(l.SearchEntries, d.SearchEntries), cmp.Or(l.SearchPools, d.SearchPools)
	l.Remembered = max(cmp.Or(l.Remembered, d.Remembered), 2)
	return l
}

// within tells whether n is not over a limit; a negative limit bounds nothing.
func within(n, limit int) bool { return limit < 0 || n <= limit }
