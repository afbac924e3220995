package eio

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Handshake describes a session before it opens. It is valid only during the call of accept. Copy what you need of
// Request: a part of it that you keep pins the rest in memory.
type Handshake struct {
	ID        string
	Protocol  int    // 3 or 4
	Transport string // Polling or WebSocket
	Request   *http.Request

	release func() // see Config.Admit
}

// Handler is the owner of one session. OnOpen is called once, then OnMessage any number of times, then OnClose once,
// never two of them at the same time. They may call any method of the Conn.
type Handler interface {
	// OnOpen is called when the open packet has been queued. From then on Send works.
	OnOpen(c *Conn)
	// OnMessage is called for every message, in order. It may change the data, which is valid until it returns; if
	// Packet.Own is true the Handler may keep the data. OnMessage may block for minutes, as backpressure: meanwhile
	// nothing is read from the peer, and a missing pong does not count against it.
	OnMessage(c *Conn, m Packet)
	// OnInflate is called before a compressed message is inflated, with the bytes n that it may take; then with the
	// bytes that it has taken; and with 0 when it has been handled. It may block like OnMessage. An error ends the
	// session. Messages of up to 4 KiB are inflated without a call.
	OnInflate(c *Conn, n int) error
	// OnReceive is called before the server holds n more bytes of something unfinished: the frames of a WebSocket
	// message, or the body of a POST. A negative n gives bytes back. It may be called concurrently with the other
	// methods and after OnClose, and must not block. An error ends the session. The first 4 KiB are held without a
	// call.
	OnReceive(c *Conn, n int) error
	// OnClose is called exactly once, after the last OnMessage has returned, and never from within Close. err gives
	// details of reason, and may be nil.
	OnClose(c *Conn, reason string, err error)
}

// State of a session.
type State uint8

// States. The zero Conn is Opening.
const (
	Opening State = iota
	Open
	Closing // Close was called; queued messages are being sent
	Closed
)

func (s State) String() string { return [...]string{"opening", "open", "closing", "closed"}[s&3] }

// Conn is one session. Its owner embeds it by value and returns it, still zero, from accept; after that it must not be
// copied. All methods may be called concurrently and from the Handler's methods. None blocks, except for AwaitRoom.
//
// Lock order: in, mu, then one of the locks of the heartbeat, the flushers, the poller and the Server.
type Conn struct {
	// Static after accept.
	srv      *Server
	handler  Handler
	id       string
	protocol uint8
	release  func() // called once, when the session has closed

	shedding Loss   // which frames are being left out; guarded by mu
	window   uint16 // bytes of a Group's window that the peer has; guarded by mu

	observed atomic.Uint32 // Events
	awaiting atomic.Bool   // a pong is awaited; written with heartbeats.mu held
	state    atomic.Uint32 // State; written with mu held
	beat     beat          // guarded by heartbeats.mu

	// in is held while a packet of the peer is handled.
	in sync.Mutex

	mu       sync.Mutex    // guards what follows
	q        queue         // frames that no transport has taken yet
	queued   int           // bytes in q, and bytes that the WebSocket has taken and not written
	charged  int           // bytes of queued that count in Server.budget
	progress time.Duration // when the peer last read something while much was queued; since the server's epoch
	rooms    *room         // calls of AwaitRoom
	grouped  uint64        // number of the Group's message that ended what window counts; 0 if there is none
	late     time.Duration // when much began to be queued, since the server's epoch; 0 if the peer keeps up
	ws       *wsConn       // the transport; nil if that is polling
	poll     *polling      // nil if the session began as a WebSocket
	probe    *probe        // the WebSocket that may become the transport, or nil
}

// ID returns the session's id. It never changes.
func (c *Conn) ID() string { return c.id }

// Protocol returns the revision of the protocol, 3 or 4. It never changes.
func (c *Conn) Protocol() int { return int(c.protocol) }

// Handler returns the owner, as accept returned it, so that Hooks find it. It never changes.
func (c *Conn) Handler() Handler { return c.handler }

// Transport returns the current transport: Polling or WebSocket.
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

// State returns the state of the session.
func (c *Conn) State() State { return State(c.state.Load()) }

// Observe sets the per-packet hooks for this connection. Those of Server.Observe are called in addition.
func (c *Conn) Observe(e Events) { c.observed.Store(uint32(e)) }

func (c *Conn) observes(e Events) bool { return Events(c.observed.Load()|c.srv.observed.Load())&e != 0 }

// Queued returns the number of queued bytes that the operating system has not taken yet.
func (c *Conn) Queued() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queued
}

// Lagging reports whether the peer is behind but reading. Behind means that more than Config.QueueSoft bytes are
// queued, or more than its share of half of Config.QueueBudget. Reading means that it took something within lagTime
// before now. A sender of much should wait for such a peer, but not for one that has stopped reading, which is not
// Lagging.
func (c *Conn) Lagging(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.laggingLocked(now.Sub(c.srv.epoch))
}

// lagTime is how long a peer counts as reading after it took something. On a busy machine a good client may not read
// for some hundred milliseconds, and a sender that does not wait fills its queue. A client that has stopped reading
// costs senders this time once.
const lagTime = 400 * time.Millisecond

func (c *Conn) laggingLocked(now time.Duration) bool {
	return int64(c.queued) > c.srv.lag.Load() && now-c.progress < lagTime && c.State() == Open
}

// Writable reports whether the transport can take a message now: it is a WebSocket that keeps up, or a poll is waiting.
func (c *Conn) Writable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writableLocked()
}

// volatileQueue is the number of queued bytes from which a WebSocket is not Writable, about the size of one write.
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

// paceStep is how often Pace checks.
const paceStep = 300 * time.Microsecond

// Pace returns when none of conns is Lagging, after limit, or when stop is closed. It reorders conns.
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
