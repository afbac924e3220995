//go:build linux

package main

import (
	"fmt"
	"time"

	"github.com/architus/guildcast/internal/test/sioclient"
)

func leftCases() []benchCase {
	return []benchCase{{name: "8000 clients left: heap kept", unit: "%", target: "<= 5 %",
		run: func(s *server, _ string) (float64, error) { return left(s, 8000) },
		ok:  func(_, ours float64) bool { return ours <= 5 }}}
}

// left is how much of the heap that clients take is still taken when they have gone, in percent. What the runtime keeps
// of a goroutine that has ended is part of it. It fails if goroutines are left.
func left(s *server, clients int) (float64, error) {
	crowd := func(n int) (with stats, err error) {
		cs, err := sioclient.DialMany(s.addr, n, plain)
		if err != nil {
			return with, err
		}
		defer sioclient.CloseAll(cs)
		return s.settled()
	}
	if _, err := crowd(100); err != nil { // warm
		return 0, err
	}
	before, err := s.settled()
	if err != nil {
		return 0, err
	}
	with, err := crowd(clients)
	if err != nil {
		return 0, err
	}
	after, err := s.settled()
	if err != nil {
		return 0, err
	}
	if after.Goroutines > before.Goroutines {
		return 0, fmt.Errorf("%d goroutines before, %d with the clients, %d after", before.Goroutines, with.Goroutines,
			after.Goroutines)
	}
	return 100 * (after.Heap - before.Heap) / (with.Heap - before.Heap), nil
}

// settled returns what the server needs when there is nothing more that time or the collector take away: the least of
// what it says in 12 s, which is longer than a socket's id is remembered.
func (s *server) settled() (least stats, err error) {
	for range 12 {
		if err := s.gc(); err != nil {
			return least, err
		}
		st, err := s.stats()
		if err != nil {
			return least, err
		}
		if least.Heap == 0 || st.Heap < least.Heap {
			least.Heap = st.Heap
		}
		if least.Goroutines == 0 || st.Goroutines < least.Goroutines {
			least.Goroutines = st.Goroutines
		}
		time.Sleep(time.Second)
	}
	return least, nil
}
