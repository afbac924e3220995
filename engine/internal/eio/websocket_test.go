package eio

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/architus/guildcast/engine/internal/ws"
)

func TestWebSocketOpens(t *testing.T) {
	overDrivers(t, func(t *testing.T, d driver) {
		f := newFixture(t, d, Config{})
		p := f.dial("EIO=4&transport=websocket")
		got := p.expectOpen()
		if got.SID == "" || len(got.Upgrades) != 0 || got.PingInterval != 25000 || got.PingTimeout != 20000 ||
			got.MaxPayload != 1000000 {
			t.Errorf("open packet %+v", got)
		}
		o := f.owner()
		if o.ID() != got.SID || o.Protocol() != 4 || o.Transport() != WebSocket || o.State() != Open ||
			o.Handler() != Handler(o) {
			t.Errorf("session %q %d %s %s", o.ID(), o.Protocol(), o.Transport(), o.State())
		}
		if (o.ws.poller != nil) != (d.name == "poller" && len(f.eio.pollers) > 0) {
			t.Error("the poller is not used, or where it must not be")
		}
	})
}

// The answer to the opening handshake goes out without the open packet behind it.
func TestAnswerGoesOutAlone(t *testing.T) {
	f := newFixture(t, plain, Config{})
	_, o := f.openWS()
	answer := rawFrame([]byte("HTTP/1.1 101 Switching Protocols\r\n\r\n"))
	open := plainPacket(PacketOpen, "{}")
	w := &wsConn{srv: f.eio, conn: &o.Conn}
	w.out.push(&f.eio.chunks, answer)
	w.out.push(&f.eio.chunks, open)
	for _, want := range []*Frame{answer, open} {
		b := w.fill(make([]byte, 1024))
		if string(b) != string(want.wire) {
			t.Errorf("written together: %q, want %q", b, want.wire)
		}
		w.advance(len(b))
	}
}

func TestWebSocketMessages(t *testing.T) {
	overDrivers(t, func(t *testing.T, d driver) {
		f := newFixture(t, d, Config{}, echoing)
		p, _ := f.openWS()
		p.text("4hello")
		p.expectText("4hello")
		p.binary([]byte{1, 2, 3, 4})
		p.expect(ws.Binary, "\x01\x02\x03\x04")
		p.text("bAQIDBA==")
		p.expect(ws.Binary, "\x01\x02\x03\x04")
		p.text("4")
		p.expectText("4")
		p.text("6") // noop
		p.text("5") // upgrade: nothing to do
		p.text("0") // open: nothing to do
		for _, size := range []int{125, 126, 4096, 16 << 10, 65535, 65536, 999_999} {
			s := "4" + strings.Repeat("é", size/2)
			p.text(s)
			p.expectText(s)
		}
	})
}

// Every byte arrives on its own, and many frames arrive at once.
func TestWebSocketSplitAndJoined(t *testing.T) {
	overDrivers(t, func(t *testing.T, d driver) {
		f := newFixture(t, d, Config{}, echoing)
		p, _ := f.openWS()
		for _, b := range maskedFrame(0x81, []byte("4"+strings.Repeat("x", 200))) {
			p.must(p.raw([]byte{b}))
		}
		p.expectText("4" + strings.Repeat("x", 200))
		var many []byte
		for range 5000 {
			many = append(many, maskedFrame(0x81, []byte("4abcdefgh"))...)
		}
		go p.raw(many)
		for range 5000 {
			p.expectText("4abcdefgh")
		}
	})
}

func TestWebSocketFragmentsAndControl(t *testing.T) {
	overDrivers(t, func(t *testing.T, d driver) {
		f := newFixture(t, d, Config{}, echoing)
		p, _ := f.openWS()
		p.must(p.raw(maskedFrame(0x01, []byte("4he"))))
		p.must(p.raw(maskedFrame(0x89, []byte("ping"))))
		p.expect(ws.Pong, "ping")
		p.must(p.raw(maskedFrame(0x8a, []byte("unasked"))))
		p.must(p.raw(maskedFrame(0x00, []byte("ll"))))
		p.must(p.raw(maskedFrame(0x80, []byte("o"))))
		p.expectText("4hello")
	})
}

func TestWebSocketPeerBreaksRules(t *testing.T) {
	for _, c := range []struct {
		name  string
		frame []byte
		code  int
		err   error
	}{
		{"unmasked", []byte{0x81, 1, '4'}, ws.CodeProtocol, nil},
		{"reserved bit", maskedFrame(0xc1, []byte("4")), ws.CodeProtocol, nil},
		{"unknown opcode", maskedFrame(0x83, nil), ws.CodeProtocol, nil},
		{"not UTF-8", maskedFrame(0x81, []byte("4\xff")), ws.CodeInvalid, nil},
		{"too large", maskedFrame(0x81, []byte(strings.Repeat("x", 1001))), ws.CodeTooBig, ErrTooLarge},
		{"bad close frame", maskedFrame(0x88, []byte{1}), ws.CodeProtocol, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			overDrivers(t, func(t *testing.T, d driver) {
				f := newFixture(t, d, Config{MaxHTTPBufferSize: 1000})
				p, o := f.openWS()
				p.must(p.raw(append(c.frame, maskedFrame(0x81, []byte("4never"))...)))
				p.expectClose(c.code)
				if err := o.expectClose(ReasonTransportError); err == nil || c.err != nil && !errors.Is(err, c.err) {
					t.Errorf("error %v", err)
				}
				if len(o.messages) > 0 {
					t.Error("message after the breach")
				}
			})
		})
	}
}

func TestWebSocketBadPackets(t *testing.T) {
	for _, c := range []struct{ packet, reason string }{
		{"", ReasonParseError}, {"abc", ReasonParseError}, {"7", ReasonParseError}, {"b!", ReasonParseError},
		{"2", ReasonTransportError}, {"1", ReasonTransportClose},
	} {
		t.Run(c.packet, func(t *testing.T) {
			overDrivers(t, func(t *testing.T, d driver) {
				f := newFixture(t, d, Config{})
				p, o := f.openWS()
				p.text(c.packet)
				p.expectClose(0)
				o.expectClose(c.reason)
			})
		})
	}
}

func TestWebSocketPeerLeaves(t *testing.T) {
	overDrivers(t, func(t *testing.T, d driver) {
		f := newFixture(t, d, Config{})
		p, o := f.openWS()
		p.must(p.raw(maskedFrame(0x88, []byte("\x03\xe9bye"))))
		p.expect(ws.Close, "\x03\xe9")
		p.expectEnd()
		o.expectClose(ReasonTransportClose)

		p, o = f.openWS()
		p.nc.Close()
		o.expectClose(ReasonTransportClose)
		if o.State() != Closed || o.Send(TextFrame([]byte("late"))) != Dropped ||
			o.SendVolatile(TextFrame()) != Dropped {
			t.Error("a closed session takes messages")
		}
		if st := f.eio.Stats(); st.WebSocket+st.Polling != 0 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestCloseSendsWhatIsQueued(t *testing.T) {
	overDrivers(t, func(t *testing.T, d driver) {
		f := newFixture(t, d, Config{})
		p, o := f.openWS()
		big := TextFrame([]byte(strings.Repeat("x", 1<<20)))
		for range 5 {
			o.Send(big)
		}
		o.Send(TextFrame([]byte("last")))
		o.Close(false)
		if o.Send(TextFrame([]byte("late"))) != Dropped {
			t.Error("sent after Close")
		}
		for range 5 {
			p.expectText("4" + strings.Repeat("x", 1<<20))
		}
		p.expectText("4last")
		p.expectClose(0)
		o.expectClose(ReasonForcedClose)
	})
}

// A peer gets all that was sent before Close, though it goes on sending and takes longer than it may to answer the
// close frame: to close a connection while something comes in resets it, and takes away what the peer has not got yet.
func TestCloseOfSlowPeerThatSends(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("what the peer has taken is known on Linux only")
	}
	overDrivers(t, func(t *testing.T, d driver) {
		f := newFixture(t, d, Config{}, func(f *fixture) { f.onMsg = func(*owner, bool, []byte) {} })
		f.eio.closeTimeout = 700 * time.Millisecond
		p, o := f.openWS()
		nc := p.nc
		if t, ok := nc.(*tls.Conn); ok {
			nc = t.NetConn()
		}
		_ = nc.(*net.TCPConn).SetReadBuffer(128 << 10) // the rest waits at the server
		const n = 1000
		for i := range n {
			o.Send(TextFrame(fmt.Appendf(nil, "%d ", i), make([]byte, 2000)))
		}
		o.Close(false)
		for i := range n {
			if i%20 == 0 {
				time.Sleep(30 * time.Millisecond)          // a slow peer
				_ = p.raw(maskedFrame(0x81, []byte("4x"))) // when all is on its way the server may be gone
			}
			if _, b, err := p.read(); err != nil || !strings.HasPrefix(string(b), fmt.Sprintf("4%d ", i)) {
				t.Fatalf("message %d: %.10q %v", i, b, err)
			}
		}
		p.expectClose(0)
		o.expectClose(ReasonForcedClose)
	})
}

func TestDiscard(t *testing.T) {
	overDrivers(t, func(t *testing.T, d driver) {
		f := newFixture(t, d, Config{})
		p, o := f.openWS()
		for range 14 { // more than the kernel takes, so that a frame is under way
			o.Send(TextFrame([]byte(strings.Repeat("x", 1<<20))))
		}
		o.Close(true)
		o.expectClose(ReasonForcedClose)
		p.expectClose(0)
		o.Close(true)
		o.Close(false)
		o.Fail(ReasonParseError, nil)
	})
}

func TestFail(t *testing.T) {
	overDrivers(t, func(t *testing.T, d driver) {
		boom := errors.New("boom")
		f := newFixture(t, d, Config{}, func(f *fixture) {
			f.onMsg = func(o *owner, _ bool, _ []byte) { o.Fail(ReasonParseError, boom) }
		})
		p, o := f.openWS()
		p.text("4x")
		p.text("4y")
		p.expectClose(0)
		if err := o.expectClose(ReasonParseError); !errors.Is(err, boom) {
			t.Error(err)
		}
	})
}

func TestDeflate(t *testing.T) {
	overDrivers(t, func(t *testing.T, d driver) {
		f := newFixture(t, d, Config{Deflate: &Compression{Threshold: 100}, AllowEIO3: true}, echoing)
		const ext = "Sec-WebSocket-Extensions"
		limits := &ws.Limits{Message: 1 << 20, Fragments: 10, Inflate: new(ws.Inflater)}
		long := strings.Repeat("hello ", 100)
		for _, query := range []string{"EIO=4&transport=websocket", "EIO=3&transport=websocket"} {
			p := f.dial(query, ext, "permessage-deflate; client_max_window_bits")
			p.inflate = limits
			p.expectOpen()
			o := f.owner()
			frame, _ := ws.NewDeflater(1).AppendFrame(nil, ws.Text, []byte("4"+long))
			p.must(p.raw(maskedFrame(0xc1, frame[2:])))
			p.expectText("4" + long)
			p.text("4short")
			p.expectText("4short")
			shared := BinaryFrame([]byte(long))
			o.Send(shared, shared.Uncompressed())
			prefix := ""
			if o.Protocol() == 3 {
				prefix = "\x04"
			}
			p.expect(ws.Binary, prefix+long)
			p.expect(ws.Binary, prefix+long)
		}
		p, _ := f.openWS() // without the extension: nothing is compressed
		p.text("4" + long)
		p.expectText("4" + long)
	})
}

// A broadcast is compressed once.
func TestFrameFormsAreShared(t *testing.T) {
	k := newCompressor(&Compression{Threshold: 10})
	f := TextFrame([]byte(strings.Repeat("x", 1000)))
	a, b := f.bytes(4, k), f.bytes(4, k)
	if &a[0] != &b[0] || len(a) >= f.Len() {
		t.Error("compressed twice, or not at all")
	}
	if c := f.bytes(4, nil); &c[0] != &f.wire[0] {
		t.Error("the plain form is not shared")
	}
	bin := BinaryFrame([]byte{1, 2})
	if c, d := bin.bytes(3, nil), bin.bytes(3, nil); &c[0] != &d[0] || string(c) != "\x82\x03\x04\x01\x02" {
		t.Errorf("revision 3 form %x", c)
	}
	if f.Binary() || !bin.Binary() || string(bin.Data()) != "\x01\x02" || len(f.Data()) != 1000 {
		t.Error("Data or Binary")
	}
}

// A browser that asks for a subprotocol and gets none drops the connection.
func TestSubprotocol(t *testing.T) {
	f := newFixture(t, drivers[0], Config{})
	for offer, want := range map[string]string{"a, b": "a", "b": "b", "": ""} {
		_, resp, err := f.tryDial("EIO=4&transport=websocket", "Sec-WebSocket-Protocol", offer)
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.Header.Get("Sec-WebSocket-Protocol"); resp.StatusCode != 101 || got != want {
			t.Errorf("%q: %d %q, want %q", offer, resp.StatusCode, got, want)
		}
	}
}

// What is malformed in a query does not spoil the rest.
func TestMalformedQuery(t *testing.T) {
	f := newFixture(t, plain, Config{})
	for _, more := range []string{"&x=%zz", "&x=a;b", "&%"} {
		if a := f.get("EIO=4&transport=polling" + more); a.status != 200 {
			t.Errorf("%s: %d %s", more, a.status, a.body)
		}
	}
}

func TestRefusedUpgrades(t *testing.T) {
	f := newFixture(t, drivers[0], Config{})
	for query, message := range map[string]string{
		"EIO=4&transport=abc":               "Transport unknown",
		"EIO=4":                             "Transport unknown",
		"EIO=4&transport=websocket&sid=abc": "Session ID unknown",
		"EIO=4&transport=polling":           "Bad request",
		"EIO=3&transport=websocket":         "Unsupported protocol version",
		"transport=websocket":               "Unsupported protocol version",
	} {
		_, resp, err := f.tryDial(query)
		if err != nil {
			t.Fatal(err)
		}
		body := make([]byte, 100)
		n, _ := resp.Body.Read(body)
		if resp.StatusCode != 400 || string(body[:n]) != message {
			t.Errorf("%s: %d %q, want 400 %q", query, resp.StatusCode, body[:n], message)
		}
	}
	for _, c := range []struct {
		header, value string
		status        int
	}{{"Sec-WebSocket-Version", "8", 426}, {"Sec-WebSocket-Key", "short", 400}} {
		r, _ := http.NewRequest("GET", f.url("EIO=4&transport=websocket"), nil)
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "websocket")
		r.Header.Set("Sec-WebSocket-Version", "13")
		r.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
		r.Header.Set(c.header, c.value)
		resp, err := f.http.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != c.status {
			t.Errorf("%s %s: %d", c.header, c.value, resp.StatusCode)
		}
	}
}

// An owner that blocks holds up its own connection only, and gets the rest when it goes on.
func TestBlockedOwner(t *testing.T) {
	overDrivers(t, func(t *testing.T, d driver) {
		block := make(chan struct{})
		f := newFixture(t, d, Config{}, func(f *fixture) {
			f.onMsg = func(o *owner, binary bool, data []byte) {
				if string(data) == "block" {
					<-block
				}
				echo(o, binary, data)
			}
		})
		var blocked, free []*peer
		for range 4 {
			p, _ := f.openWS()
			blocked = append(blocked, p)
			p, _ = f.openWS()
			free = append(free, p)
		}
		for round := range 3 {
			for i := range blocked {
				if round == 0 {
					blocked[i].text("4block")
				}
				blocked[i].text("4behind")
				free[i].text("4free")
				free[i].expectText("4free")
			}
		}
		close(block)
		for _, p := range blocked {
			p.expectText("4block")
			for range 3 {
				p.expectText("4behind")
			}
			p.text("4again")
			p.expectText("4again")
		}
	})
}

// What has come while the owner was busy is handled to its end, be it more than one turn of reading takes, and though
// the client has left since.
func TestTheRestAndTheEnd(t *testing.T) {
	for _, n := range []int{0, 1, 80} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			overDrivers(t, func(t *testing.T, d driver) { testTheRest(t, d, n) })
		})
	}
}

func testTheRest(t *testing.T, d driver, n int) {
	const size = 15_000
	begun, block, got := make(chan struct{}), make(chan struct{}), make(chan int, n)
	f := newFixture(t, d, Config{}, func(f *fixture) {
		f.onMsg = func(_ *owner, _ bool, data []byte) {
			if string(data) == "first" {
				close(begun)
				<-block
				return
			}
			got <- len(data)
		}
	})
	p, o := f.openWS()
	p.text("4first")
	<-begun
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for range n {
			p.binary(bytes.Repeat([]byte("x"), size))
		}
		p.nc.Close()
	}()
	select {
	case <-sent:
	case <-time.After(time.Second): // this system's buffers are smaller
	}
	close(block)
	<-sent
	o.expectClose(ReasonTransportClose)
	if len(got) != n {
		t.Errorf("%d messages, want %d", len(got), n)
	}
	for range len(got) {
		if bytes := <-got; bytes != size {
			t.Errorf("a message of %d bytes", bytes)
		}
	}
}

// What a client sends without waiting for the answer to its handshake is not lost.
func TestEarlyFrames(t *testing.T) {
	overDrivers(t, func(t *testing.T, d driver) {
		f := newFixture(t, d, Config{}, echoing, func(f *fixture) {
			f.early = append(maskedFrame(0x81, []byte("4early")), maskedFrame(0x81, []byte("4half"))[:8]...)
		})
		p, _ := f.openWS() // the answer comes first
		p.expectText("4early")
		p.must(p.raw(maskedFrame(0x81, []byte("4half"))[8:]))
		p.expectText("4half")

		f.early = []byte{0x81, 0x01, '4'}
		p = f.dial("EIO=4&transport=websocket")
		p.expectClose(ws.CodeProtocol)
		f.owner().expectClose(ReasonTransportError)
	})
}

func TestAcceptRefuses(t *testing.T) {
	var refused []*ConnectionError
	f := newFixture(t, plain, Config{Hooks: Hooks{ConnectionError: func(e *ConnectionError) {
		refused = append(refused, e)
	}}},
		func(f *fixture) { f.refuse = errors.New("no") })
	if a := f.get("EIO=4&transport=polling"); a.status != 400 || a.body != `{"code":3,"message":"Bad request"}` {
		t.Errorf("%d %s", a.status, a.body)
	}
	if _, resp, err := f.tryDial("EIO=4&transport=websocket"); err != nil || resp.StatusCode != 400 {
		t.Errorf("%v %v", resp, err)
	}
	if len(refused) != 2 || refused[1].Context["error"] != f.refuse {
		t.Errorf("%v", refused)
	}
}

func TestObserveAll(t *testing.T) {
	created := make(chan string, 10)
	f := newFixture(t, plain, Config{Hooks: Hooks{PacketCreate: func(_ *Conn, p Packet) { created <- string(p.Data) }}})
	_, o := f.openWS()
	o.Send(TextFrame([]byte("unseen")))
	f.eio.Observe(ObservePacketCreate)
	o.Send(TextFrame([]byte("a")), BinaryFrame([]byte("b")))
	if a, b := <-created, <-created; a != "a" || b != "b" {
		t.Errorf("%q %q", a, b)
	}
}
