package bus_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/internal/test/redistest"
	"github.com/architus/guildcast/internal/test/wait"
)

func TestMain(m *testing.M) { redistest.Main(m) }

const patience = time.Minute

// newBus returns a Bus that is closed when the test ends.
func newBus(t *testing.T, client redis.UniversalClient, o bus.Options) *bus.Bus {
	t.Helper()
	if testing.Verbose() && os.Getenv("BUS_LOG") != "" {
		o.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	b := bus.New(client, o)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := b.Close(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("close: %v", err)
		}
	})
	return b
}

// inbox collects messages.
type inbox struct {
	mu  sync.Mutex
	all []bus.Message
}

func newInbox() *inbox { return &inbox{} }

func (in *inbox) HandleMessage(m bus.Message) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.all = append(in.all, m)
}

func (in *inbox) messages() []bus.Message {
	in.mu.Lock()
	defer in.mu.Unlock()
	return append([]bus.Message(nil), in.all...)
}

// waitFor waits until the messages satisfy ok.
func (in *inbox) waitFor(t *testing.T, what string, ok func([]bus.Message) bool) (ms []bus.Message) {
	t.Helper()
	wait.Until(t, what, func() bool { ms = in.messages(); return ok(ms) })
	return ms
}

func (in *inbox) waitN(t *testing.T, n int) []bus.Message {
	t.Helper()
	return in.waitFor(t, fmt.Sprintf("%d messages", n), func(ms []bus.Message) bool { return len(ms) >= n })
}

// calm is for tests that have no use for a loss, which a Bus with the defaults suspects where a busy machine has kept
// it or Redis waiting for seconds.
var calm = bus.Options{HealthInterval: patience / 2}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestConformance(t *testing.T) {
	for name, test := range map[string]func(*testing.T, redis.UniversalClient){
		"delivers":                     testDelivers,
		"order over all channels":      testOrder,
		"reference counts":             testReferences,
		"unsubscribe and back":         testChurn,
		"filter":                       testFilter,
		"counts subscribers":           testNumSub,
		"many channels in one call":    testMany,
		"confirmed means heard":        testConfirmed,
		"odd names and large payloads": testOdd,
	} {
		t.Run(name, func(t *testing.T) { redistest.Each(t, test) })
	}
}

func testDelivers(t *testing.T, client redis.UniversalClient) {
	b := newBus(t, client, calm)
	in, pin := newInbox(), newInbox()
	_, err := b.Subscribe(within(t), in, bus.Channel, "a", "b")
	must(t, err)
	_, err = b.Subscribe(within(t), pin, bus.Pattern, "a*")
	must(t, err)
	must(t, b.Publish(bus.Channel, "a", []byte("1")))
	must(t, b.Publish(bus.Channel, "nobody", []byte("2")))
	must(t, b.Publish(bus.Channel, "b", []byte("")))
	must(t, b.Publish(bus.Channel, "abc", []byte("4")))
	ms := in.waitN(t, 2)
	if ms[0].Channel != "a" || string(ms[0].Payload) != "1" || ms[1].Channel != "b" || len(ms[1].Payload) != 0 {
		t.Errorf("got %+v", ms)
	}
	ms = pin.waitN(t, 2)
	if ms[0].Channel != "a" || ms[0].Pattern != "a*" || ms[1].Channel != "abc" || string(ms[1].Payload) != "4" {
		t.Errorf("got %+v", ms)
	}
	must(t, b.Flush(within(t)))
	if s := b.Stats(); s.Published != 4 || s.Received != 4 || s.Queued != 0 || s.QueuedBytes != 0 ||
		s.Subscriptions != 3 {
		t.Errorf("stats %+v", s)
	}
}

func testOrder(t *testing.T, client redis.UniversalClient) {
	testOrderOf(t, client, "z1", bus.Channel)
}

// TestOrderWithPatterns is not for miniredis, which has a queue for channels and another for patterns.
func TestOrderWithPatterns(t *testing.T) {
	redistest.Real(t, func(t *testing.T, client redis.UniversalClient) {
		testOrderOf(t, client, "z*", bus.Pattern)
	})
}

func testOrderOf(t *testing.T, client redis.UniversalClient, z string, k bus.Kind) {
	b := newBus(t, client, calm)
	in := newInbox()
	sub := b.NewSubscription(in)
	must(t, sub.Subscribe(within(t), bus.Channel, "x", "y"))
	must(t, sub.Subscribe(within(t), k, z))
	const n = 3000
	for i := range n {
		must(t, b.Publish(bus.Channel, []string{"x", "y", "z1"}[i%3], fmt.Append(nil, i)))
	}
	for i, m := range in.waitN(t, n) {
		if string(m.Payload) != fmt.Sprint(i) {
			t.Fatalf("message %d is %s", i, m.Payload)
		}
	}
}

func testReferences(t *testing.T, client redis.UniversalClient) {
	b := newBus(t, client, calm)
	in1, in2 := newInbox(), newInbox()
	s1, err := b.Subscribe(within(t), in1, bus.Channel, "r", "r")
	must(t, err)
	s2, err := b.Subscribe(within(t), in2, bus.Channel, "r")
	must(t, err)
	s1.Unsubscribe(bus.Channel, "r")
	must(t, b.Publish(bus.Channel, "r", []byte("both")))
	in1.waitN(t, 1)
	in2.waitN(t, 1)
	s1.Unsubscribe(bus.Channel, "r")
	must(t, b.Publish(bus.Channel, "r", []byte("second")))
	in2.waitN(t, 2)
	if n := len(in1.messages()); n != 1 {
		t.Errorf("given up, and %d messages", n)
	}
	s2.Close()
	s2.Close()
	wait.Until(t, "unsubscribed", func() bool {
		n, err := b.NumSub(within(t), bus.Channel, "r")
		return err == nil && n == 0
	})
	if err := s2.Subscribe(within(t), bus.Channel, "r"); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("subscribe after close: %v", err)
	}
	if s := b.Stats(); s.Subscriptions != 0 || s.UnconfirmedSubs != 0 {
		t.Errorf("stats %+v", s)
	}
}

func testChurn(t *testing.T, client redis.UniversalClient) {
	b := newBus(t, client, calm)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 30 {
				in := newInbox()
				name := fmt.Sprint("churn", (g+i)%4)
				s, err := b.Subscribe(within(t), in, bus.Channel, name)
				if err != nil {
					t.Error(err)
					return
				}
				if err := b.Publish(bus.Channel, name, fmt.Append(nil, g, i)); err != nil {
					t.Error(err)
				}
				in.waitFor(t, "own message", func(ms []bus.Message) bool {
					for _, m := range ms {
						if string(m.Payload) == fmt.Sprint(g, i) {
							return true
						}
					}
					return false
				})
				s.Close()
			}
		})
	}
	wg.Wait()
	wait.Until(t, "nothing is left", func() bool { s := b.Stats(); return s.Subscriptions == 0 })
}

type filter struct {
	*inbox
	no string
}

func (f filter) Wants(channel string) bool { return channel != f.no }

func testFilter(t *testing.T, client redis.UniversalClient) {
	b := newBus(t, client, calm)
	in := newInbox()
	_, err := b.Subscribe(within(t), filter{in, "f2"}, bus.Pattern, "f*")
	must(t, err)
	must(t, b.Publish(bus.Channel, "f2", []byte("no")))
	must(t, b.Publish(bus.Channel, "f1", []byte("yes")))
	ms := in.waitN(t, 1)
	if len(ms) != 1 || ms[0].Channel != "f1" {
		t.Errorf("got %+v", ms)
	}
	if n := b.Stats().ReceiveSkipped; n != 1 {
		t.Errorf("skipped %d", n)
	}
}

func testNumSub(t *testing.T, client redis.UniversalClient) {
	for i := range 3 {
		b := newBus(t, client, calm)
		_, err := b.Subscribe(within(t), newInbox(), bus.Channel, "count")
		must(t, err)
		if n, err := b.NumSub(within(t), bus.Channel, "count"); err != nil || n != i+1 {
			t.Errorf("count %d, %v", n, err)
		}
	}
}

func testMany(t *testing.T, client redis.UniversalClient) {
	b := newBus(t, client, calm)
	in := newInbox()
	var names []string
	for i := range 2000 {
		names = append(names, fmt.Sprint("many", i))
	}
	s, err := b.Subscribe(within(t), in, bus.Channel, names...)
	must(t, err)
	for _, n := range names {
		must(t, b.Publish(bus.Channel, n, []byte(n)))
	}
	in.waitN(t, len(names))
	s.Unsubscribe(bus.Channel, names...)
	wait.Until(t, "given up", func() bool {
		n, err := b.NumSub(within(t), bus.Channel, "many1999")
		return err == nil && n == 0
	})
}

func testConfirmed(t *testing.T, client redis.UniversalClient) {
	b := newBus(t, client, calm)
	for i := range 50 {
		in := newInbox()
		name := fmt.Sprint("confirmed", i)
		s, err := b.Subscribe(within(t), in, bus.Channel, name)
		must(t, err)
		must(t, client.Publish(within(t), name, "x").Err())
		in.waitN(t, 1)
		s.Close()
	}
}

func testOdd(t *testing.T, client redis.UniversalClient) {
	b := newBus(t, client, bus.Options{MaxMessageBytes: 1 << 20})
	in := newInbox()
	names := []string{
		"sp ace", "", "nul\x00\r\n", "ü{}*", strings.Repeat("long", 1000), strings.Repeat("very long", 20_000),
	}
	_, err := b.Subscribe(within(t), in, bus.Channel, names...)
	must(t, err)
	big := make([]byte, 1<<20)
	for _, n := range names {
		must(t, b.Publish(bus.Channel, n, append(big, 1))) // skipped
		must(t, b.Publish(bus.Channel, n, big))
	}
	for i, m := range in.waitN(t, len(names)) {
		if m.Channel != names[i] || len(m.Payload) != len(big) {
			t.Errorf("%d: %.20q with %d bytes", i, m.Channel, len(m.Payload))
		}
	}
	if n := b.Stats().ReceiveDropped; n != uint64(len(names)) {
		t.Errorf("dropped %d", n)
	}
}

func TestSharded(t *testing.T) {
	redistest.Real(t, func(t *testing.T, client redis.UniversalClient) {
		b := newBus(t, client, calm)
		in := newInbox()
		var names []string
		for i := range 100 {
			names = append(names, fmt.Sprint("s", i))
		}
		s, err := b.Subscribe(within(t), in, bus.Shard, names...)
		must(t, err)
		for i := range 20 {
			for _, n := range names {
				must(t, b.Publish(bus.Shard, n, fmt.Append(nil, i)))
			}
		}
		next := map[string]int{}
		for _, m := range in.waitN(t, 20*len(names)) {
			if string(m.Payload) != fmt.Sprint(next[m.Channel]) {
				t.Fatalf("%s: %s instead of %d", m.Channel, m.Payload, next[m.Channel])
			}
			next[m.Channel]++
		}
		if n, err := b.NumSub(within(t), bus.Shard, "s7"); err != nil || n != 1 {
			t.Errorf("count %d, %v", n, err)
		}
		wait.Until(t, "hears", func() bool { return b.State().Hearing })
		s.Unsubscribe(bus.Shard, names...)
		wait.Until(t, "given up", func() bool {
			n, err := b.NumSub(within(t), bus.Shard, "s7")
			return err == nil && n == 0
		})
	})
}

func TestClosed(t *testing.T) {
	_, client := redistest.Mini(t)
	b := bus.New(client, bus.Options{})
	s := b.NewSubscription(newInbox())
	must(t, s.Subscribe(within(t), bus.Channel, "a"))
	must(t, b.Publish(bus.Channel, "a", nil))
	must(t, b.Close(within(t)))
	if err := b.Publish(bus.Channel, "a", nil); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("publish: %v", err)
	}
	if err := s.Subscribe(within(t), bus.Channel, "b"); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("subscribe: %v", err)
	}
	if _, err := b.Subscribe(within(t), newInbox(), bus.Channel, "b"); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("subscribe: %v", err)
	}
	if _, err := b.NumSub(within(t), bus.Channel, "b"); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("count: %v", err)
	}
	if s := b.Stats(); s.Published != 1 || s.PublishDropped != 1 {
		t.Errorf("stats %+v", s)
	}
	must(t, b.Close(within(t)))
}

func TestUnsupportedClient(t *testing.T) {
	_, client := redistest.Mini(t)
	b := newBus(t, struct{ redis.UniversalClient }{client}, bus.Options{})
	if _, err := b.Subscribe(within(t), newInbox(), bus.Channel, "a"); !errors.Is(err, bus.ErrUnsupported) {
		t.Errorf("subscribe: %v", err)
	}
	if err := b.Publish(bus.Channel, "a", nil); !errors.Is(err, bus.ErrUnsupported) {
		t.Errorf("publish: %v", err)
	}
}

func TestWant(t *testing.T) {
	server := redistest.Start(t)
	server.Stop()
	b := newBus(t, server.Client(), bus.Options{})
	in := newInbox()
	s := b.NewSubscription(in)
	p := s.Want(bus.Channel, "w")
	ctx, cancel := context.WithTimeout(within(t), 50*time.Millisecond)
	defer cancel()
	if err := p.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("wait: %v", err)
	}
	if p.Done() {
		t.Error("done without Redis")
	}
	server.Start()
	must(t, p.Wait(within(t)))
	must(t, b.Publish(bus.Channel, "w", []byte("1")))
	in.waitN(t, 1)
	s.Close()
	if err := s.Want(bus.Channel, "w").Wait(within(t)); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("want after close: %v", err)
	}
}
