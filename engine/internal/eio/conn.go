package eio

import (
	"net/http"
	"time"
)

// Handshake is what is known of a session before it opens. It is valid during the call of accept only: what is kept of
// Request stays in memory as long as it is kept.
type Handshake struct {
	ID        string
	Protocol  int    // 3 or 4
	Transport string // Polling or WebSocket
	Request   *http.Request
}

// Handler is the owner of one session. OnOpen, then OnMessage any number of times, then OnClose are called one after
// the other, never at the same time. They may call any method of the Conn.
type Handler interface {
	// OnOpen is called once, when the open packet has been queued and Send works.
	OnOpen(c *Conn)
	// OnMessage is called for every message, in order. data belongs to the caller again when it returns. While it
	// blocks, nothing is read from the peer, and the heartbeat does not count that time against the peer (its pong
	// cannot be seen): the owner blocks for backpressure and may do so for minutes.
	OnMessage(c *Conn, binary bool, data []byte)
	// OnClose is called exactly once, after the last OnMessage has returned, on a goroutine of its own (never inside
	// of Close). err says more where there is more to say; it may be nil.
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

// SendStatus is the result of a Send.
type SendStatus uint8

// Results of a Send.
const (
	Dropped SendStatus = iota // closed, or volatile and not writable: nothing was queued
	Queued                    // will be sent
	Lagging                   // will be sent; the connection has more than Config.QueueSoft queued: see Pace
)

// Conn is one session. It is made to be embedded by value in its owner: the zero value is ready to be returned by
// accept, after which it must not be copied. All methods may be called concurrently, from inside of the Handler's
// methods too, and none blocks.
type Conn struct {
	_ [0]func() // not comparable, not copied by accident
}

// ID of the session. Constant.
func (c *Conn) ID() string { return "" }

// Protocol is the revision, 3 or 4. Constant.
func (c *Conn) Protocol() int { return 0 }

// Handler is the owner, as accept returned it (so that Hooks find it). Constant.
func (c *Conn) Handler() Handler { return nil }

// Transport is the current transport: Polling or WebSocket.
func (c *Conn) Transport() string { return "" }

// State of the session.
func (c *Conn) State() State { return 0 }

// Send queues frames, in order and with nothing between them. A queue that would grow over Config.QueueHard ends the
// session with ErrSlowConsumer.
func (c *Conn) Send(frames ...*Frame) SendStatus { return Dropped }

// SendVolatile is Send for messages that are of no use later: they are dropped, all together, unless Writable.
func (c *Conn) SendVolatile(frames ...*Frame) SendStatus { return Dropped }

// Writable tells whether the transport can take a message now: a WebSocket that keeps up, a poll that waits.
func (c *Conn) Writable() bool { return false }

// Queued is the number of bytes that are queued and not yet taken by the operating system.
func (c *Conn) Queued() int { return 0 }

// Lagging tells whether the peer is behind (more than Config.QueueSoft queued) but reading (it took something in the
// 200 ms before now): who sends a lot should wait for such a peer. A peer that has stopped reading is not Lagging.
func (c *Conn) Lagging(now time.Time) bool { return false }

// Close ends the session with ReasonForcedClose. Unless discard is set, what is queued is sent first. It does not wait:
// OnClose tells the end.
func (c *Conn) Close(discard bool) {}

// Fail ends the session at once with a reason and an error of the owner's choice, such as ReasonParseError.
func (c *Conn) Fail(reason string, err error) {}

// Observe sets the per-packet hooks that are called for this connection, beside those of Server.Observe.
func (c *Conn) Observe(e Events) {}

// Pace waits until none of conns is Lagging, at most for limit. It reorders conns.
func Pace(conns []*Conn, limit time.Duration) {}
