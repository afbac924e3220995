package engine

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

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

// unfinished are the ways in which a client sends bytes of a message that never ends.
var unfinished = map[string]func(t *testing.T, s *testServer, bytes int){
	"frame": func(t *testing.T, s *testServer, bytes int) {
		s.connect(t, "").raw(frame(0x81, make([]byte, bytes+1))[:bytes])
	},
	"fragments": func(t *testing.T, s *testServer, bytes int) {
		const fragments = 9
		c := s.connect(t, "")
		for i := range fragments {
			op := byte(1)
			if i > 0 {
				op = 0
			}
			c.raw(frame(op, make([]byte, bytes/fragments)))
		}
	},
	"body": func(t *testing.T, s *testServer, bytes int) {
		p := s.openPolling(t)
		conn, err := net.Dial("tcp", s.addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_, target, _ := strings.Cut(p.url, s.addr())
		_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", target, bytes+1,
			make([]byte, bytes))
	},
}

// Fifty clients that never finish a message hold no more than the budget. A client that holds less than they goes on.
func TestUnfinishedMessages(t *testing.T) {
	for name, begin := range unfinished {
		t.Run(name, func(t *testing.T) { unfinishedMessages(t, begin) })
	}
}

func unfinishedMessages(t *testing.T, begin func(t *testing.T, s *testServer, bytes int)) {
	const budget, large = 8 << 20, 900_000
	s := serve(t, nil, Options{MaxInboundBudget: budget}, func(s *socket.Socket) {
		_ = s.On("e", func(args ...any) { args[len(args)-1].(socket.Ack)(nil, nil) })
	})
	srv := s.handler.srv
	honest := s.connect(t, "")
	event := frame(0x81, []byte(`427["e","`+strings.Repeat("x", 300_000)+`"]`))
	honest.raw(event[:len(event)-1])
	for n := range 50 {
		begin(t, s, large)
		wait.Until(t, "all is read, or others are closed", func() bool {
			bytes := int(srv.inbound.sum.Load())
			if bytes > budget+1<<20 { // which may have come this moment
				t.Fatalf("%d bytes are held", bytes)
			}
			return bytes >= min(n+1, 6)*large
		})
	}
	wait.Until(t, "the others are closed", func() bool {
		stats := s.handler.Stats()
		return stats.WebSocket+stats.Polling <= budget/large+1
	})
	honest.raw(event[len(event)-1:])
	honest.expect(`437[]`)
	for _, c := range srv.conns() {
		c.eio.Fail("transport close", errors.New("test ends"))
	}
	wait.Until(t, "nothing is held", func() bool { return srv.inbound.sum.Load() == 0 })
}

// What a message took while it arrived is given back when it has been handled.
func TestFinishedMessages(t *testing.T) {
	s := serve(t, nil, Options{}, func(s *socket.Socket) {
		_ = s.On("e", func(args ...any) { args[len(args)-1].(socket.Ack)(nil, nil) })
	})
	event := `427["e","` + strings.Repeat("x", 300_000) + `"]`
	c := s.connect(t, "")
	for range 3 {
		c.send(event)
		c.expect(`437[]`)
	}
	p := s.openPolling(t)
	p.post(t, "40")
	for answered := 0; answered < 2; {
		answered += strings.Count(p.poll(t), `"sid"`)
		if answered == 1 {
			p.post(t, event)
			answered++
		}
	}
	wait.Until(t, "nothing is held", func() bool { return s.handler.srv.inbound.sum.Load() == 0 })
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
		bytes += c.inbox.unfinished + c.inbox.inflating + c.inbox.receiving
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

// compressed returns a packet in a compressed frame.
func compressed(t *testing.T, packet string) []byte {
	deflated, ok := ws.NewDeflater(1).AppendFrame(nil, ws.Text, []byte(packet))
	if !ok {
		t.Fatal("does not become smaller")
	}
	at := 2
	switch deflated[1] {
	case 126:
		at = 4
	case 127:
		at = 10
	}
	return frame(0xc1, deflated[at:])
}

// busy serves with a handler of "slow" that blocks until release is closed, and one of "quick".
func busy(t *testing.T, o Options) (s *testServer, release chan struct{}) {
	release = make(chan struct{})
	opts := &socket.ServerOptions{}
	opts.SetPerMessageDeflate(&types.PerMessageDeflate{})
	opts.SetPingInterval(time.Hour) // who reads nothing for a while is not closed for that
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
	bomb := compressed(t, `42["slow","`+strings.Repeat("x", 900_000)+`"]`)
	for range 40 {
		c := s.compressing(t)
		for range 3 {
			c.raw(bomb)
		}
		if bytes := s.handler.srv.held(); bytes > budget+1<<20 {
			t.Fatalf("%d bytes are held", bytes)
		}
	}
	for range 10 {
		honest.raw(compressed(t, `427["quick","`+strings.Repeat("y", 50_000)+`"]`))
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
