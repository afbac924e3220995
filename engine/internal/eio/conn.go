package eio

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Handshake is what is known of a session before it opens. It is valid during the call of accept only: what is kept of
// Request stays in memory as long as it is kept.
type Handshake struct {
	ID        string
	Protocol  int    // 3 or 4
	Transport string // Polling or WebSocket
	Request   *http.Request

	release func() // see Config.Admit
}

// Handler is the owner of one session. OnOpen, then OnMessage any number of times, then OnClose are called one after
// the other, never at the same time. They may call any method of the Conn.
type Handler interface {
	// OnOpen is called once, when the open packet has been queued and Send works.
	OnOpen(c *Conn)
	// OnMessage is called for every message, in order. Its data is valid until OnMessage returns, and may be changed;
	// with Packet.Own it belongs to the Handler. OnMessage may block for minutes, for backpressure: meanwhile nothing
	// is read from the peer, and the heartbeat does not count the time against it (its pong cannot be seen).
	OnMessage(c *Conn, m Packet)
	// OnInflate is called before a compressed message is inflated, which may take n bytes, then with the bytes that it
	// has taken, and with 0 when it has been handled. It may block like OnMessage. An error ends the session. Messages
	// of up to 4 KiB are inflated without a call.
	OnInflate(c *Conn, n int) error
	// OnReceive is called before n more bytes are held of what the peer has not finished: the frames of a WebSocket
	// message, the body of a POST. A negative n gives bytes back. It may be called beside all other methods and after
	// OnClose, and must not block. An error ends the session. The first 4 KiB are held without a call.
	OnReceive(c *Conn, n int) error
	// OnClose is called exactly once, after the last OnMessage has returned, on a goroutine of its own (never inside of
	// Close). err says more if there is more to say; it may be nil.
	OnClose(c *Conn, reason string, err error)
}

// State of a session.
type State uint8

// States. The zero Conn is Opening.
const (
	Opening State = iota
	Open
	Closing // Close was called, queued messages are being sent
	Closed
)

func (s State) String() string { return [...]string{"opening", "open", "closing", "closed"}[s&3] }

// Conn is one session. It is made to be embedded by value in its owner: the zero value is ready to be returned by
// accept, after which it must not be copied. All methods may be called concurrently, from inside of the Handler's
// methods too, and none blocks.
//
// Lock order: in, mu, then the locks of the heartbeat, the flushers, the poller and the Server, of which none is held
// together with another.
type Conn struct {
	// Static after accept.
	srv      *Server
	handler  Handler
	id       string
	protocol uint8
	release  func() // called once, when the session has closed

	shedding Loss // what is being left out; guarded by mu

	observed atomic.Uint32 // Events
	awaiting atomic.Bool   // a pong; written with heartbeats.mu held
	state    atomic.Uint32 // State; written with mu held
	beat     beat          // guarded by heartbeats.mu

	// in is held while packets of the peer are handled.
	in sync.Mutex

	mu       sync.Mutex    // guards what follows
	q        queue         // what no transport has taken yet
	queued   int           // bytes in q, and in what the WebSocket has taken and not yet written
	charged  int           // what of them counts in Server.budget
	progress time.Duration // when the peer last took something while much was queued; since the server's epoch
	rooms    *room         // who waits for the queue to become shorter
	late     time.Duration // since when much is queued; since the server's epoch; 0: the peer keeps up
	ws       *wsConn       // the transport; nil: polling
	poll     *polling      // nil if the session began as a WebSocket
	probe    *probe        // the WebSocket that wants to become the transport
}

// ID of the session. Constant.
func (c *Conn) ID() string { return c.id }

// Protocol is the revision, 3 or 4. Constant.
func (c *Conn) Protocol() int { return int(c.protocol) }

// Handler is the owner, as accept returned it (so that Hooks find it). Constant.
func (c *Conn) Handler() Handler { return c.handler }

// Transport is the current transport: Polling or WebSocket.
func (c *Conn) Transport() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ws != nil {
		return WebSocket
	}
	return Polling
}

// Upgrading reports whether a WebSocket is about to replace polling.
func (c *Conn) Upgrading() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.probe != nil
}

// State of the session.
func (c *Conn) State() State { return State(c.state.Load()) }

// Observe sets the per-packet hooks that are called for this connection, beside those of Server.Observe.
func (c *Conn) Observe(e Events) { c.observed.Store(uint32(e)) }

func (c *Conn) observes(e Events) bool { return Events(c.observed.Load()|c.srv.observed.Load())&e != 0 }

// Queued is the number of bytes that are queued and not yet taken by the operating system.
func (c *Conn) Queued() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queued
}

// Lagging reports whether the peer is behind (more than Config.QueueSoft queued, or its share of half of
// Config.QueueBudget) but reading (it took something in the lagTime before now): who sends a lot should wait for such a
// peer. A peer that has stopped reading is not Lagging.
func (c *Conn) Lagging(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.laggingLocked(now.Sub(c.srv.epoch))
}

// lagTime is how long ago a peer may have taken something to count as reading. On a busy machine a good client may not
// get to read for some hundred milliseconds; who does not wait for it then fills its queue. One that has stopped costs
// senders this time once.
const lagTime = 400 * time.Millisecond

func (c *Conn) laggingLocked(now time.Duration) bool {
	return int64(c.queued) > c.srv.lag.Load() && now-c.progress < lagTime && c.State() == Open
}

// Writable reports whether the transport can take a message now: a WebSocket that keeps up, a poll that waits.
func (c *Conn) Writable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writableLocked()
}

// volatileQueue is the number of queued bytes from which a WebSocket is not Writable: about what one write takes.
const volatileQueue = 64 << 10

func (c *Conn) writableLocked() bool {
	switch {
	case c.State() != Open:
		return false
	case c.ws != nil:
		return !c.ws.blocked && c.queued < volatileQueue
	default:
		return c.poll.waiter != nil
	}
}

// paceStep is how often Pace looks.
const paceStep = 300 * time.Microsecond

// Pace waits until none of conns is Lagging, at most for limit and until stop is closed. It reorders conns.
func Pace(conns []*Conn, limit time.Duration, stop <-chan struct{}) {
	deadline := time.Now().Add(limit)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var now time.Time
		select {
		case now = <-timer.C:
		case <-stop:
			return
		}
		n := 0
		for _, c := range conns {
			if c.Lagging(now) {
				conns[n] = c
				n++
			}
		}
		if conns = conns[:n]; n == 0 || !now.Before(deadline) {
			return
		}
		timer.Reset(paceStep)
	}
}
