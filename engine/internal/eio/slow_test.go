package eio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/architus/guildcast/engine/internal/compact"
	"github.com/architus/guildcast/engine/internal/ws"
	"github.com/architus/guildcast/internal/test/wait"
)

var megabyte = TextFrame(bytes.Repeat([]byte("x"), 1<<20))

// clog queues more than the kernel takes, and returns what is queued.
func (o *owner) clog(n int) int {
	for range n {
		o.Send(megabyte)
	}
	return o.Queued()
}

func TestSlowConsumerByBytes(t *testing.T) {
	overDrivers(t, func(t *testing.T, d driver) {
		f := newFixture(t, d, Config{QueueHard: 20 << 20, StallTimeout: time.Minute})
		p, o := f.openWS()
		if o.Send(TextFrame([]byte("first"))) != Queued {
			t.Error("the first message is not queued")
		}
		p.expectText("4first")
		status := Queued
		for n := 0; status != Dropped; n++ {
			if status = o.Send(megabyte); n > 1000 {
				t.Fatal("never cut")
			}
		}
		if err := o.expectClose(ReasonTransportError); !errors.Is(err, ErrSlowConsumer) {
			t.Error(err)
		}
		if st := f.eio.Stats(); st.SlowConsumers != 1 || st.QueuedBytes != 0 {
			t.Errorf("%+v", st)
		}
		p.expectClose(ws.CodeTryLater) // behind the frame that had been begun
	})
}

func TestSlowConsumerByTime(t *testing.T) {
	t.Parallel()
	overDrivers(t, func(t *testing.T, d driver) {
		f := newFixture(t, d, Config{QueueHard: 100 << 20, StallTimeout: 100 * time.Millisecond})
		_, o := f.openWS()
		o.clog(30)
		if err := o.expectClose(ReasonTransportError); !errors.Is(err, ErrSlowConsumer) {
			t.Error(err)
		}
		if o.Send(megabyte) != Dropped {
			t.Error("sent after the cut")
		}
	})
}

// A peer that reads nothing cannot hold up the end of its session either.
func TestDiscardOfStalled(t *testing.T) {
	t.Parallel()
	overDrivers(t, func(t *testing.T, d driver) {
		f := newFixture(t, d, Config{StallTimeout: 50 * time.Millisecond})
		_, o := f.openWS()
		o.clog(14)
		o.Close(true)
		o.expectClose(ReasonForcedClose)
		wait.Until(t, "the connection is closed", func() bool {
			o.mu.Lock()
			defer o.mu.Unlock()
			return o.ws.dead
		})
	})
}

func TestSlowConsumersByBudget(t *testing.T) {
	f := newFixture(t, plain, Config{QueueBudget: 30 << 20, QueueHard: 100 << 20, StallTimeout: time.Minute})
	good, goodOwner := f.openWS()
	_, a := f.openWS()
	_, b := f.openWS()
	for a.State() == Open && b.State() == Open {
		a.Send(megabyte)
		b.Send(megabyte)
	}
	goodOwner.Send(TextFrame([]byte("hello")))
	good.expectText("4hello")
	if st := f.eio.Stats(); st.SlowConsumers != 1 {
		t.Errorf("%+v", st)
	}
}

func TestLaggingAndPace(t *testing.T) {
	overDrivers(t, func(t *testing.T, d driver) {
		f := newFixture(t, d, Config{QueueSoft: 2 << 20, QueueHard: 200 << 20})
		p, o := f.openWS()
		if o.Lagging(time.Now()) {
			t.Error("lagging from the start")
		}
		var last SendStatus
		for range 40 {
			last = o.Send(megabyte)
		}
		if last != Lagging || !o.Lagging(time.Now()) || o.Lagging(time.Now().Add(lagTime)) || o.Writable() {
			t.Errorf("status %d with %d queued", last, o.Queued())
		}
		if o.SendVolatile(TextFrame([]byte("volatile"))) != Dropped {
			t.Error("volatile message was queued")
		}
		start := time.Now()
		Pace([]*Conn{&o.Conn}, 20*time.Millisecond, nil)
		if time.Since(start) < 20*time.Millisecond {
			t.Error("did not pace")
		}
		var reads sync.WaitGroup
		reads.Go(func() {
			for range 40 {
				if _, b, err := p.read(); err != nil || len(b) != 1+1<<20 {
					t.Errorf("%d bytes, %v", len(b), err)
					return
				}
			}
		})
		defer reads.Wait()
		wait.Until(t, "the queue is empty", func() bool { return o.Queued() == 0 })
		wait.Until(t, "writable", o.Writable)
		Pace([]*Conn{&o.Conn}, time.Hour, nil)
		if o.SendVolatile(TextFrame([]byte("volatile"))) != Queued {
			t.Error("volatile message was dropped")
		}
	})
}

func TestVolatileWhilePolling(t *testing.T) {
	f := newFixture(t, plain, Config{})
	query, o := f.openPolling()
	if o.Writable() || o.SendVolatile(TextFrame([]byte("lost"))) != Dropped {
		t.Error("writable without a poll")
	}
	waits := f.goGet(query)
	o.waiting()
	if !o.Writable() || o.SendVolatile(TextFrame([]byte("a")), BinaryFrame([]byte("b"))) != Queued {
		t.Error("not writable with a poll")
	}
	if a := f.await(waits); a.body != "4a\x1ebYg==" {
		t.Errorf("%q", a.body)
	}
}

// Frames that are sent together stay together, whoever else sends.
func TestSendIsAtomic(t *testing.T) {
	overDrivers(t, func(t *testing.T, d driver) {
		f := newFixture(t, d, Config{})
		p, o := f.openWS()
		const senders, rounds = 4, 500
		for s := range senders {
			go func() {
				for i := range rounds {
					head := fmt.Sprintf("%d:%d", s, i)
					o.Send(TextFrame([]byte(head)), BinaryFrame([]byte(head)), BinaryFrame([]byte(head)))
				}
			}()
		}
		next := [senders]int{}
		for range senders * rounds {
			_, b, err := p.read()
			if err != nil {
				t.Fatal(err)
			}
			var s, i int
			if _, err := fmt.Sscanf(string(b), "4%d:%d", &s, &i); err != nil || i != next[s] {
				t.Fatalf("%q: %v, want %d", b, err, next[s])
			}
			next[s]++
			p.expect(ws.Binary, string(b[1:]))
			p.expect(ws.Binary, string(b[1:]))
		}
	})
}

// A burst to many connections arrives at all of them, in order.
func TestBroadcast(t *testing.T) {
	overDrivers(t, func(t *testing.T, d driver) {
		f := newFixture(t, d, Config{})
		const conns, messages = 30, 1000
		var owners []*owner
		var wg sync.WaitGroup
		for range conns {
			p, o := f.openWS()
			owners = append(owners, o)
			wg.Go(func() {
				for i := range messages {
					if _, b, err := p.read(); err != nil || string(b) != fmt.Sprintf("4%d", i) {
						t.Errorf("%q %v, want message %d", b, err, i)
						return
					}
				}
			})
		}
		for i := range messages {
			frame := TextFrame(fmt.Appendf(nil, "%d", i))
			for _, o := range owners {
				o.Send(frame)
			}
		}
		wg.Wait()
	})
}

func TestPongsAreBounded(t *testing.T) {
	f := newFixture(t, plain, Config{})
	p, o := f.openWS()
	o.clog(14)
	ping := maskedFrame(0x89, bytes.Repeat([]byte("p"), 125))
	for range 1000 {
		p.must(p.raw(ping))
	}
	p.text("4last")
	o.expectMessage("last")
	o.mu.Lock()
	n := o.ws.controls
	o.mu.Unlock()
	if n > maxControl {
		t.Errorf("%d control frames wait", n)
	}
}

// However many pings come at once, the last is answered, and so is a probe among them.
func TestLastPingIsAnswered(t *testing.T) {
	f := newFixture(t, plain, Config{})
	p, o := f.openWS()
	claimed := false
	wait.Until(t, "nobody writes", func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		claimed = o.ws.claimLocked() // from now on nothing is written
		return claimed
	})
	var burst []byte
	const pings = maxControl + 2
	for i := range pings {
		burst = append(burst, maskedFrame(0x89, []byte(strconv.Itoa(i)))...)
	}
	p.must(p.raw(append(burst, maskedFrame(0x81, []byte("4then"))...)))
	o.expectMessage("then")
	o.ws.flush()
	for i := range maxControl - 1 {
		p.expect(ws.Pong, strconv.Itoa(i))
	}
	p.expect(ws.Pong, strconv.Itoa(pings-1))
}

func TestReplaceLast(t *testing.T) {
	pong := func(s string) *Frame { return rawFrame(append(ws.AppendHeader(nil, ws.Pong, false, len(s)), s...)) }
	probe := rawFrame(plainPacket(PacketPong, probeData).wire)
	var pool chunks
	var q queue
	for _, f := range []*Frame{pong("a"), pong("b"), probe} {
		q.push(&pool, f)
	}
	last := pong("c")
	q.replaceLast((*Frame).isPong, last)
	if !q.pop(&pool).isPong() || q.pop(&pool) != last || q.pop(&pool) != probe || !q.empty() {
		t.Error("the newest pong was not replaced")
	}
	q.push(&pool, probe)
	q.replaceLast((*Frame).isPong, last)
	if q.pop(&pool) != last || !q.empty() {
		t.Error("without a pong, the last frame was not replaced")
	}
}

func TestShutdown(t *testing.T) {
	overDrivers(t, func(t *testing.T, d driver) {
		f := newFixture(t, d, Config{})
		p, o := f.openWS()
		query, polling := f.openPolling()
		waits := f.goGet(query)
		polling.waiting()
		done := make(chan error, 1)
		go func() { done <- f.eio.Shutdown(t.Context()) }()
		p.expectClose(0)
		o.expectClose(ReasonForcedClose)
		polling.expectClose(ReasonForcedClose)
		if a := f.await(waits); a.body != "1" {
			t.Errorf("%q", a.body)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if a := f.get("EIO=4&transport=polling"); a.status != 503 {
			t.Errorf("%d", a.status)
		}
		if err := f.eio.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestShutdownDoesNotWaitForever(t *testing.T) {
	block := make(chan struct{})
	f := newFixture(t, plain, Config{}, func(f *fixture) {
		f.onMsg = func(o *owner, _ bool, _ []byte) { o.messages <- "in"; <-block }
	})
	p, o := f.openWS()
	p.text("4x")
	o.expectMessage("in")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := f.eio.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	close(block)
}

// Polling works over HTTP/2 without TLS.
func TestHTTP2(t *testing.T) {
	d := plain
	d.transport = func(h http.Handler) *httptest.Server {
		protocols := new(http.Protocols)
		protocols.SetUnencryptedHTTP2(true)
		s := httptest.NewUnstartedServer(h)
		s.Config.Protocols = protocols
		s.Start()
		s.Client().Transport.(*http.Transport).Protocols = protocols
		return s
	}
	f := newFixture(t, d, Config{MaxHTTPBufferSize: 2 << 20}, echoing)
	query, o := f.openPolling()
	if o.handshake.Request.ProtoMajor != 2 {
		t.Fatal(o.handshake.Request.Proto)
	}
	long := "4" + strings.Repeat("x", 1<<20)
	waits := f.goGet(query)
	o.waiting()
	if a := f.post(query, long); a.body != "ok" {
		t.Errorf("%d %q", a.status, a.body)
	}
	if a := f.await(waits); a.body != long {
		t.Errorf("%d bytes", len(a.body))
	}
	waits = f.goGet(query)
	o.waiting()
	o.Close(false)
	if a := f.await(waits); a.body != "1" {
		t.Errorf("%q", a.body)
	}
}

// Sessions come, talk and go in every way at once, under the race detector.
func TestStress(t *testing.T) {
	overDrivers(t, func(t *testing.T, d driver) {
		f := newFixture(t, d, Config{
			PingInterval: 20 * time.Millisecond, PingTimeout: 2 * time.Second, AllowEIO3: true,
		}, echoing)
		stop := make(chan struct{})
		var wg, casts sync.WaitGroup
		casts.Go(func() { // broadcasts to whoever is there
			frame := TextFrame([]byte("broadcast"))
			for {
				select {
				case <-stop:
					return
				default:
				}
				for _, c := range f.eio.sessions() {
					c.Send(frame, frame)
					c.Queued()
				}
			}
		})
		for worker := range 8 {
			wg.Go(func() {
				for i := range 12 {
					p, resp, err := f.tryDial(fmt.Sprintf("EIO=%d&transport=websocket", 3+i%2))
					if err != nil || resp.StatusCode != 101 {
						t.Errorf("dial: %v", err)
						return
					}
					for k := range 20 {
						_ = p.raw(maskedFrame(0x81, fmt.Appendf(nil, "4%d", k)))
					}
					switch (worker + i) % 4 {
					case 0:
						p.nc.Close()
					case 1:
						_ = p.raw(maskedFrame(0x88, nil))
						_, _ = io.Copy(io.Discard, p.nc)
					case 2:
						_ = p.raw([]byte{0xff, 0xff})
						_, _ = io.Copy(io.Discard, p.nc)
					case 3:
						(<-f.owners).Close(i%2 == 0)
						p.nc.Close()
					}
				}
			})
		}
		wg.Wait()
		close(stop)
		casts.Wait()
		f.eio.Close(true)
		wait.Until(t, "all sessions end", func() bool { return len(f.eio.sessions()) == 0 })
	})
}

// Owners that are slow now and then lose nothing, and nothing of others.
func TestSlowOwners(t *testing.T) {
	overDrivers(t, func(t *testing.T, d driver) {
		var calls atomic.Int32
		f := newFixture(t, d, Config{}, func(f *fixture) {
			f.onMsg = func(o *owner, binary bool, data []byte) {
				if calls.Add(1)%50 == 0 {
					time.Sleep(2 * pollPatience) // what a slow owner does
				}
				echo(o, binary, data)
			}
		})
		const conns, messages = 20, 100
		var wg sync.WaitGroup
		for range conns {
			p, _ := f.openWS()
			wg.Go(func() {
				for i := range messages {
					want := fmt.Sprintf("4%d", i)
					if err := p.raw(maskedFrame(0x81, []byte(want))); err != nil {
						t.Error(err)
						return
					}
					if i%3 > 0 {
						continue // several under way
					}
					for k := max(i-2, 0); k <= i; k++ {
						if _, b, err := p.read(); err != nil || string(b) != fmt.Sprintf("4%d", k) {
							t.Errorf("%q %v, want message %d", b, err, k)
							return
						}
					}
				}
			})
		}
		wg.Wait()
	})
}

// With many connections senders wait earlier, so that healthy ones do not spend the budget and are cut for it.
func TestLaggingByShareOfBudget(t *testing.T) {
	s, err := NewServer(Config{QueueSoft: 1 << 20, QueueBudget: 64 << 20}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown(t.Context())
	for _, want := range []struct{ conns, lag int }{
		{1, 1 << 20}, {32, 1 << 20}, {64, 512 << 10}, {10_000, budgetStep}, {1, 1 << 20},
	} {
		s.mu.Lock()
		s.conns = compact.Map[string, *Conn]{}
		for i := range want.conns {
			s.conns.Set(fmt.Sprint(i), nil)
		}
		s.shareLocked()
		s.mu.Unlock()
		if lag := s.lag.Load(); lag != int64(want.lag) {
			t.Errorf("%d connections: lagging from %d bytes, want %d", want.conns, lag, want.lag)
		}
	}
	s.mu.Lock()
	s.conns = compact.Map[string, *Conn]{}
	s.mu.Unlock()
}
