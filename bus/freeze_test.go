package bus_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/internal/redisurl"
	"github.com/architus/guildcast/internal/test/redistest"
	"github.com/architus/guildcast/internal/test/wait"
)

// ledger has what was published and what a Bus made of it.
type ledger struct {
	mu       sync.Mutex
	accepted map[string]time.Time // by message that Redis accepted, when it was sent
	heard    map[string]bool
	gaps     []time.Time // when the Bus said that it hears again, and may have missed something
	states   []string
}

func (l *ledger) HandleMessage(m bus.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard[string(m.Payload)] = true
}

func (l *ledger) changed(s bus.State) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.states = append(l.states, fmt.Sprintf("%s %+v", time.Now().Format("05.000"), s))
	if s.Hearing && s.Gap {
		l.gaps = append(l.gaps, time.Now())
	}
}

// publish publishes messages that begin with name through what client returns, until ctx ends.
func (l *ledger) publish(ctx context.Context, name string, client func() redis.UniversalClient) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ctx.Err() == nil; i++ {
		text := name + " " + strconv.Itoa(i)
		sent := time.Now()
		if client().Publish(context.WithoutCancel(ctx), "news", text).Err() == nil {
			l.mu.Lock()
			l.accepted[text] = sent
			l.mu.Unlock()
		}
		<-tick.C
	}
}

// missing returns what Redis had accepted and has not come: how much, and that for which no gap was announced after it
// was sent. (A frozen server accepts, once it goes on, what was sent to it long before. What a message tells was so
// when it was sent, and who asks upon a gap sees it.)
func (l *ledger) missing() (lost int, silently []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for text, at := range l.accepted {
		if l.heard[text] {
			continue
		}
		lost++
		if !slices.ContainsFunc(l.gaps, at.Before) {
			silently = append(silently, text)
		}
	}
	slices.Sort(silently)
	return lost, silently
}

// judge expects that nothing was lost without a word, and one announcement at most.
func (l *ledger) judge(t *testing.T) {
	t.Helper()
	lost, silently := l.missing()
	// the last are on their way
	for end := time.Now().Add(3 * time.Second); len(silently) > 0 && time.Now().Before(end); {
		<-time.After(50 * time.Millisecond)
		lost, silently = l.missing()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	t.Logf("%d of %d messages were lost, and %d gaps announced", lost, len(l.accepted), len(l.gaps))
	if len(silently) > 0 {
		t.Errorf("%d were lost without a word, such as %q", len(silently), silently[:min(len(silently), 5)])
	}
	if len(l.gaps) > 1 {
		t.Errorf("%d gaps for one event", len(l.gaps))
	}
	if t.Failed() {
		t.Log(strings.Join(l.states, "\n"))
	}
}

// TestClusterFreezes freezes a primary of a cluster for some seconds, while messages are published through it and
// through others. They drop what they have queued for it when they give up a connection, and may put its replica in its
// place.
func TestClusterFreezes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		d           time.Duration
		nodeTimeout string
		heard       bool // freeze the server that the Bus hears from
	}{
		{"3 s", 3 * time.Second, "2000", true},
		{"6 s", 6 * time.Second, "2000", true},
		{"4 s, no failover", 4 * time.Second, "5000", true},
		{"4 s, another", 4 * time.Second, "2000", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cluster := redistest.StartReplicatedCluster(t, "--cluster-node-timeout", c.nodeTimeout)
			publishers := map[string]func() redis.UniversalClient{}
			for _, s := range cluster.Servers {
				client := s.Client()
				publishers[s.Addr()] = func() redis.UniversalClient { return client }
			}
			l := freezes(t, cluster.URL(), publishers, func() *redistest.Server {
				for _, s := range cluster.Servers {
					n, err := s.Client().PubSubNumSub(within(t), "news").Result()
					must(t, err)
					if (n["news"] == 1) == c.heard {
						return s
					}
				}
				t.Fatal("nobody has the subscription, or everybody")
				return nil
			}, c.d)
			if n := len(l.gaps); !c.heard && n > 0 {
				t.Errorf("%d gaps, though another server was frozen", n)
			}
		})
	}
}

// TestSentinelFreezes freezes a primary that Sentinels watch: they may put its replica in its place.
func TestSentinelFreezes(t *testing.T) {
	t.Parallel()
	for _, d := range []time.Duration{3 * time.Second, 6 * time.Second} {
		t.Run(d.String(), func(t *testing.T) {
			t.Parallel()
			primary := redistest.Start(t)
			redistest.StartReplica(t, primary)
			var addrs []string
			for _, s := range redistest.StartSentinels(t, primary, 3, 1) {
				addrs = append(addrs, s.Addr())
			}
			url := "redis+sentinel://" + strings.Join(addrs, ",") + "/main"
			publisher, err := redisurl.Connect(url)
			must(t, err)
			t.Cleanup(func() { publisher.Close() })
			client := func() redis.UniversalClient {
				publisher.Renew(time.Now()) // so that it asks the Sentinels again: nobody else does that for it
				return publisher.Client
			}
			freezes(t, url, map[string]func() redis.UniversalClient{"sentinel": client},
				func() *redistest.Server { return primary }, d)
		})
	}
}

// freezes has a Bus hear while the server of choice is frozen for d: nothing may be lost without a word, and no more
// than one gap announced.
func freezes(
	t *testing.T, url string, publishers map[string]func() redis.UniversalClient, choice func() *redistest.Server,
	d time.Duration,
) *ledger {
	conn, err := redisurl.Connect(url)
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	l := &ledger{accepted: map[string]time.Time{}, heard: map[string]bool{}}
	b := newBus(t, conn.Client, bus.Options{OnMoved: conn.Renew, OnState: l.changed})
	_, err = b.Subscribe(within(t), l, bus.Channel, "news")
	must(t, err)
	server := choice()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var publishing sync.WaitGroup
	for name, client := range publishers {
		publishing.Go(func() { l.publish(ctx, name, client) })
	}
	wait.Until(t, "messages to come", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.heard) > 100
	})
	server.Pause()
	<-time.After(d)
	server.Resume()
	// Whether a failover was under way shows within this time, and when the Bus has heard of it.
	<-time.After(8 * time.Second)
	wait.Until(t, "the bus to hear", func() bool { return b.State().Hearing })
	cancel()
	publishing.Wait()
	l.judge(t)
	return l
}
