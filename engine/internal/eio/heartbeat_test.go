package eio

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/architus/guildcast/engine/internal/ws"
)

func TestPingPong(t *testing.T) {
	overDrivers(t, func(t *testing.T, d driver) {
		f := newFixture(t, d, Config{PingInterval: 30 * time.Millisecond, PingTimeout: patience})
		p := f.dial("EIO=4&transport=websocket")
		p.expectOpen()
		o := f.owner()
		for range 3 {
			if op, b, err := p.readFrame(); op != ws.Text || string(b) != "2" || err != nil {
				t.Fatalf("%d %q %v", op, b, err)
			}
			p.text("3")
		}
		if o.State() != Open {
			t.Error(o.State())
		}
	})
}

func TestPingTimeout(t *testing.T) {
	overDrivers(t, func(t *testing.T, d driver) {
		f := newFixture(t, d, Config{PingInterval: 30 * time.Millisecond, PingTimeout: 20 * time.Millisecond})
		p := f.dial("EIO=4&transport=websocket")
		p.expectOpen()
		o := f.owner()
		o.expectClose(ReasonPingTimeout)
		for _, want := range []ws.Opcode{ws.Text, ws.Close} { // a ping that is not answered
			if op, _, err := p.readFrame(); op != want || err != nil {
				t.Fatalf("%d %v", op, err)
			}
		}
	})
	everLonger(t, 30*time.Millisecond, func(d time.Duration) bool {
		f := newFixture(t, plain, Config{PingInterval: d, PingTimeout: d})
		query, o := f.openPolling()
		pinged := f.get(query).body == "2"
		o.expectClose(ReasonPingTimeout)
		if a := f.post(query, "3"); a.status != 400 {
			t.Errorf("%d", a.status)
		}
		return pinged
	})
}

// An owner that blocks does not cost its client the session.
func TestPingTimeoutWhileBlocked(t *testing.T) {
	everLonger(t, 20*time.Millisecond, func(d time.Duration) bool {
		block := make(chan struct{})
		f := newFixture(t, plain, Config{PingInterval: d, PingTimeout: d}, func(f *fixture) {
			f.onMsg = func(o *owner, _ bool, _ []byte) { o.messages <- "in"; <-block }
		})
		p := f.dial("EIO=4&transport=websocket")
		o := f.owner()
		defer func() { close(block); p.nc.Close() }()
		_ = p.raw(maskedFrame(0x81, []byte("4x")))
		select {
		case <-o.closed: // before it blocked
			return false
		case <-o.messages:
		}
		select {
		case c := <-o.closed:
			t.Fatalf("closed: %+v", c)
		case <-time.After(5 * d): // several timeouts
		}
		return true
	})
}

// virtual runs test in virtual time, with a server and what makes a session that polls.
func virtual(t *testing.T, test func(t *testing.T, s *Server, session func(id string, protocol uint8) *owner)) {
	synctest.Test(t, func(t *testing.T) {
		s, err := NewServer(Config{
			DisablePoller: true, PingInterval: 25 * time.Second, PingTimeout: 20 * time.Second, AllowEIO3: true,
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := s.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		}()
		f := &fixture{t: t, owners: make(chan *owner, 10)}
		test(t, s, func(id string, protocol uint8) *owner {
			o := &owner{f: f, closed: make(chan closing, 1), messages: make(chan string, 10)}
			o.srv, o.handler, o.id, o.protocol, o.poll = s, o, id, protocol, &polling{}
			o.release = func() {}
			if err := s.reserve(id); err != nil {
				t.Fatal(err)
			}
			s.open(&o.Conn, nil)
			return o
		})
	})
}

// A session without a pong ends when its interval and its timeout are over, and not later for the sake of others.
func TestPingTimeoutIsOnTime(t *testing.T) {
	virtual(t, func(t *testing.T, s *Server, session func(id string, protocol uint8) *owner) {
		for _, id := range []string{"a", "b", "c"} { // their pings go out together
			opened := s.now()
			o := session(id, 4)
			go func() {
				<-o.closed
				if took := s.now() - opened; took > 45*time.Second+2*timeoutQuantum ||
					took < 45*time.Second-s.beats.quantum {
					t.Errorf("%s ended after %v", id, took)
				}
			}()
			time.Sleep(30 * time.Millisecond)
		}
		time.Sleep(50 * time.Second)
	})
}

// A session that is closing is not ended for want of a pong, which nobody would look at.
func TestNoPingTimeoutWhileClosing(t *testing.T) {
	virtual(t, func(t *testing.T, _ *Server, session func(id string, protocol uint8) *owner) {
		o := session("a", 4)
		time.Sleep(30 * time.Second) // it is pinged
		o.Close(false)
		time.Sleep(25 * time.Second) // and the time for the pong is over
		if s := o.State(); s != Closing {
			t.Errorf("%v", s)
		}
		if c := <-o.closed; c.reason != ReasonForcedClose {
			t.Errorf("%+v", c)
		}
	})
}

// The lists, in virtual time.
func TestHeartbeats(t *testing.T) {
	virtual(t, func(t *testing.T, s *Server, session func(id string, protocol uint8) *owner) {
		at := func(d time.Duration) { time.Sleep(d - s.now()); synctest.Wait() }
		queued := func(o *owner) int { o.mu.Lock(); defer o.mu.Unlock(); return o.queued }
		alive := func(o *owner, want bool) {
			t.Helper()
			if (o.State() == Open) != want {
				t.Fatalf("%s is %s at %v", o.id, o.State(), s.now())
			}
		}

		old := session("old", 3)
		quiet, busy, good := session("quiet", 4), session("busy", 4), session("good", 4)
		at(24 * time.Second)
		if queued(quiet) != 0 {
			t.Fatal("pinged early")
		}
		at(25*time.Second + 300*time.Millisecond)
		if queued(quiet) == 0 || queued(old) != 0 {
			t.Fatal("not pinged, or pinged in revision 3")
		}
		at(30 * time.Second)
		for _, o := range []*owner{busy, good} {
			o.in.Lock()
		}
		busy.handle(Packet{Type: PacketMessage}) // extends the wait to 50 s, once
		good.handle(Packet{Type: PacketPong})    // the next ping is at 55 s
		for _, o := range []*owner{busy, good} {
			o.in.Unlock()
		}
		at(44 * time.Second)
		alive(quiet, true)
		alive(old, true)
		at(45*time.Second + 300*time.Millisecond)
		alive(quiet, false)
		alive(old, false)
		at(49 * time.Second)
		alive(busy, true)
		busy.in.Lock()
		busy.handle(Packet{Type: PacketMessage}) // no second time
		busy.in.Unlock()
		at(50*time.Second + 300*time.Millisecond)
		alive(busy, false)
		if c := <-busy.closed; c.reason != ReasonPingTimeout {
			t.Error(c)
		}
		before := queued(good)
		at(55*time.Second + 300*time.Millisecond)
		if queued(good) == before {
			t.Error("not pinged again")
		}
		late := session("late", 3) // silent until 100 s: the run loop is awake for good until 75 s
		at(75*time.Second + 800*time.Millisecond)
		alive(good, false)
		next := session("next", 4) // its ping is before what the loop waits for
		at(101*time.Second + 500*time.Millisecond)
		alive(late, false)
		if queued(next) == 0 {
			t.Error("the ping before the others was late")
		}
	})
}
