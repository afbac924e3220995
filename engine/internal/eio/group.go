package eio

import (
	"sync"
	"sync/atomic"

	"github.com/architus/guildcast/engine/internal/ws"
)

const (
	// groupWindow is the size in bytes of the window that a Group's messages refer to. A peer keeps 32 KiB. Less finds
	// nearly as much, is searched sooner, and a peer that has missed something has it sooner again.
	groupWindow = 8 << 10
	// groupLevel is the level at which a Group compresses.
	groupLevel = 5
	// groupBreak is the size in bytes from which a message that is not a Group's is compressed for a peer that has a
	// Group's window. The peer loses that window by it, and is sent some groupWindow with little compression until it
	// has it again.
	groupBreak = groupWindow
)

// Group is one deflate context (RFC 7692, 7.2) for all connections that are sent the same messages. A peer's window
// holds what the compressed messages of its connection inflated to, and nothing else. So a message may be compressed
// once, with references to what came before it, for all peers whose last compressed messages are those of the group.
// The others are sent the message compressed alone, which brings it into their windows just as well, until these hold
// as much as the group's.
//
// The zero value is ready to use. All methods may be called concurrently.
type Group struct {
	mu     sync.Mutex
	latest uint64 // number of the latest message, or the number before the first
	window []byte // the end of what the messages were, at most groupWindow
}

// shared is what a frame of a Group has beside the message itself.
type shared struct {
	before, number uint64 // of the group's message before this one, and of this one
	window         int    // bytes before the message to which full may refer
	full           *Frame // for a peer that has the window
	alone          *Frame // for one that has not
}

var (
	groupNumbers  atomic.Uint64 // numbers the messages of all groups
	groupDeflater = ws.NewDeflater(groupLevel)
)

// Share makes f the group's next message and returns it as a frame to send in place of f. A peer that can't take part
// is sent f. A frame that is binary or is not compressed is returned as it is: the peers' windows stay as they are.
//
// Messages should be queued on a connection in the order of the calls of Share. If they are not, they are compressed
// less.
func (g *Group) Share(f *Frame) *Frame {
	if f.binary || f.plain {
		return f
	}
	p := f.wire[f.payload:]
	g.mu.Lock()
	defer g.mu.Unlock()
	full, ok := groupDeflater.AppendFrameAfter(make([]byte, 0, ws.MaxHeader+len(p)/2), ws.Text, p, g.window)
	if !ok {
		return f
	}
	if g.latest == 0 {
		g.latest = groupNumbers.Add(1) // no connection has it
	}
	s := &shared{
		before: g.latest, number: groupNumbers.Add(1), window: len(g.window),
		full: &Frame{wire: full, plain: true}, alone: f.variant(),
	}
	s.alone.inflating = true
	g.latest = s.number
	g.appendLocked(p)
	f = f.variant()
	f.shared = s
	return f
}

// appendLocked appends p to the window.
func (g *Group) appendLocked(p []byte) {
	if g.window == nil {
		g.window = make([]byte, 0, groupWindow)
	}
	if over := len(g.window) + len(p) - groupWindow; over > 0 {
		g.window = append(g.window[:0], g.window[min(over, len(g.window)):]...)
	}
	g.window = append(g.window, p[max(0, len(p)-groupWindow):]...)
}

// Shares reports whether the connection can take part in a Group.
func (c *Conn) Shares() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sharesLocked()
}

func (c *Conn) sharesLocked() bool { return c.ws != nil && c.ws.shares }

// formLocked returns the form in which f is queued for a peer that can take part in a Group, and records what the
// peer's window will hold. What a polling session has queued is written before, and may be compressed.
func (c *Conn) formLocked(f *Frame) *Frame {
	size := len(f.wire) - int(f.payload)
	s := f.shared
	switch {
	case s != nil && c.grouped == s.before && int(c.window) >= s.window:
		f = s.full
	case s != nil:
		if c.grouped != s.before {
			c.window = 0
		}
		f = s.alone
	case f.plain || size < c.ws.compress.threshold: // it is not compressed, and leaves the window as it is
		return f
	case c.grouped != 0 && size < groupBreak:
		return f.bare()
	default:
		c.grouped = 0
		return f
	}
	c.grouped = s.number
	c.window = uint16(min(int(c.window)+size, groupWindow))
	return f
}
