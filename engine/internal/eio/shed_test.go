package eio

import (
	"testing"
	"time"

	"github.com/architus/guildcast/internal/test/wait"
)

// lengths starts to read, and gives the lengths of the messages that come until the connection ends.
func (p *peer) lengths() <-chan int {
	lengths := make(chan int, 10_000)
	go func() {
		defer close(lengths)
		for {
			_, b, err := p.read()
			if err != nil {
				return
			}
			lengths <- len(b)
		}
	}()
	return lengths
}

// What may be left out is, in the order of the losses, and all of the same kind until the peer has caught up.
func TestShedding(t *testing.T) {
	overDrivers(t, func(t *testing.T, d driver) {
		f := newFixture(t, d, Config{QueueHard: 60 << 20, StallTimeout: time.Minute})
		p, o := f.openWS()
		small := TextFrame([]byte("small"))
		queued := 0
		fill := func(loss Loss) {
			t.Helper()
			for o.SendLossy(loss, megabyte) != Shed {
				if queued++; queued > 1000 || o.State() != Open {
					t.Fatalf("nothing is left out; %d queued, session %v", queued, o.State())
				}
			}
		}
		fill(ShedWhenBehind)
		if n := o.Queued(); n < 14<<20 || n > 15<<20 {
			t.Errorf("left out with %d bytes queued, want a quarter of what may be", n)
		}
		if o.Resume() {
			t.Error("resumed while it is behind")
		}
		if s := o.SendLossy(ShedWhenBehind, small); s != Shed {
			t.Errorf("something small gets between: %d", s)
		}
		if s := o.SendLossy(ShedWhenFull, small); s != Queued && s != Lagging {
			t.Errorf("what is left out only when it is full is left out: %d", s)
		}
		queued++
		fill(ShedWhenFull)
		if n := o.Queued(); n < 59<<20 || n > 60<<20 {
			t.Errorf("left out with %d bytes queued, want what may be", n)
		}
		if s := o.SendLossy(ShedWhenFull, small); s != Shed {
			t.Errorf("something small gets between: %d", s)
		}
		if s := o.Send(small); s != Queued && s != Lagging {
			t.Errorf("what must not be left out is: %d", s)
		}
		queued++
		if st := f.eio.Stats(); o.State() != Open || st.SlowConsumers != 0 {
			t.Fatalf("session is %v, %+v", o.State(), st)
		}
		lengths := p.lengths()
		wait.Until(t, "it has caught up", o.Resume)
		if s := o.SendLossy(ShedWhenBehind, small); s != Queued {
			t.Errorf("left out after it had caught up: %d", s)
		}
		queued++
		for range queued {
			if _, ok := <-lengths; !ok {
				t.Fatal("the session ended")
			}
		}
		o.Close(false)
		if n := <-lengths; n > 0 { // the close frame has none
			t.Errorf("%d bytes more than were queued", n)
		}
		if !o.Resume() {
			t.Error("a session that has ended is behind")
		}
	})
}

// A peer that reads, but has been too slow for long, is no longer waited for.
func TestSheddingForTheSlow(t *testing.T) {
	overDrivers(t, func(t *testing.T, d driver) {
		f := newFixture(t, d, Config{QueueSoft: 2 << 20, QueueHard: 400 << 20})
		_, o := f.openWS()
		for range 40 {
			if s := o.SendLossy(ShedWhenBehind, megabyte); s != Queued && s != Lagging {
				t.Fatalf("status %d", s)
			}
		}
		if d.name != "tls" {
			wait.Until(t, "its window is full", func() bool {
				o.mu.Lock()
				defer o.mu.Unlock()
				return o.ws.blocked
			})
		}
		o.mu.Lock()
		o.late -= behindTime + time.Second
		o.progress = f.eio.now()
		o.mu.Unlock()
		if s := o.SendLossy(ShedWhenFull, megabyte); s != Queued {
			t.Errorf("is waited for: status %d", s)
		}
		if s := o.Send(megabyte); s != Lagging {
			t.Errorf("is not waited for: status %d", s)
		}
		if s := o.SendLossy(ShedWhenBehind, megabyte); s != Shed {
			t.Errorf("is not left out: status %d", s)
		}
	})
}

// A poll takes what is queued, one message at least.
func TestSheddingWhilePolling(t *testing.T) {
	f := newFixture(t, plain, Config{QueueHard: 9 << 20})
	query, o := f.openPolling()
	n := 0
	for ; o.SendLossy(ShedWhenBehind, megabyte) != Shed; n++ {
	}
	if n != 2 || o.Resume() {
		t.Errorf("%d messages queued, resumed %t", n, o.Resume())
	}
	for range n {
		f.get(query)
	}
	if !o.Resume() {
		t.Error("behind after all has been polled")
	}
}

// A ping behind much that is queued is answered late. A peer that takes what is before it is alive, also when the
// kernel has all of that; one that takes nothing more of it is lost.
func TestHeartbeatOfTheSlow(t *testing.T) {
	overDrivers(t, func(t *testing.T, d driver) {
		f := newFixture(t, d, Config{UnreadTimeout: time.Minute})
		_, o := f.openWS()
		o.Send(megabyte)
		wait.Until(t, "the kernel has all of it", func() bool { return o.Queued() == 0 })
		h := f.eio.beats
		for range 2 { // it had just begun to take it
			if h.lost(&o.Conn); o.State() != Open {
				t.Fatal("lost while it was reading")
			}
		}
		h.behind[&o.Conn].since -= 2 * time.Minute
		h.lost(&o.Conn)
		o.expectClose(ReasonPingTimeout)
		if h.forget(); len(h.behind) > 0 {
			t.Error("what is kept of it stays")
		}
	})
}
