package eio

import (
	"net"
	"time"
)

// peerState is what the kernel knows about a peer.
type peerState struct {
	taken  taken
	unsent int  // bytes that the peer's system has not acknowledged
	gone   bool // its system does not answer
}

// taken is a value that changes when the peer reads something. The acknowledged bytes alone do not suffice: if the
// peer's system has received everything and its program reads, only the window moves. Writability says even less: the
// connection is writable again only after a third of the kernel's buffer, which grows to megabytes, has been taken.
type taken struct {
	acked  uint64
	window uint32
	unsent int // for a Unix socket, of which nothing else is known
}

// stallWatch measures how long a peer has read nothing while data waited for it. It begins with the first call of
// renew.
type stallWatch struct {
	srv   *Server
	last  taken         // zero: not asked yet
	since time.Duration // when the peer last took something; since the server's epoch
}

// renew records that the peer has read something.
func (s *stallWatch) renew() { s.since = s.srv.now() }

// over reports whether the peer has read nothing for too long: for Config.StallTimeout if its system does not answer or
// memory is short, and for Config.UnreadTimeout otherwise. A system that answers may hide for long that its program
// reads: it asks for more only once a sixteenth of its buffer, and at least a segment, is free.
func (s *stallWatch) over(nc net.Conn) bool {
	peer := peerOf(nc)
	if peer.taken != s.last {
		s.last = peer.taken
		s.renew()
		return false
	}
	limit := s.srv.cfg.UnreadTimeout
	if peer.gone || s.srv.budget.Load() > int64(s.srv.cfg.QueueBudget/2) {
		limit = min(limit, s.srv.cfg.StallTimeout)
	}
	return s.srv.now()-s.since >= limit
}

// step returns how often to call over.
func (s *stallWatch) step() time.Duration {
	return max(min(s.srv.cfg.StallTimeout, s.srv.cfg.UnreadTimeout)/8, time.Millisecond)
}
