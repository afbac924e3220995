package bus_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/internal/test/redistest"
	"github.com/architus/guildcast/internal/test/wait"
)

// states collects what OnState is told.
type states struct {
	mu  sync.Mutex
	all []bus.State
}

func newStates() *states { return &states{} }

func (s *states) add(st bus.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, st)
}

// wait waits for the i-th state.
func (s *states) wait(t *testing.T, i int) bus.State {
	t.Helper()
	wait.Until(t, fmt.Sprintf("state %d", i), func() bool { return s.count() > i })
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[i]
}

func (s *states) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// through returns a client of server whose connections go through a proxy.
func through(t *testing.T, server *redistest.Server) (*redistest.Proxy, *redis.Client) {
	t.Helper()
	p := redistest.NewProxy(t, server.Addr())
	c := redis.NewClient(&redis.Options{
		Addr: p.Addr(), MaxRetries: -1, DialTimeout: time.Second, ReadTimeout: time.Second,
	})
	t.Cleanup(func() { c.Close() })
	return p, c
}

// quick are options that notice and reconnect fast.
func quick(s *states) bus.Options {
	o := bus.Options{
		HealthInterval: 100 * time.Millisecond, BackoffMin: 2 * time.Millisecond, BackoffMax: 50 * time.Millisecond,
	}
	if s != nil {
		o.OnState = s.add
	}
	return o
}

// TestReconnects cuts the connections a hundred times: what is published after "restored" is heard, and nothing leaks.
func TestReconnects(t *testing.T) {
	server := redistest.Start(t)
	proxy, client := through(t, server)
	st := newStates()
	o := quick(st)
	o.HealthInterval = time.Minute // a busy machine must not look like a silent Redis
	b := newBus(t, client, o)
	in, pin := newInbox(), newInbox()
	sub, err := b.Subscribe(within(t), in, bus.Channel, "a", "b", "c")
	must(t, err)
	ps := b.NewSubscription(pin)
	must(t, ps.Subscribe(within(t), bus.Pattern, "p*"))
	must(t, ps.Subscribe(within(t), bus.Shard, "s"))
	if s := st.wait(t, 0); !s.Hearing || s.Gap {
		t.Fatalf("first state %+v", s)
	}
	direct := server.Client()
	before := runtime.NumGoroutine()
	for i := range 100 {
		n := st.count()
		proxy.Cut()
		for ; ; n++ {
			s := st.wait(t, n)
			if s.Hearing {
				if !s.Gap {
					t.Errorf("restored without a gap: %+v", s)
				}
				if epoch, ok := sub.Epoch(bus.Channel, "a"); !ok || epoch <= s.Doubted {
					t.Errorf("subscribed anew in epoch %d, confirmed %t: %+v", epoch, ok, s)
				}
				break
			}
			if s.Err == nil {
				t.Errorf("lost without a reason: %+v", s)
			}
		}
		for _, c := range []string{"a", "b", "c", "p1"} {
			must(t, direct.Publish(within(t), c, i).Err())
		}
		must(t, direct.SPublish(within(t), "s", i).Err())
		in.waitN(t, 3*(i+1))
		pin.waitN(t, 2*(i+1))
	}
	wait.Until(t, "goroutines are as many as before", func() bool { return runtime.NumGoroutine() <= before+5 })
	if s := b.Stats(); s.Losses < 100 || s.Connects < 101 || s.Subscriptions != 5 || s.UnconfirmedSubs != 0 {
		t.Errorf("stats %+v", s)
	}
}

// TestPublishThroughLoss publishes while connections are cut: nothing is heard twice, the order is kept, and what is
// missing was counted.
func TestPublishThroughLoss(t *testing.T) {
	server := redistest.Start(t)
	proxy, client := through(t, server)
	in := newInbox()
	listener := newBus(t, server.Client(), bus.Options{})
	_, err := listener.Subscribe(within(t), in, bus.Channel, "n")
	must(t, err)
	b := newBus(t, client, quick(nil))
	const n = 20000
	for i := range n {
		must(t, b.Publish(bus.Channel, "n", fmt.Append(nil, i)))
		if i%2000 == 1000 {
			wait.Until(t, "some are sent", func() bool { return b.Stats().Queued < 500 })
			proxy.Cut()
		}
	}
	must(t, b.Flush(within(t)))
	s := b.Stats()
	if s.Published+s.PublishUnknown != n || s.PublishDropped != 0 {
		t.Fatalf("stats %+v", s)
	}
	must(t, b.Publish(bus.Channel, "n", []byte("end")))
	ms := in.waitFor(t, "the last", func(ms []bus.Message) bool {
		return len(ms) > 0 && string(ms[len(ms)-1].Payload) == "end"
	})
	last := -1
	for _, m := range ms[:len(ms)-1] {
		var i int
		if _, err := fmt.Sscan(string(m.Payload), &i); err != nil || i <= last {
			t.Fatalf("%s after %d", m.Payload, last)
		}
		last = i
	}
	if heard := uint64(len(ms) - 1); heard < s.Published || heard > s.Published+s.PublishUnknown {
		t.Errorf("heard %d, %+v", heard, s)
	}
}

// TestRestart kills Redis and starts it again.
func TestRestart(t *testing.T) {
	server := redistest.Start(t)
	st := newStates()
	o := quick(st)
	o.PublishQueueBytes = 1000
	b := newBus(t, server.Client(), o)
	in := newInbox()
	s, err := b.Subscribe(within(t), in, bus.Channel, "a")
	must(t, err)
	st.wait(t, 0)
	server.Stop()
	if s := st.wait(t, 1); s.Hearing || !s.Gap || s.Err == nil {
		t.Errorf("lost: %+v", s)
	}
	// Publishing does not block, is bounded, and counted.
	var full, queued int
	for range 100 {
		switch err := b.Publish(bus.Channel, "a", []byte("queued")); {
		case errors.Is(err, bus.ErrQueueFull):
			full++
		case err == nil:
			queued++
		default:
			t.Fatal(err)
		}
	}
	if full == 0 || queued == 0 || b.Stats().PublishDropped != uint64(full) {
		t.Errorf("%d refused, %d queued, %+v", full, queued, b.Stats())
	}
	// A new channel can be wanted meanwhile.
	wanted := make(chan error, 1)
	go func() { wanted <- s.Subscribe(within(t), bus.Channel, "b") }()
	ctx, cancel := context.WithTimeout(within(t), 100*time.Millisecond)
	defer cancel()
	if err := s.Subscribe(ctx, bus.Channel, "c"); !errors.Is(err, context.DeadlineExceeded) ||
		!strings.Contains(err.Error(), "refused") {
		t.Errorf("subscribe without Redis: %v", err)
	}
	server.Start()
	must(t, <-wanted)
	for i := 2; ; i++ {
		if s := st.wait(t, i); s.Hearing {
			if s.Down <= 0 || !s.Gap {
				t.Errorf("restored: %+v", s)
			}
			break
		}
	}
	in.waitN(t, queued)         // they waited until we heard again
	must(t, b.Flush(within(t))) // Redis may have sent them on before it has answered us, which frees the queue
	must(t, b.Publish(bus.Channel, "b", []byte("new")))
	in.waitN(t, queued+1)
	if n, err := b.NumSub(within(t), bus.Channel, "c"); err != nil || n != 0 {
		t.Errorf("c was given up: %d, %v", n, err)
	}
}

// TestSilence stops the process of Redis: its connections stay open, and say nothing.
func TestSilence(t *testing.T) {
	server := redistest.Start(t)
	st := newStates()
	b := newBus(t, server.Client(), quick(st))
	in := newInbox()
	sub, err := b.Subscribe(within(t), in, bus.Channel, "a")
	must(t, err)
	st.wait(t, 0)
	before, _ := sub.Epoch(bus.Channel, "a")
	server.Pause()
	if s := st.wait(t, 1); s.Hearing || s.Err == nil {
		t.Errorf("silent: %+v", s)
	}
	server.Resume()
	i := 2
	for ; !st.wait(t, i).Hearing; i++ {
	}
	if s := st.wait(t, i); s.Doubted < before {
		t.Errorf("subscribed in epoch %d, before the silence: %+v", before, s)
	}
	must(t, b.Publish(bus.Channel, "a", []byte("1")))
	in.waitFor(t, "the message", func(ms []bus.Message) bool { return len(ms) > 0 })
}

// TestClientKill has Redis close the connections.
func TestClientKill(t *testing.T) {
	server := redistest.Start(t)
	st := newStates()
	b := newBus(t, server.Client(), quick(st))
	in := newInbox()
	_, err := b.Subscribe(within(t), in, bus.Channel, "a")
	must(t, err)
	st.wait(t, 0)
	must(t, b.Publish(bus.Channel, "a", []byte("0")))
	in.waitN(t, 1)
	admin := server.Client()
	for i := range 20 {
		n := st.count()
		must(t, admin.ClientKillByFilter(within(t), "TYPE", "pubsub").Err())
		must(t, admin.ClientKillByFilter(within(t), "TYPE", "normal", "SKIPME", "yes").Err())
		for ; !st.wait(t, n).Hearing; n++ {
		}
		// The idle publishing connection was killed too: that was noticed, and nothing is lost on it.
		must(t, b.Publish(bus.Channel, "a", fmt.Append(nil, i)))
		in.waitN(t, i+2)
	}
	if s := b.Stats(); s.PublishUnknown != 0 {
		t.Errorf("stats %+v", s)
	}
}

// TestACL shows what a user without rights is told.
func TestACL(t *testing.T) {
	server := redistest.Start(t)
	admin := server.Client()
	must(t, admin.Do(within(t), "acl", "setuser", "limited", "on", ">pw", "resetchannels", "&ok*", "&guildcast-probe:*",
		"+subscribe", "+psubscribe", "+unsubscribe", "+ping", "+publish", "+client", "+hello").Err())
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), Username: "limited", Password: "pw"})
	t.Cleanup(func() { client.Close() })
	st := newStates()
	b := newBus(t, client, quick(st))
	in := newInbox()
	s, err := b.Subscribe(within(t), in, bus.Channel, "ok1")
	must(t, err)
	if s := st.wait(t, 0); !s.Hearing {
		t.Errorf("state %+v", s)
	}
	if err := s.Subscribe(within(t), bus.Channel, "ok2", "secret", "ok3"); err == nil ||
		!strings.Contains(err.Error(), "NOPERM") || !strings.Contains(err.Error(), "secret") {
		t.Errorf("subscribe: %v", err)
	}
	if err := s.Subscribe(within(t), bus.Shard, "ok4"); err == nil || !strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("ssubscribe: %v", err)
	}
	must(t, s.Subscribe(within(t), bus.Channel, "ok5")) // the connection is as good as before
	must(t, b.Publish(bus.Channel, "secret", nil))
	must(t, b.Publish(bus.Channel, "ok5", []byte("5")))
	in.waitN(t, 1)
	wait.Until(t, "the refused message is counted", func() bool { return b.Stats().PublishDropped == 1 })

	// A wrong password fails at once.
	wrong := redis.NewClient(&redis.Options{Addr: server.Addr(), Username: "limited", Password: "no"})
	t.Cleanup(func() { wrong.Close() })
	if _, err := newBus(t, wrong, quick(nil)).Subscribe(within(t), in, bus.Channel, "ok1"); err == nil ||
		!strings.Contains(err.Error(), "WRONGPASS") {
		t.Errorf("wrong password: %v", err)
	}

	// A user that may not use private channels is believed to hear.
	must(t, admin.Do(within(t), "acl", "setuser", "noprobe", "on", ">pw", "resetchannels", "&ok*", "+subscribe",
		"+psubscribe", "+ping", "+hello").Err())
	noprobe := redis.NewClient(&redis.Options{Addr: server.Addr(), Username: "noprobe", Password: "pw"})
	t.Cleanup(func() { noprobe.Close() })
	st = newStates()
	_, err = newBus(t, noprobe, quick(st)).Subscribe(within(t), in, bus.Channel, "ok1")
	must(t, err)
	if s := st.wait(t, 0); !s.Hearing {
		t.Errorf("state %+v", s)
	}
}

// TestSlowHandler shows that a handler that hangs holds up the others for a bounded time only, and is told what it
// has missed.
func TestSlowHandler(t *testing.T) {
	_, client := redistest.Mini(t)
	b := newBus(t, client, bus.Options{ReceiveQueueBytes: 10000, ReceiveStall: 20 * time.Millisecond})
	release := make(chan struct{})
	slow := newInbox()
	_, err := b.Subscribe(within(t), bus.HandlerFunc(func(m bus.Message) {
		<-release
		slow.HandleMessage(m)
	}), bus.Channel, "x")
	must(t, err)
	fast := newInbox()
	_, err = b.Subscribe(within(t), fast, bus.Channel, "x")
	must(t, err)
	const n = 500
	for i := range n {
		must(t, b.Publish(bus.Channel, "x", fmt.Appendf(nil, "%0100d", i)))
	}
	fast.waitN(t, n)
	dropped := b.Stats().ReceiveDropped
	if dropped == 0 || dropped >= n {
		t.Errorf("dropped %d", dropped)
	}
	close(release)
	slow.waitN(t, n-int(dropped))
	must(t, b.Publish(bus.Channel, "x", []byte("end")))
	ms := slow.waitFor(t, "the end", func(ms []bus.Message) bool { return string(ms[len(ms)-1].Payload) == "end" })
	missed := 0
	for _, m := range ms {
		missed += m.Missed
	}
	if uint64(missed) != dropped {
		t.Errorf("told of %d, dropped %d", missed, dropped)
	}
}

// TestCloseInHandler closes a Subscription from its handler.
func TestCloseInHandler(t *testing.T) {
	_, client := redistest.Mini(t)
	b := newBus(t, client, bus.Options{})
	in := newInbox()
	var s *bus.Subscription
	s = b.NewSubscription(bus.HandlerFunc(func(m bus.Message) {
		in.HandleMessage(m)
		s.Close()
	}))
	must(t, s.Subscribe(within(t), bus.Channel, "x"))
	other := newInbox()
	_, err := b.Subscribe(within(t), other, bus.Channel, "x")
	must(t, err)
	must(t, b.Publish(bus.Channel, "x", nil))
	must(t, b.Publish(bus.Channel, "x", nil))
	other.waitN(t, 2)
	in.waitN(t, 1)
	if len(in.messages()) != 1 {
		t.Errorf("%d messages", len(in.messages()))
	}
}

// TestSentinel follows a failover.
func TestSentinel(t *testing.T) {
	primary := redistest.Start(t)
	sentinel := redistest.StartSentinel(t, primary)
	client := redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: "main", SentinelAddrs: []string{sentinel.Addr()},
	})
	t.Cleanup(func() { client.Close() })
	st := newStates()
	b := newBus(t, client, quick(st))
	in := newInbox()
	_, err := b.Subscribe(within(t), in, bus.Channel, "a")
	must(t, err)
	must(t, b.Publish(bus.Channel, "a", []byte("1")))
	in.waitN(t, 1)
	primary.Stop()
	for i := 0; st.wait(t, i).Err == nil; i++ {
	}
	primary.Start()
	n := st.count()
	for ; !st.wait(t, n-1).Hearing; n++ {
	}
	must(t, b.Publish(bus.Channel, "a", []byte("2")))
	in.waitN(t, 2)
}

// TestReasonChanges logs that Redis is back, and refuses the password, while it is still lost.
func TestReasonChanges(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	var log lockedBuffer
	o := quick(nil)
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { client.Close() })
	b := newBus(t, client, o)
	_, err := b.Subscribe(within(t), newInbox(), bus.Channel, "news")
	must(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(log.String())
		}
	})
	admin := server.Client()
	for {
		// Those that are killed are lost with an EOF, and then refused.
		_, err := admin.TxPipelined(within(t), func(p redis.Pipeliner) error {
			p.ConfigSet(t.Context(), "requirepass", "another")
			p.ClientKillByFilter(t.Context(), "TYPE", "pubsub")
			return nil
		})
		must(t, err)
		var after string
		wait.Until(t, "the refusal", func() bool {
			lines := log.String()
			after = lines[max(0, strings.LastIndex(lines, "redis lost")):]
			return strings.Contains(after, "NOAUTH")
		})
		if first, _, _ := strings.Cut(after, "\n"); !strings.Contains(first, "NOAUTH") {
			if !strings.Contains(after, "redis is still lost") {
				t.Errorf("log: %s", after)
			}
			return
		}
		// Lost before for another reason, or refused before the bus had read the EOF.
		must(t, admin.ConfigSet(within(t), "requirepass", "").Err())
		wait.Until(t, "redis heard again", func() bool { return strings.Contains(log.String(), "redis heard again") })
		log.Reset()
	}
}

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedBuffer) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Reset()
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
