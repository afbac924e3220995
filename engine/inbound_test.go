package engine

import (
	"errors"
	"strings"
	"testing"

	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/engine/internal/ws"
	"github.com/architus/guildcast/internal/test/wait"
)

// Fifty clients that never send the last attachment hold no more than the budget: those that hold the most are closed.
func TestUnfinishedPackets(t *testing.T) {
	const budget = 8 << 20
	s := serve(t, nil, Options{MaxInboundBudget: budget}, func(s *socket.Socket) {
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
			bytes := int(srv.inbound.sum.Load())
			if bytes > budget+len(large) { // which may have come this moment
				t.Fatalf("%d bytes are held", bytes)
			}
			return bytes >= min(n+1, 2)*(4*len(large)-maxInbound)
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
	wait.Until(t, "nothing is held", func() bool { return srv.inbound.sum.Load() == 0 })
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

// held is what the inboxes hold, counted anew.
func (s *server) held() (bytes int) {
	for _, c := range s.conns() {
		c.inbox.mu.Lock()
		if !c.inbox.broken {
			bytes += c.inbox.queued - c.inbox.taken
		}
		bytes += c.inbox.unfinished + c.inbox.inflating
		c.inbox.mu.Unlock()
	}
	return bytes
}

// compressing is connect with permessage-deflate.
func (s *testServer) compressing(t *testing.T) *wire {
	w := s.webSocket(t, "EIO=4", "Sec-WebSocket-Extensions: permessage-deflate\r\n")
	w.expectPrefix("0{")
	w.send("40")
	w.expectPrefix(`40{"sid":"`)
	return w
}

// sendCompressed sends a packet in a compressed frame.
func (w *wire) sendCompressed(packet string) {
	frame, ok := ws.NewDeflater(9).AppendFrame(nil, ws.Text, []byte(packet))
	if !ok {
		w.t.Fatal("does not become smaller")
	}
	at := 2
	switch frame[1] {
	case 126:
		at = 4
	case 127:
		at = 10
	}
	w.frame(0x41, frame[at:])
}

// busy serves with a handler of "slow" that blocks until release is closed, and one of "quick".
func busy(t *testing.T, o Options) (s *testServer, release chan struct{}) {
	release = make(chan struct{})
	opts := &socket.ServerOptions{}
	opts.SetPerMessageDeflate(&types.PerMessageDeflate{})
	s = serve(t, opts, o, func(s *socket.Socket) {
		_ = s.On("slow", func(...any) { <-release })
		_ = s.On("quick", func(args ...any) { args[len(args)-1].(socket.Ack)(nil, nil) })
	})
	return s, release
}

// Small frames that become large messages take no more than the budget, whatever the handlers do, and honest clients go
// on.
func TestInflationIsBounded(t *testing.T) {
	const budget = 8 << 20
	s, release := busy(t, Options{MaxInboundBudget: budget})
	honest := s.compressing(t)
	bomb := `42["slow","` + strings.Repeat("x", 900_000) + `"]`
	for range 40 {
		c := s.compressing(t)
		for range 3 {
			c.sendCompressed(bomb)
		}
		if bytes := s.handler.srv.held(); bytes > budget+1<<20 {
			t.Fatalf("%d bytes are held", bytes)
		}
	}
	for range 10 {
		honest.sendCompressed(`427["quick","` + strings.Repeat("y", 50_000) + `"]`)
		honest.expect(`437[]`)
		if bytes := s.handler.srv.held(); bytes > budget+1<<20 {
			t.Fatalf("%d bytes are held", bytes)
		}
	}
	close(release)
	wait.Until(t, "all is handled", func() bool { return s.handler.srv.held() == 0 })
	if sum := s.handler.srv.inbound.sum.Load(); sum != 0 {
		t.Errorf("%d bytes count that nobody holds", sum)
	}
}

// Complete packets that wait for handlers count for the budget, too. Clients below it are not closed: they are not
// read.
func TestInboxesAreBounded(t *testing.T) {
	const budget = 8 << 20
	s, release := busy(t, Options{MaxInboundBudget: budget})
	honest := s.connect(t, "")
	large := `42["slow","` + strings.Repeat("x", 100_000) + `"]`
	var clients []*wire
	for range 30 {
		c := s.connect(t, "")
		clients = append(clients, c)
		go c.send(large, large, large, `427["quick"]`) // 9 MB together
	}
	wait.Until(t, "the budget is scarce", func() bool {
		bytes := s.handler.srv.held()
		if bytes > budget+len(large) {
			t.Fatalf("%d bytes are held", bytes)
		}
		return bytes > budget/2
	})
	honest.send(`427["quick"]`)
	honest.expect(`437[]`)
	close(release)
	for _, c := range clients {
		c.expectPrefix("437")
	}
}
