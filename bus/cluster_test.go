package bus_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/internal/test/redistest"
	"github.com/architus/guildcast/internal/test/wait"
)

// TestReshard moves the slot of a channel while it is used.
func TestReshard(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t)
	st := newStates()
	listener := newBus(t, c.Client(), quick(st))
	speaker := newBus(t, c.Client(), quick(nil))
	in := newInbox()
	s, err := listener.Subscribe(within(t), in, bus.Shard, "{x}1", "{x}2", "other")
	must(t, err)
	must(t, s.Subscribe(within(t), bus.Channel, "plain"))
	st.wait(t, 0)
	sent := 0
	for round := range 5 {
		for i := range 50 {
			must(t, speaker.Publish(bus.Shard, fmt.Sprintf("{x}%d", i%2+1), fmt.Append(nil, sent)))
			sent++
		}
		in.waitN(t, sent)
		n := st.count()
		c.MoveSlot("{x}")
		state := st.wait(t, n)
		for ; !state.Hearing; state = st.wait(t, n) {
			n++
		}
		if !state.Gap || !state.ShardsOnly {
			t.Errorf("round %d: %+v after a slot has moved", round, state)
		}
		if n, err := listener.NumSub(within(t), bus.Shard, "{x}1"); err != nil || n != 1 {
			t.Errorf("round %d: %d subscribers, %v", round, n, err)
		}
	}
	for i := range 50 {
		must(t, speaker.Publish(bus.Shard, fmt.Sprintf("{x}%d", i%2+1), fmt.Append(nil, sent)))
		sent++
	}
	for i, m := range in.waitN(t, sent) {
		if string(m.Payload) != fmt.Sprint(i) {
			t.Fatalf("message %d is %s", i, m.Payload)
		}
	}
	must(t, speaker.Flush(within(t)))
	if s := speaker.Stats(); s.Published != uint64(sent) || s.PublishDropped+s.PublishUnknown != 0 {
		t.Errorf("stats %+v", s)
	}
	s.Close()
	wait.Until(t, "nothing is wanted", func() bool { return listener.Stats().Subscriptions == 0 })
}

// TestMovedWhilePublishing moves a slot back and forth during a burst: nothing is lost by the publisher, and the order
// is kept.
func TestMovedWhilePublishing(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t)
	b := newBus(t, c.Client(), quick(nil))
	ctx, cancel := context.WithCancel(within(t))
	done := make(chan int, 1)
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ {
			if err := b.Publish(bus.Shard, "{m}", fmt.Append(nil, n)); err != nil {
				t.Error(err)
			}
			if n%100 == 99 {
				if err := b.Flush(within(t)); err != nil {
					t.Error(err)
				}
			}
		}
		done <- n
	}()
	for range 6 {
		c.MoveSlot("{m}")
	}
	cancel()
	n := <-done
	must(t, b.Flush(within(t)))
	if s := b.Stats(); s.Published != uint64(n) || s.PublishUnknown+s.PublishDropped != 0 || s.Queued != 0 {
		t.Errorf("%d messages, %+v", n, s)
	}
}

// TestClusterLosesPrimary kills one of three: what does not depend on it goes on.
func TestClusterLosesPrimary(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t)
	for _, s := range c.Servers {
		must(t, s.Client().ConfigSet(within(t), "cluster-require-full-coverage", "no").Err())
	}
	st := newStates()
	client := c.Client()
	b := newBus(t, client, quick(st))
	in := newInbox()
	owners := map[string]string{} // a channel of each primary
	for i := 0; len(owners) < 3; i++ {
		name := fmt.Sprint("c", i)
		m, err := client.MasterForKey(within(t), name)
		must(t, err)
		if owners[m.Options().Addr] == "" {
			owners[m.Options().Addr] = name
		}
	}
	var names []string
	for _, n := range owners {
		names = append(names, n)
	}
	_, err := b.Subscribe(within(t), in, bus.Shard, names...)
	must(t, err)
	st.wait(t, 0)
	dead := c.Servers[2]
	n := st.count()
	dead.Stop()
	for ; st.wait(t, n).Hearing; n++ {
	}
	alive := 0
	for addr, name := range owners {
		must(t, b.Publish(bus.Shard, name, []byte(name)))
		if addr != dead.Addr() {
			alive++
		}
	}
	in.waitN(t, alive)
	wait.Until(t, "one message and one subscription wait", func() bool {
		s := b.Stats()
		return s.Queued == 1 && s.UnconfirmedSubs == 1
	})
	dead.Start()
	n = st.count()
	for ; !st.wait(t, n-1).Hearing; n++ {
	}
	in.waitN(t, 3)
	must(t, b.Flush(within(t)))
}

// TestForgottenServer takes the server that the bus hears from out of the cluster. It goes on answering pings, and
// hears nothing of what is published in the cluster.
func TestForgottenServer(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t)
	ctx := within(t)
	var servers []*redis.Client
	var ids []string
	for _, s := range c.Servers {
		client := s.Client()
		id, err := client.Do(ctx, "cluster", "myid").Text()
		must(t, err)
		servers, ids = append(servers, client), append(ids, id)
	}
	st := newStates()
	o := quick(st)
	o.HealthInterval = 500 * time.Millisecond
	b, in := newBus(t, c.Client(), o), newInbox()
	_, err := b.Subscribe(ctx, in, bus.Channel, "news")
	must(t, err)
	if s := st.wait(t, 0); !s.Hearing {
		t.Fatalf("first state %+v", s)
	}
	heard := -1
	for i, s := range servers {
		if n, err := s.PubSubNumSub(ctx, "news").Result(); err == nil && n["news"] == 1 {
			heard = i
		}
	}
	if heard < 0 {
		t.Fatal("no server has the subscription")
	}
	first, last := heard*16384/3, (heard+1)*16384/3-1
	for i, s := range servers {
		if i != heard {
			must(t, s.ClusterForget(ctx, ids[heard]).Err())
		}
	}
	must(t, servers[(heard+1)%3].ClusterAddSlotsRange(ctx, first, last).Err())
	n := 1
	for ; ; n++ {
		if s := st.wait(t, n); s.Hearing {
			break
		} else if !s.Gap {
			t.Errorf("lost without a gap: %+v", s)
		}
	}
	must(t, servers[(heard+1)%3].Publish(ctx, "news", "hello").Err())
	in.waitN(t, 1)
}
