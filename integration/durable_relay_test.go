//go:build integration

package integration

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/internal/test/redistest"
	"github.com/architus/guildcast/internal/test/wait"
)

// relayed is a publisher that knows nothing of histories, and two relays that make durable what it publishes.
type relayed struct {
	url    string
	client *goredis.Client
	plain  *goredis.Client // the publisher's
	relays [2]*relayProcess

	numbers []int // of what was published, in order; owned by publish while that runs
}

// TestChaosDurableRelay: a publisher publishes plainly, and relays are killed, frozen and stopped, one at a time. A
// client, with positions or without, gets exactly what was published, in order, and no resync: another relay stood by.
func TestChaosDurableRelay(t *testing.T) {
	beside(t)
	server := redistest.Start(t)
	w := &relayed{url: server.URL(), client: server.Client(), plain: server.Client()}
	w.chaos(t)
}

func (w *relayed) chaos(t *testing.T) {
	length := 15 * time.Second
	if strict {
		length = time.Minute
	}
	for i := range w.relays {
		w.relays[i] = startRelay(t, i, w.url)
	}
	w.settle(t)
	n := startNode(t, "node", w.url, "GUILDCAST_TOPIC_PREFIX=gc:", "GUILDCAST_LIMIT_ADDRESS_RATE=-1")
	w.publish(t, 1)
	wait.Until(t, "the first event", func() bool {
		positions, _ := readHistory(t, w.client, failoverGuild)
		return len(positions) == 1
	})
	var followers []*resumer
	for i := range 12 {
		followers = append(followers, newResumer(t, n, failoverGuild, i%3 == 0))
	}
	stayers := []*stayer{newStayer(t, n, failoverGuild), newStayer(t, n, failoverGuild)}
	var running sync.WaitGroup
	defer running.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, r := range followers {
		running.Go(func() { r.run(ctx) })
	}
	wait.Until(t, "all spectate", func() bool {
		return !slices.ContainsFunc(followers, func(r *resumer) bool { return r.at().IsZero() })
	})
	stop := w.publishOn(t)
	begin := time.Now()
	for i := 0; i < len(relayFaults) || time.Since(begin) < length; i++ {
		w.fault(t, relayFaults[i%len(relayFaults)])
		w.settle(t)
	}
	stop()
	positions, numbers := readHistory(t, w.client, failoverGuild)
	wait.Until(t, "all is relayed", func() bool {
		positions, numbers = readHistory(t, w.client, failoverGuild)
		return len(numbers) >= len(w.numbers)
	})
	if !slices.Equal(numbers, w.numbers) {
		t.Errorf("%d events were relayed, %d were published, and they are not the same", len(numbers), len(w.numbers))
	}
	last := positions[len(positions)-1]
	wait.Until(t, "all to have the last event", func() bool {
		return !slices.ContainsFunc(followers, func(r *resumer) bool { return r.at() != last }) &&
			!slices.ContainsFunc(stayers, func(l *stayer) bool { return l.count() < len(numbers)-1 })
	})
	cancel()
	running.Wait()
	for i, r := range followers {
		if err := r.judge(positions, false); err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
	for i, l := range stayers {
		if err := l.judge(w.numbers[1:], false, false); err != nil {
			t.Errorf("%d, without positions: %v", i, err)
		}
	}
	t.Logf("%d events in %s", len(numbers), time.Since(begin))
	n.drain(t)
	for _, r := range w.relays {
		if code := r.stop(t, syscall.SIGTERM); code != 0 {
			t.Errorf("%s: exit code %d", r.name, code)
		}
	}
}

// publish publishes n events plainly. Many of them are equal.
func (w *relayed) publish(t *testing.T, n int) {
	for range n {
		number := len(w.numbers)
		if number%2 == 0 {
			number %= 6
		}
		message := fmt.Sprintf(`{"kind":"guild","payload":{"i":%d}}`, number)
		if err := w.plain.Publish(context.Background(), failoverGuild, message).Err(); err != nil {
			t.Errorf("publish: %v", err)
			return
		}
		w.numbers = append(w.numbers, number)
	}
}

// publishOn publishes events until stop is called.
func (w *relayed) publishOn(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(4 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			w.publish(t, 1)
			<-tick.C
		}
	})
	stop = func() {
		cancel()
		running.Wait()
	}
	t.Cleanup(stop)
	return stop
}

// relayFaults are what happens to a relay: the one that leads, or the one that stands by.
var relayFaults = []struct {
	leader bool
	signal syscall.Signal
}{
	{true, syscall.SIGKILL}, {false, syscall.SIGSTOP}, {true, syscall.SIGTERM}, {true, syscall.SIGSTOP},
	{false, syscall.SIGKILL}, {false, syscall.SIGTERM},
}

func (w *relayed) fault(t *testing.T, f struct {
	leader bool
	signal syscall.Signal
},
) {
	i := slices.IndexFunc(w.relays[:], func(r *relayProcess) bool { return r.leads() == f.leader })
	if i < 0 {
		t.Fatal("both relays are the same") // none was, when they had settled
	}
	r := w.relays[i]
	t.Logf("%s gets %s; it leads: %t", r.name, f.signal, f.leader)
	switch f.signal {
	case syscall.SIGSTOP:
		_ = r.cmd.Process.Signal(syscall.SIGSTOP)
		<-time.After(2500 * time.Millisecond) // longer than its lease
		_ = r.cmd.Process.Signal(syscall.SIGCONT)
	default:
		if code := r.stop(t, f.signal); f.signal == syscall.SIGTERM && code != 0 {
			t.Errorf("%s: exit code %d after SIGTERM", r.name, code)
		}
		w.relays[i] = startRelay(t, i, w.url)
	}
}

// settle waits until one relay leads and the other could take over.
func (w *relayed) settle(t *testing.T) {
	t.Helper()
	wait.Until(t, "one relay to lead and one to stand by", func() bool {
		leading := 0
		for _, r := range w.relays {
			if !r.has("ready") {
				return false
			}
			if r.leads() {
				leading++
			}
		}
		return leading == 1
	})
}

// relayProcess is a process of guildcast relay.
type relayProcess struct {
	*process
	metrics string // URL
}

func startRelay(t *testing.T, i int, redisURL string) *relayProcess {
	t.Helper()
	addr := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	return &relayProcess{
		start(t, fmt.Sprint("relay ", i), nil, nil, binary, "relay", "--redis", redisURL, "--to-prefix", "gc:",
			"--lease", "1s", "--max-entries", "1000000", "--metrics-addr", addr),
		"http://" + addr + "/metrics",
	}
}

// has reports whether a metric of the relay is 1.
func (r *relayProcess) has(name string) bool {
	_, body := get(r.metrics)
	return strings.Contains(body, "\nguildcast_relay_"+name+" 1\n")
}

func (r *relayProcess) leads() bool { return r.has("leading") }
