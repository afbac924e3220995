package handlers

// Limits bound what one client, one user and one address may ask of a node. Rates count the events that clients send,
// whatever they are; zero takes the default and a negative number switches the limit off.
type Limits struct {
	SocketPerSecond float64 // events of one socket; default 100
	SocketBurst     int     // how many at once; default 400

	UserPerSecond float64 // events of one elevated user, over all of the user's sockets on this node; default 200
	UserBurst     int     // default 1000

	AddressPerSecond float64 // events of one client address, over all of its sockets on this node; default 2000
	AddressBurst     int     // default 10000

	// A socket is disconnected for flooding when it has had this many events refused, which are forgiven at
	// SocketPerSecond again. Default 1000; negative never disconnects.
	FloodRefusals int

	RequestsPerSocket int // pool and interpret requests in progress; default 128
	RequestsPerNode   int // the same, all sockets together; default 8192. A quarter is for sockets that are not elevated

	RequestsPerAddress int // the same, all sockets of an address that are not elevated; default 256
	RequestsPerUser    int // the same, all sockets of an elevated user; default 512

	PayloadBytes int // of the payload of an event with its attachments; default 262144
	IDsPerPool   int // ids in one pool request; default 10000
	ContentRunes int // characters of an interpret message; default 4000

	// Names that are held for search, of about 300 bytes each, and pools that they are of. Beyond these the pool that
	// was searched longest ago is dropped, and of a single pool that is larger only a part is found. Defaults 1000000
	// and 1000.
	SearchEntries, SearchPools int

	// How many users and how many addresses are remembered. When more than these are active at once the longest unseen
	// are forgotten and start with a full burst again. Default 65536.
	Remembered int
}

// limit is v with its default; negative means no limit.
func limit[N int | float64](v, otherwise N) N {
	if v == 0 {
		return otherwise
	}
	return v
}

func (l Limits) withDefaults() Limits {
	l.SocketPerSecond, l.SocketBurst = limit(l.SocketPerSecond, 100), limit(l.SocketBurst, 400)
	l.UserPerSecond, l.UserBurst = limit(l.UserPerSecond, 200), limit(l.UserBurst, 1000)
	l.AddressPerSecond, l.AddressBurst = limit(l.AddressPerSecond, 2000), limit(l.AddressBurst, 10000)
	l.FloodRefusals = limit(l.FloodRefusals, 1000)
	l.RequestsPerSocket, l.RequestsPerNode = limit(l.RequestsPerSocket, 128), limit(l.RequestsPerNode, 8192)
	l.RequestsPerAddress, l.RequestsPerUser = limit(l.RequestsPerAddress, 256), limit(l.RequestsPerUser, 512)
	l.PayloadBytes, l.IDsPerPool = limit(l.PayloadBytes, 256<<10), limit(l.IDsPerPool, 10000)
	l.ContentRunes = limit(l.ContentRunes, 4000)
	l.SearchEntries, l.SearchPools = limit(l.SearchEntries, 1_000_000), limit(l.SearchPools, 1000)
	l.Remembered = max(limit(l.Remembered, 65536), 2)
	return l
}

// within tells whether n is not over a limit; a negative limit bounds nothing.
func within(n, limit int) bool { return limit < 0 || n <= limit }
