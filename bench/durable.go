//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/internal/test/sioclient"
)

// durable: CPU per delivery of n durable events to clients with positions, as a multiple of plain ones to clients
// without. Both are measured three times, in turn.
func durable(s *server, addr string, n int, every time.Duration) (float64, error) {
	plain, err := spectating("")
	if err != nil {
		return 0, err
	}
	kept, err := spectating(`,"positions":true`)
	if err != nil {
		return 0, err
	}
	kept.durable = true
	var ratios []float64
	for range 3 {
		before, err := plain.cost(s, addr, n, every)
		if err != nil {
			return 0, err
		}
		cost, err := kept.cost(s, addr, n, every)
		if err != nil {
			return 0, err
		}
		ratios = append(ratios, cost/before)
	}
	slices.Sort(ratios)
	return ratios[1], nil
}

// returning: CPU per client, and the time in all, of clients that are elevated and come back to a guild at once, each
// of them n events behind. They are live when they have the events and one that was published meanwhile.
func returning(s *server, addr string, n int) (cpu float64, wall time.Duration, err error) {
	ctx := context.Background()
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	publisher := history.NewPublisher(client, history.PublisherOptions{})
	topic, pad := event.Topic{Guild: benchGuild}, strings.Repeat("x", 200)
	publish := func(i int) (history.Position, error) {
		return publisher.Publish(ctx, topic, fmt.Appendf(nil, `{"kind":"guild","payload":{"i":%d,"pad":%q}}`, i, pad))
	}
	since, err := publish(-1)
	if err != nil {
		return 0, 0, err
	}
	for i := range n {
		if _, err := publish(i); err != nil {
			return 0, 0, err
		}
	}
	way, err := spectating(`,"since":"` + since.String() + `"`)
	if err != nil {
		return 0, 0, err
	}
	a := &audience{done: make(chan struct{})}
	elevated := make(chan struct{}, audienceSize)
	cs, err := sioclient.DialMany(s.addr, audienceSize, func(int) sioclient.Options {
		next := 0
		return sioclient.Options{OnEvent: func(p []byte) {
			switch {
			case bytes.HasPrefix(p, []byte(`["request_elevation_return",{"success":true`)):
				elevated <- struct{}{}
			case bytes.HasPrefix(p, []byte(`["log_pool"`)):
				if number(p, `["log_pool",{"i":`) != next {
					a.wrong.Add(1)
				}
				next++
				a.count()
			}
		}}
	})
	if err != nil {
		return 0, 0, err
	}
	defer sioclient.CloseAll(cs)
	spectates := make([]string, len(cs))
	for i, c := range cs {
		var elevation string
		elevation, spectates[i], _ = strings.Cut(way.enter(i), "\n")
		if err := c.Send(elevation); err != nil {
			return 0, 0, err
		}
	}
	for range cs {
		select {
		case <-elevated:
		case <-time.After(30 * time.Second):
			return 0, 0, errTimeout
		}
	}
	a.expect(audienceSize * (n + 1))
	begin := time.Now()
	cpu, err = s.cpu(func() error {
		for i, c := range cs {
			if err := c.Send(spectates[i]); err != nil {
				return err
			}
		}
		if _, err := publish(n); err != nil {
			return err
		}
		return a.wait()
	})
	return cpu / audienceSize, time.Since(begin), err
}
