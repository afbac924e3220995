package eio

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/architus/guildcast/engine/internal/ws"
	"github.com/architus/guildcast/internal/test/wait"
)

// probed opens the WebSocket of a polling session and probes it.
func (f *fixture) probed(query string) *peer {
	f.t.Helper()
	p := f.dial(strings.Replace(query, "polling", "websocket", 1))
	p.text("2probe")
	p.expectText("3probe")
	return p
}

func TestUpgrade(t *testing.T) {
	overDrivers(t, func(t *testing.T, d driver) {
		f := newFixture(t, d, Config{}, echoing)
		query, o := f.openPolling()
		waits := f.goGet(query)
		o.waiting()
		p := f.probed(query)
		if a := f.await(waits); a.body != "6" {
			t.Errorf("the poll that waited got %q", a.body)
		}
		if a := f.get(query); a.body != "6" {
			t.Errorf("a poll while probing got %q", a.body)
		}
		o.Send(TextFrame([]byte("queued")))
		p.text("5")
		p.expectText("4queued")
		p.text("4hello")
		p.expectText("4hello")
		if o.Transport() != WebSocket {
			t.Error(o.Transport())
		}
		for _, method := range []string{"GET", "POST"} {
			if a := f.do(method, query, "4x"); a.status != 400 || !strings.Contains(a.body, `"code":3`) {
				t.Errorf("%s after the upgrade: %d %s", method, a.status, a.body)
			}
		}
		second := f.dial(strings.Replace(query, "polling", "websocket", 1))
		second.expectClose(0)
		p.text("4still")
		p.expectText("4still")
		if st := f.eio.Stats(); st.WebSocket != 1 || st.Polling != 0 || st.Upgrades != 1 {
			t.Errorf("%+v", st)
		}
	})
}

// A poll that comes together with the upgrade packet is refused, not answered.
func TestPollBesideUpgrade(t *testing.T) {
	f := newFixture(t, plain, Config{})
	query, _ := f.openPolling()
	p := f.probed(query)
	p.text("5")
	if a := f.get(query); a.status != 400 {
		t.Errorf("%d %q", a.status, a.body)
	}
}

// The answer to a probe is written before an upgrade packet right behind the probe ends polling.
func TestProbeIsAnsweredFirst(t *testing.T) {
	upgraded := make(chan bool, 1)
	f := newFixture(t, plain, Config{Hooks: Hooks{Upgrade: func(c *Conn) {
		c.mu.Lock()
		defer c.mu.Unlock()
		upgraded <- !c.ws.claimed
	}}})
	query, o := f.openPolling()
	o.Observe(ObserveUpgrade)
	p := f.dial(strings.Replace(query, "polling", "websocket", 1))
	wait.Until(t, "the opening handshake is written", func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return !o.probe.ws.claimed
	})
	p.must(p.raw(append(maskedFrame(0x81, []byte("2probe")), maskedFrame(0x81, []byte("5"))...)))
	if !<-upgraded {
		t.Error("the answer is still to be written")
	}
	p.expectText("3probe")
}

// A poll that waits when the upgrade packet comes is ended with a noop.
func TestUpgradeWithPollThatWaits(t *testing.T) {
	f := newFixture(t, plain, Config{}, echoing)
	query, o := f.openPolling()
	waits := f.goGet(query)
	o.waiting()
	p := f.dial(strings.Replace(query, "polling", "websocket", 1))
	p.text("5") // without a probe, as Node lets it
	if a := f.await(waits); a.body != "6" {
		t.Errorf("the poll got %q", a.body)
	}
	p.text("4x")
	p.expectText("4x")
}

func TestProbeFails(t *testing.T) {
	overDrivers(t, func(t *testing.T, d driver) {
		f := newFixture(t, d, Config{UpgradeTimeout: patience}, echoing)
		query, o := f.openPolling()
		for name, fail := range map[string]func(p *peer){
			"wrong packet": func(p *peer) { p.text("4hello"); p.expectClose(0) },
			"binary":       func(p *peer) { p.binary([]byte("5")); p.expectClose(0) },
			"breach":       func(p *peer) { p.must(p.raw([]byte{0x81, 0})); p.expectClose(ws.CodeProtocol) },
			"leaves":       func(p *peer) { p.nc.Close() },
			"closes":       func(p *peer) { p.must(p.raw(maskedFrame(0x88, nil))); p.expectClose(0) },
		} {
			fail(f.dial(strings.Replace(query, "polling", "websocket", 1)))
			wait.Until(t, name+": the probe ends", func() bool {
				o.mu.Lock()
				defer o.mu.Unlock()
				return o.probe == nil
			})
			f.post(query, "4"+name)
			if a := f.get(query); a.body != "4"+name {
				t.Errorf("%s: the session got %q", name, a.body)
			}
		}
		first := f.dial(strings.Replace(query, "polling", "websocket", 1))
		second := f.dial(strings.Replace(query, "polling", "websocket", 1))
		second.expectClose(0) // one at a time
		o.Close(true)
		first.expectClose(0)
		o.expectClose(ReasonForcedClose)
	})
}

func TestProbeIsTooSlow(t *testing.T) {
	overDrivers(t, func(t *testing.T, d driver) {
		everLonger(t, 50*time.Millisecond, func(timeout time.Duration) bool {
			f := newFixture(t, d, Config{UpgradeTimeout: timeout}, echoing)
			query, _ := f.openPolling()
			p := f.dial(strings.Replace(query, "polling", "websocket", 1))
			_ = p.raw(maskedFrame(0x81, []byte("2probe")))
			_, b, err := p.readFrame()
			if probed := err == nil && string(b) == "3probe"; !probed {
				return false
			}
			p.expectClose(0)
			f.post(query, "4hello")
			if a := f.get(query); a.body != "4hello" {
				t.Errorf("the session got %q", a.body)
			}
			return true
		})
	})
}

func TestUpgradesDisabled(t *testing.T) {
	f := newFixture(t, plain, Config{DisableUpgrades: true})
	a := f.get("EIO=4&transport=polling")
	d := f.parseOpen(a.body)
	if len(d.Upgrades) != 0 {
		t.Errorf("%+v", d)
	}
	if _, resp, err := f.tryDial("EIO=4&transport=websocket&sid=" + d.SID); err != nil || resp.StatusCode != 400 {
		t.Errorf("%v %v", resp, err)
	}
	f.openWS() // from the start is no upgrade
}

// A session that is closing takes what is queued along to the WebSocket.
func TestUpgradeWhileClosing(t *testing.T) {
	f := newFixture(t, plain, Config{})
	query, o := f.openPolling()
	p := f.probed(query)
	o.Send(TextFrame([]byte("last")))
	o.Close(false)
	p.text("5")
	p.expectText("4last")
	p.expectClose(0)
	o.expectClose(ReasonForcedClose)
}

// A client that ends polling is not left without any transport: its WebSocket closes when it listens there.
func TestSessionEndsDuringUpgrade(t *testing.T) {
	overDrivers(t, func(t *testing.T, d driver) {
		for _, upgrades := range []bool{true, false} {
			f := newFixture(t, d, Config{})
			f.eio.closeTimeout = patience
			if !upgrades {
				f.eio.closeTimeout = 10 * time.Millisecond
			}
			query, o := f.openPolling()
			p := f.probed(query)
			o.Close(true)
			o.expectClose(ReasonForcedClose)
			if upgrades {
				o.mu.Lock()
				closing := o.probe == nil || o.probe.ws.closing
				o.mu.Unlock()
				if closing {
					t.Error("the WebSocket closes before the client has left polling")
				}
				p.text("5")
			}
			p.expectClose(0)
		}
	})
}

func TestUpgradeHooks(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	note := func(s string) { mu.Lock(); seen = append(seen, s); mu.Unlock() }
	f := newFixture(t, plain, Config{PingInterval: time.Minute, Hooks: Hooks{
		Upgrading:    func(*Conn) { note("upgrading") },
		Upgrade:      func(c *Conn) { note("upgrade " + c.Transport()) },
		Packet:       func(_ *Conn, p Packet) { note(fmt.Sprintf("packet %d %q", p.Type, p.Data)) },
		PacketCreate: func(_ *Conn, p Packet) { note(fmt.Sprintf("create %d %q", p.Type, p.Data)) },
		Heartbeat:    func(*Conn) { note("heartbeat") },
		Flush:        func(*Conn) { note("flush") },
		Drain:        func(*Conn) { note("drain") },
	}}, echoing)
	query, o := f.openPolling()
	f.post(query, "4unseen")
	f.get(query)
	o.Observe(ObserveUpgrading | ObserveUpgrade | ObservePacket | ObservePacketCreate | ObserveHeartbeat |
		ObserveFlush | ObserveDrain)
	p := f.probed(query)
	p.text("5")
	p.text("4a")
	p.expectText("4a")
	p.text("3")
	p.text("4b")
	p.expectText("4b")
	want := []string{"upgrading", "upgrade websocket", `packet 4 "a"`, `create 4 "a"`, "flush", "drain",
		`packet 3 ""`, "heartbeat", `packet 4 "b"`, `create 4 "b"`, "flush", "drain"}
	wait.Until(t, strings.Join(want, ", "), func() bool {
		mu.Lock()
		defer mu.Unlock()
		next := 0
		for _, s := range seen { // there are more: of the answer to the probe
			if next < len(want) && s == want[next] {
				next++
			}
		}
		return next == len(want) && !slices.Contains(seen, `packet 4 "unseen"`)
	})
}

// Nothing is lost, doubled or reordered when the transport changes under traffic in both directions.
func TestUpgradeUnderTraffic(t *testing.T) {
	const n = 3000
	overDrivers(t, func(t *testing.T, d driver) {
		for round := range 3 {
			f := newFixture(t, d, Config{})
			query, o := f.openPolling()
			go func() {
				for i := range n {
					o.Send(TextFrame([]byte(strconv.Itoa(i))))
					if i%50 == round {
						time.Sleep(time.Millisecond) // spread over the upgrade
					}
				}
			}()
			c := &upgradingClient{f: f, query: query}
			go c.run(n, 100+400*round)
			for i := range n {
				o.expectMessage(strconv.Itoa(i))
			}
			wait.Until(t, "all received", func() bool { return c.received() == n })
			if err := c.failed(); err != nil {
				t.Fatal(err)
			}
			o.Close(false)
			o.expectClose(ReasonForcedClose)
		}
	})
}

// upgradingClient does what engine.io-client does: it polls and POSTs, upgrades when it has sent some messages, and
// goes on over the WebSocket. It checks the order of what it gets.
type upgradingClient struct {
	f     *fixture
	query string

	mu   sync.Mutex
	next int
	err  error
}

func (c *upgradingClient) received() int { c.mu.Lock(); defer c.mu.Unlock(); return c.next }
func (c *upgradingClient) failed() error { c.mu.Lock(); defer c.mu.Unlock(); return c.err }

func (c *upgradingClient) take(packets string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for packet := range strings.SplitSeq(packets, "\x1e") {
		if packet == "6" || packet == "2" {
			continue
		}
		if packet != "4"+strconv.Itoa(c.next) && c.err == nil {
			c.err = fmt.Errorf("got %q, want message %d", packet, c.next)
		}
		c.next++
	}
}

func (c *upgradingClient) run(n, upgradeAt int) {
	stop := make(chan struct{})
	polled := make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				polled <- nil
				return
			default:
			}
			a, err := c.f.try(c.f.t.Context(), "GET", c.query, "")
			if err != nil || a.status != 200 {
				polled <- errors.Join(fmt.Errorf("poll: %d", a.status), err)
				return
			}
			c.take(a.body)
		}
	}()
	i := 0
	for i < upgradeAt {
		var b strings.Builder
		for k := 0; k < 30 && i < upgradeAt; k++ {
			if k > 0 {
				b.WriteByte(0x1e)
			}
			fmt.Fprintf(&b, "4%d", i)
			i++
		}
		c.f.post(c.query, b.String())
	}
	p := c.f.probed(c.query)
	close(stop) // no further polls; the one that waits is ended by the server
	if err := <-polled; err != nil {
		c.mu.Lock()
		c.err = err
		c.mu.Unlock()
		return
	}
	p.text("5")
	go func() {
		for ; i < n; i++ {
			_ = p.raw(maskedFrame(0x81, []byte("4"+strconv.Itoa(i))))
		}
	}()
	for {
		op, b, err := p.read()
		if err != nil || op != ws.Text {
			if op == ws.Close {
				_ = p.raw(maskedFrame(0x88, b))
			}
			return
		}
		c.take(string(b))
	}
}
