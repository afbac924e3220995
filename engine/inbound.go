package engine

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/architus/guildcast/engine/internal/eio"
)

// ErrAttachments reports that the attachments of an unfinished packet fill Options.MaxInboundBytes. It closes the
// client.
var ErrAttachments = errors.New("too much waits for the last attachment of a packet")

// ErrInbound reports that Options.MaxInboundBudget is spent, and that this client holds the most of it. It closes the
// client.
var ErrInbound = errors.New("too much that clients have sent waits, and most of it is of this one")

// inbound counts the bytes that clients have sent and no handler has taken: packets in inboxes, packets that wait for
// attachments, and messages that are arriving or being inflated. Each inbox counts in steps, so small packets cost
// nothing.
type inbound struct {
	budget int64
	sum    atomic.Int64 // of inbox.counted

	closing sync.Mutex // held while relieve chooses the clients to close
}

// inboundStep is the number of bytes that a client may hold without being counted.
const inboundStep = 4 << 10

// Timing of messages that wait to be inflated.
const (
	inflateRecheck = 5 * time.Millisecond
	inflateWait    = time.Second // then the clients that hold the most are closed
)

// scarce reports whether to stop reading from clients that have packets waiting. It leaves half of the budget for what
// is on its way to an inbox.
func (b *inbound) scarce() bool { return b.sum.Load() > b.budget/2 }

// countLocked updates the sum with what the inbox holds now.
func (i *inbox) countLocked() {
	n := (i.queued - i.taken + i.unfinished + i.inflating + i.receiving) / inboundStep * inboundStep
	if i.broken { // a handler that is about to take a packet drops it
		n = 0
	}
	if n != i.counted {
		i.inbound.sum.Add(int64(n - i.counted))
		i.counted = n
	}
}

// took stops counting a packet that its listeners have: from now on Options.MaxDecodingBudget bounds it.
func (i *inbox) took(p *packet) {
	p.body, p.bins = nil, nil
	if p.size < inboundStep {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	p.taken = true
	i.taken += p.size
	i.countLocked()
}

// goneChan returns a channel that is closed when the inbox is broken.
func (i *inbox) goneChan() <-chan struct{} {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.gone == nil {
		i.gone = make(chan struct{})
		if i.broken {
			close(i.gone)
		}
	}
	return i.gone
}

// held returns the bytes that closing the connection would free.
func (i *inbox) held() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.broken {
		return 0
	}
	return i.counted
}

// relieve closes the clients that hold the most, until there is room for need bytes.
func (s *server) relieve(need int) {
	for _, c := range s.victims(int64(need)) {
		c.flood(ErrInbound)
	}
}

// victims chooses the clients that hold the most, drops what they have sent until there is room for need bytes, and
// returns them.
func (s *server) victims(need int64) (list []*Conn) {
	b := &s.inbound
	b.closing.Lock()
	defer b.closing.Unlock()
	if b.sum.Load()+need <= b.budget {
		return nil
	}
	type holder struct {
		conn  *Conn
		bytes int
	}
	var holders []holder
	for _, c := range s.conns() {
		if n := c.inbox.held(); n > 0 {
			holders = append(holders, holder{c, n})
		}
	}
	slices.SortFunc(holders, func(x, y holder) int { return y.bytes - x.bytes })
	for _, h := range holders {
		if b.sum.Load()+need <= b.budget {
			break
		}
		h.conn.discard()
		list = append(list, h.conn)
	}
	return list
}

// discard drops everything that the client has sent, and accepts no more.
func (c *Conn) discard() {
	c.inbox.abort()
	c.asm.pending.Store(nil)
}

// holdUnfinished counts the bytes of the connection's unfinished packet. It runs on the reader.
func (c *Conn) holdUnfinished() {
	if !c.inbox.holdUnfinished(&c.asm, c.srv.options.MaxInboundBytes) {
		c.flood(ErrAttachments)
	}
}

// holdUnfinished counts the bytes of the pending packet, and reports whether the inbox holds at most limit bytes with
// them.
func (i *inbox) holdUnfinished(a *assembler, limit int) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed || i.broken {
		a.pending.Store(nil)
		return true
	}
	i.unfinished, i.inflating = 0, 0
	if p := a.pending.Load(); p != nil {
		i.unfinished = p.size
	}
	i.countLocked()
	return i.unfinished == 0 || i.queued+i.unfinished <= limit
}

// OnReceive implements eio.Handler. If the budget is spent it closes the clients that hold the most.
func (s *session) OnReceive(_ *eio.Conn, n int) error {
	c := s.conn()
	if !c.inbox.receive(n) {
		return errGone
	}
	if n > 0 {
		c.relieve()
	}
	if !c.inbox.receive(0) {
		return errGone
	}
	return nil
}

// receive counts n more bytes that are arriving, and reports whether the inbox still takes them.
func (i *inbox) receive(n int) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed || i.broken {
		return false
	}
	i.receiving += n
	i.countLocked()
	return true
}

// OnInflate implements eio.Handler. It waits until there is room for n bytes.
func (s *session) OnInflate(_ *eio.Conn, n int) error {
	c := s.conn()
	if ok, err := c.inbox.inflate(n); ok || err != nil {
		return err
	}
	begin := time.Now()
	again := time.NewTicker(inflateRecheck)
	defer again.Stop()
	for c.eio.State() != eio.Closed {
		<-again.C
		if ok, err := c.inbox.inflate(n); ok || err != nil {
			return err
		}
		if time.Since(begin) > inflateWait {
			c.srv.relieve(n)
		}
	}
	return errGone
}

// errGone ends the reading from a closed connection.
var errGone = errors.New("the connection is closed")

// inflate counts n bytes for the message that is being inflated, and reports whether there is room for them.
func (i *inbox) inflate(n int) (ok bool, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed || i.broken {
		return false, errGone
	}
	n = int(min(int64(n), i.inbound.budget)) // more than the budget would wait for ever
	before := i.inflating
	i.inflating = n
	i.countLocked()
	if n > before && i.inbound.sum.Load() > i.inbound.budget {
		i.inflating = before
		i.countLocked()
		return false, nil
	}
	return true, nil
}

// flood closes a connection whose client has too much waiting, and drops all of it.
func (c *Conn) flood(err error) {
	c.discard()
	c.srv.floods.Add(1)
	c.srv.log.Warn("client floods", "remote", c.shake.remote, "err", err)
	c.eio.Fail(eio.ReasonTransportError, err)
}
