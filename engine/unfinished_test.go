package engine

import (
	"errors"
	"testing"

	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/internal/test/wait"
)

func (u *unfinished) total() (conns, bytes int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.held), u.sum
}

// Fifty clients that never send the last attachment hold no more than the budget: those that hold the most are closed.
func TestUnfinishedPackets(t *testing.T) {
	const budget = 8 << 20
	s := serve(t, nil, Options{MaxUnfinishedBudget: budget}, func(s *socket.Socket) {
		_ = s.On("e", func(args ...any) { args[len(args)-1].(socket.Ack)([]any{len(args)}, nil) })
	})
	honest := s.connect(t, "")
	honest.send(`452-7["e",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`)
	honest.sendBinary(make([]byte, 300<<10)) // waits with the rest, and holds less than they
	large := make([]byte, 900_000)
	srv := s.handler.srv
	for n := range 50 {
		c := s.connect(t, "")
		c.send(`4510-["e"]`)
		for range 4 {
			c.sendBinary(large)
		}
		wait.Until(t, "all is read, or the client closed", func() bool {
			conns, bytes := srv.unfinished.total()
			if bytes > budget {
				t.Fatalf("%d connections hold %d bytes", conns, bytes)
			}
			read := bytes >= min(n+1, 2)*(4*len(large)-maxInbound)
			return read
		})
	}
	wait.Until(t, "the others are closed", func() bool { return s.handler.Stats().WebSocket <= 5 })
	if floods := s.handler.Stats().Floods; floods < 45 {
		t.Errorf("%d clients were closed", floods)
	}
	honest.sendBinary([]byte{1})
	honest.expect(`437[3]`)
	for _, c := range srv.conns() {
		c.eio.Fail("transport close", errors.New("test ends"))
	}
	wait.Until(t, "nothing is held", func() bool {
		conns, bytes := srv.unfinished.total()
		return conns == 0 && bytes == 0
	})
}

// The attachments of one packet count for the limit of a client.
func TestUnfinishedPacketOfOneClient(t *testing.T) {
	s := serve(t, nil, Options{MaxInboundBytes: 1 << 20}, nil)
	c := s.connect(t, "")
	c.send(`4510-["e"]`)
	for range 3 {
		c.sendBinary(make([]byte, 400_000))
	}
	c.expectClosed()
	if floods := s.handler.Stats().Floods; floods != 1 {
		t.Errorf("%d clients were closed", floods)
	}
}
