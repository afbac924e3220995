//go:build linux

package main

import (
	"fmt"
	"time"

	"github.com/architus/guildcast/internal/test/sioclient"
)

func stalledCases() []benchCase {
	return []benchCase{
		{name: "20 stalled of 500: peak memory", unit: "MB", target: "<= 100 MB", noNode: true,
			run: func(s *server, _ string) (float64, error) {
				_, peak, err := withStalled(s, 20)
				return peak / 1e6, err
			},
			ok: func(_, ours float64) bool { return ours <= 100 }},
		{name: "20 stalled of 500: slowdown", unit: "x", target: "<= 1.2", noNode: true,
			run: slowdown, ok: func(_, ours float64) bool { return ours <= 1.2 }},
	}
}

// slowdown is the time that the healthy clients wait for all messages with stalled ones among them, over without.
func slowdown(s *server, _ string) (float64, error) {
	without, _, err := withStalled(s, 0)
	if err != nil {
		return 0, err
	}
	with, _, err := withStalled(s, 20)
	return with.Seconds() / without.Seconds(), err
}

// withStalled sends 20,000 messages of 1 KB to 500 clients of which some do not read. It returns how long the others
// waited for all of them, and the peak of the server's resident memory in bytes.
func withStalled(s *server, stalled int) (time.Duration, float64, error) {
	const clients, n, size = 500, 20_000, 1000
	a, err := gather(s, clients-stalled, "", true, func(int) string { return "room" })
	if err != nil {
		return 0, 0, err
	}
	defer sioclient.CloseAll(a.conns)
	blocked, err := sioclient.DialMany(s.addr, stalled, func(int) sioclient.Options {
		return sioclient.Options{Stalled: true}
	})
	if err != nil {
		return 0, 0, err
	}
	defer sioclient.CloseAll(blocked)
	for _, c := range blocked {
		if err := c.Send(`420["join","room"]`); err != nil {
			return 0, 0, err
		}
	}
	control, err := sioclient.Dial(s.addr, sioclient.Options{})
	if err != nil {
		return 0, 0, err
	}
	defer control.Close()
	time.Sleep(200 * time.Millisecond) // the stalled have no way to say that they have joined

	a.expect((clients - stalled) * n)
	begin := time.Now()
	if err := control.Send(fmt.Sprintf(`42["burst","room",%d,%d]`, n, size)); err != nil {
		return 0, 0, err
	}
	peak := 0.0
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-a.done:
			return time.Since(begin), peak, a.wait()
		case <-tick.C:
			peak = max(peak, s.rss())
			if time.Since(begin) > 3*time.Minute {
				return 0, 0, fmt.Errorf("%w: %d of %d", errTimeout, a.got.Load(), a.want)
			}
		}
	}
}
