package engine

import (
	"errors"
	"sync"

	"github.com/architus/guildcast/engine/internal/eio"
)

// ErrAttachments closes a client whose unfinished packet holds too much: it waits for attachments while those that have
// come fill Options.MaxInboundBytes, or it holds the most when Options.MaxUnfinishedBudget is spent.
var ErrAttachments = errors.New("too much waits for the last attachment of a packet")

// unfinished counts what packets that wait for attachments hold, beyond the maxInbound bytes that every connection may.
type unfinished struct {
	mu   sync.Mutex
	held map[*Conn]int // bytes beyond maxInbound. Guarded by mu, as all below.
	sum  int           // of held
}

// hold notes that the unfinished packet of c has n bytes now, 0 if it is finished. While the sum is over budget it
// gives up the connections that hold the most, and returns them.
func (u *unfinished) hold(c *Conn, n, budget int) (victims []*Conn) {
	n = max(0, n-maxInbound)
	u.mu.Lock()
	defer u.mu.Unlock()
	if c.asm.ended {
		return nil
	}
	u.sum += n - u.held[c]
	if n == 0 {
		delete(u.held, c)
		return nil
	}
	if u.held == nil {
		u.held = map[*Conn]int{}
	}
	u.held[c] = n
	for u.sum > budget {
		var most *Conn
		for other, n := range u.held {
			if most == nil || n > u.held[most] {
				most = other
			}
		}
		u.endLocked(most)
		victims = append(victims, most)
	}
	return victims
}

// end drops the unfinished packet of a connection that is closed, and takes no other of it.
func (u *unfinished) end(c *Conn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.endLocked(c)
}

func (u *unfinished) endLocked(c *Conn) {
	c.asm.ended = true
	c.asm.pending.Store(nil)
	u.sum -= u.held[c]
	delete(u.held, c)
}

// holdUnfinished counts what the connection's unfinished packet holds. It runs on the reader.
func (c *Conn) holdUnfinished() {
	n := 0
	if p := c.asm.pending.Load(); p != nil {
		n = p.size
	}
	if n > 0 && n+c.inbox.size() > c.srv.options.MaxInboundBytes {
		c.flood(ErrAttachments)
		return
	}
	for _, victim := range c.srv.unfinished.hold(c, n, c.srv.options.MaxUnfinishedBudget) {
		victim.flood(ErrAttachments)
	}
}

// flood closes a connection whose client has sent too much that waits. Nothing of it is handled any more.
func (c *Conn) flood(err error) {
	c.srv.unfinished.end(c)
	c.srv.floods.Add(1)
	c.srv.log.Warn("client floods", "remote", c.shake.remote, "err", err)
	c.inbox.abort()
	c.eio.Fail(eio.ReasonTransportError, err)
}

// size returns the bytes that are queued.
func (i *inbox) size() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.queued
}
