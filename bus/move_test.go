package bus_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/internal/redisurl"
	"github.com/architus/guildcast/internal/test/redistest"
	"github.com/architus/guildcast/internal/test/wait"
)

// moving is a Bus whose Redis will move.
type moving struct {
	*bus.Bus
	in     *inbox
	states *states
}

func newMoving(t *testing.T, client redis.UniversalClient, o bus.Options) *moving {
	t.Helper()
	m := &moving{in: newInbox(), states: newStates()}
	o.OnState = m.states.add
	m.Bus = newBus(t, client, o)
	_, err := m.Subscribe(within(t), m.in, bus.Channel, "news")
	must(t, err)
	must(t, m.Publish(bus.Channel, "news", []byte("before")))
	m.in.waitN(t, 1)
	return m
}

// follows expects the Bus to notice that to is the primary now, to say that it may have missed something, and to hear
// and to publish there.
func (m *moving) follows(t *testing.T, to *redistest.Server) {
	t.Helper()
	known, seen := time.Now(), 0
	lost := func() bool {
		m.states.mu.Lock()
		defer m.states.mu.Unlock()
		for ; seen < len(m.states.all); seen++ {
			if s := m.states.all[seen]; !s.Hearing && s.Gap {
				return true
			}
		}
		return false
	}
	wait.Until(t, "the loss to be announced", lost)
	t.Logf("not believed to hear after %v", time.Since(known))
	wait.Until(t, "the bus to hear again", func() bool { s := m.State(); return s.Hearing && s.Gap })
	t.Logf("hears again after %v", time.Since(known))
	inTime(t, known)
	client := to.Client()
	if n, err := client.PubSubNumSub(within(t), "news").Result(); err != nil || n["news"] != 1 {
		t.Errorf("subscribers there: %v, %v", n, err)
	}
	listener, heard := newBus(t, client, bus.Options{}), newInbox()
	_, err := listener.Subscribe(within(t), heard, bus.Channel, "news")
	must(t, err)
	must(t, m.Publish(bus.Channel, "news", []byte("after")))
	last := func(ms []bus.Message) bool { return len(ms) > 0 && string(ms[len(ms)-1].Payload) == "after" }
	heard.waitFor(t, "what was published to arrive there", last)
	m.in.waitFor(t, "what was published there to be heard", last)
}

// inTime fails the test if it is too late since known for a Bus to hear again, or to say that it does not. With
// GUILDCAST_STRICT_TIMES=1 (make chaos, on a machine with nothing else to do) the time is the one that users are
// promised.
func inTime(t *testing.T, known time.Time) {
	t.Helper()
	limit := 30 * time.Second
	if os.Getenv("GUILDCAST_STRICT_TIMES") != "" {
		limit = 3 * time.Second
	}
	if took := time.Since(known); took > limit {
		t.Errorf("it took %v", took)
	}
}

// TestEndpointMoves has an address lead to another server, while the old connections and the old server live on.
func TestEndpointMoves(t *testing.T) {
	t.Parallel()
	for name, rights := range map[string][]string{
		"and says who it is": {"+@all"},
		"and says nothing":   {"+@all", "-info", "-role"},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"--user", "app", "on", ">pw", "~*", "&*"}, rights...)
			from, to := redistest.Start(t, args...), redistest.Start(t, args...)
			proxy := redistest.NewProxy(t, from.Addr())
			conn, err := redisurl.Connect("redis://app:pw@" + proxy.Addr())
			must(t, err)
			t.Cleanup(func() { conn.Close() })
			must(t, conn.Client.Set(within(t), "where", "there", 0).Err())
			m := newMoving(t, conn.Client, bus.Options{OnMoved: conn.Renew})
			proxy.Retarget(to.Addr())
			m.follows(t, to)
			// The pool of the client follows as well.
			wait.Until(t, "the client to follow", func() bool {
				return conn.Client.Exists(within(t), "where").Val() == 0
			})
		})
	}
}

// TestPublisherMoves has an address lead to another server for a Bus that subscribes to nothing.
func TestPublisherMoves(t *testing.T) {
	from, to := redistest.Start(t), redistest.Start(t)
	proxy := redistest.NewProxy(t, from.Addr())
	client := redis.NewClient(&redis.Options{Addr: proxy.Addr()})
	t.Cleanup(func() { client.Close() })
	b := newBus(t, client, bus.Options{CheckInterval: 50 * time.Millisecond})
	must(t, b.Publish(bus.Channel, "news", nil))
	must(t, b.Flush(within(t)))
	heard := newInbox()
	_, err := newBus(t, to.Client(), bus.Options{}).Subscribe(within(t), heard, bus.Channel, "news")
	must(t, err)
	proxy.Retarget(to.Addr())
	wait.Until(t, "a message to arrive at the new server", func() bool {
		must(t, b.Publish(bus.Channel, "news", nil))
		return len(heard.messages()) > 0
	})
}

// TestReplicaIsNotHeard has an address lead to a replica, and then to the primary.
func TestReplicaIsNotHeard(t *testing.T) {
	primary := redistest.Start(t)
	replica := redistest.StartReplica(t, primary)
	proxy := redistest.NewProxy(t, replica.Addr())
	client := redis.NewClient(&redis.Options{Addr: proxy.Addr()})
	t.Cleanup(func() { client.Close() })
	st := newStates()
	b := newBus(t, client, quick(st))
	s := b.NewSubscription(newInbox())
	pending := s.Want(bus.Channel, "news")
	if s := st.wait(t, 0); s.Hearing || !strings.Contains(s.Err.Error(), "replica") {
		t.Errorf("state %+v", s)
	}
	proxy.Retarget(primary.Addr())
	must(t, pending.Wait(within(t)))
	wait.Until(t, "the bus to hear", func() bool { return b.State().Hearing })
}

// TestDemoted has the server that an address leads to become a replica.
func TestDemoted(t *testing.T) {
	t.Parallel()
	for name, rights := range map[string][]string{
		"known by its run": {"+@all"}, "known by its role": {"+@all", "-info"},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"--user", "app", "on", ">pw", "~*", "&*"}, rights...)
			from, to := redistest.Start(t, args...), redistest.Start(t, args...)
			proxy := redistest.NewProxy(t, from.Addr())
			client := redis.NewClient(&redis.Options{Addr: proxy.Addr(), Username: "app", Password: "pw"})
			t.Cleanup(func() { client.Close() })
			m := newMoving(t, client, bus.Options{})
			host, port, _ := strings.Cut(to.Addr(), ":")
			must(t, from.Client().ReplicaOf(within(t), host, port).Err())
			wait.Until(t, "the bus not to be believed", func() bool { s := m.State(); return !s.Hearing && s.Gap })
			proxy.Retarget(to.Addr())
			m.follows(t, to)
		})
	}
}

// TestSentinelMoves has Sentinels name another primary.
func TestSentinelMoves(t *testing.T) {
	for name, move := range map[string]func(t *testing.T, primary *redistest.Server, sentinels []*redistest.Server){
		"told to": func(t *testing.T, _ *redistest.Server, sentinels []*redistest.Server) {
			c := redis.NewSentinelClient(&redis.Options{Addr: sentinels[0].Addr()})
			defer c.Close()
			must(t, c.Failover(within(t), "main").Err())
		},
		"frozen": func(_ *testing.T, primary *redistest.Server, _ []*redistest.Server) { primary.Pause() },
		// The Sentinels, and the replica, can't reach the primary any more; it serves whom it knows.
		"partitioned": func(t *testing.T, primary *redistest.Server, _ []*redistest.Server) {
			c := primary.Client()
			must(t, c.Do(within(t), "acl", "setuser", "default", "off").Err())
			_ = c.ClientKillByFilter(within(t), "user", "default", "skipme", "no").Err()
		},
		// One Sentinel does not answer: that which go-redis would ask, perhaps.
		"told to, one Sentinel frozen": func(t *testing.T, _ *redistest.Server, sentinels []*redistest.Server) {
			sentinels[2].Pause()
			c := redis.NewSentinelClient(&redis.Options{Addr: sentinels[0].Addr()})
			defer c.Close()
			must(t, c.Failover(within(t), "main").Err())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			user := []string{"--user", "app", "on", ">pw", "~*", "&*", "+@all"}
			primary := redistest.Start(t, user...)
			replica := redistest.StartReplica(t, primary, user...)
			sentinels := redistest.StartSentinels(t, primary, 3, 1)
			var addrs []string
			for _, s := range sentinels {
				addrs = append(addrs, s.Addr())
			}
			conn, err := redisurl.Connect("redis+sentinel://app:pw@" + strings.Join(addrs, ",") + "/main")
			must(t, err)
			t.Cleanup(func() { conn.Close() })
			m := newMoving(t, conn.Client, bus.Options{OnMoved: conn.Renew})
			move(t, primary, sentinels)
			wait.Until(t, "the replica to be promoted", func() bool {
				role, err := replica.Client().Do(within(t), "role").Slice()
				return err == nil && role[0] == "master"
			})
			m.follows(t, replica)
			must(t, conn.Client.Set(within(t), "written", "there", 0).Err())
			if v, err := replica.Client().Get(within(t), "written").Result(); v != "there" {
				t.Errorf("the client wrote elsewhere: %v", err)
			}
		})
	}
}

// TestClusterFailover has the replicas of a cluster made primaries, one after the other, as an operator does: whoever
// is subscribed at a demoted server changes over, and is counted all the time.
func TestClusterFailover(t *testing.T) {
	t.Parallel()
	c := redistest.StartReplicatedCluster(t)
	conn, err := redisurl.Connect(c.URL())
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	m := newMoving(t, conn.Client, bus.Options{OnMoved: conn.Renew})
	sharded := newInbox()
	_, err = m.Subscribe(within(t), sharded, bus.Shard, "a", "b", "c", "d", "e", "f") // of all primaries
	must(t, err)
	for i := range c.Servers {
		c.Failover(i)
		demoted := c.Replicas[i].Client()
		wait.Until(t, "the former primary to know that it is a replica", func() bool {
			role, err := demoted.Do(within(t), "role").Slice()
			return err == nil && role[0] == "slave"
		})
		known := time.Now()
		again := false // what a replica hears may have gaps
		wait.Until(t, "the demoted server to be left", func() bool {
			n, err := demoted.PubSubNumPat(within(t)).Result()
			must(t, err)
			names, err := demoted.PubSubChannels(within(t), "*").Result()
			must(t, err)
			shards, err := demoted.PubSubShardChannels(within(t), "*").Result()
			must(t, err)
			again = again || len(shards) > 0
			return n == 0 && len(names) == 0 && len(shards) == 0
		})
		if again {
			t.Errorf("failover %d: sharded channels were subscribed to at the replica again", i)
		}
		wait.Until(t, "the bus to hear", func() bool { return m.State().Hearing })
		t.Logf("failover %d: left and heard after %v", i, time.Since(known))
		inTime(t, known)
		for _, channel := range []string{"a", "b", "c", "d", "e", "f"} {
			wait.Until(t, channel+" to be counted", func() bool {
				n, err := m.NumSub(within(t), bus.Shard, channel)
				return err == nil && n == 1
			})
			before := len(sharded.messages())
			must(t, m.Bus.Publish(bus.Shard, channel, []byte("x")))
			sharded.waitN(t, before+1)
		}
		before := len(m.in.messages())
		must(t, conn.Client.Publish(within(t), "news", "x").Err())
		m.in.waitN(t, before+1)
		if n, err := m.NumSub(within(t), bus.Channel, "news"); n != 1 || err != nil && !errors.Is(err, bus.ErrPartial) {
			t.Errorf("%d subscribers, %v", n, err)
		}
	}
	m.states.mu.Lock()
	defer m.states.mu.Unlock()
	gaps := 0
	for _, s := range m.states.all {
		if s.Gap && !s.Hearing {
			gaps++
		}
	}
	if gaps == 0 {
		t.Errorf("no gap was announced: %+v", m.states.all)
	}
}

// TestDeafClusterServer has the server that the bus hears from get nothing of what is published in the cluster, while
// all its connections live and all is well otherwise.
func TestDeafClusterServer(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, "--enable-debug-command", "yes")
	m := newMoving(t, c.Client(), bus.Options{})
	heard := 0
	for i, s := range c.Servers {
		if n, err := s.Client().PubSubNumSub(within(t), "news").Result(); err == nil && n["news"] == 1 {
			heard = i
		}
	}
	const publish = "4" // the type of packet
	must(t, c.Servers[heard].Client().Do(within(t), "debug", "drop-cluster-packet-filter", publish).Err())
	known := time.Now()
	wait.Until(t, "the loss to be announced", func() bool { s := m.State(); return s.Gap })
	t.Logf("not believed to hear after %v", time.Since(known))
	inTime(t, known)
	wait.Until(t, "the bus to hear again", func() bool { return m.State().Hearing })
	t.Logf("hears again after %v", time.Since(known))
	before := len(m.in.messages())
	must(t, c.Servers[(heard+1)%3].Client().Publish(within(t), "news", "x").Err())
	m.in.waitN(t, before+1)
}
