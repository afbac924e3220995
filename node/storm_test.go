package node_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/architus/guildcast/handlers"
	"github.com/architus/guildcast/internal/test/race"
	"github.com/architus/guildcast/internal/test/redistest"
	"github.com/architus/guildcast/internal/test/sioclient"
	"github.com/architus/guildcast/internal/test/wait"
	"github.com/architus/guildcast/node"
)

// TestReconnectStorm cuts all clients of a node but one, which come again at once, and again until they are let in. The
// node stays ready, the one that it has goes on getting events, and all come back.
func TestReconnectStorm(t *testing.T) {
	clients := stormSize(t)
	server := redistest.Start(t)
	publisher := server.Client()
	rate := float64(clients) / 4 // so that most are refused at first
	r := run(t, node.Config{Redis: server.URL(), Limits: handlers.Limits{
		Connects: rate, AddressConnects: -1, AddressConnections: -1,
	}})
	r.waitReady(t, 200)
	spectator := r.connect(t, mint(t, jwt.SigningMethodHS256, []byte(secret), 0))
	spectator.Expect("request_elevation_return")
	spectator.Emit("spectate", map[string]any{"guild_id": guild,
		"token": mint(t, jwt.SigningMethodHS256, []byte(secret), 0)})
	spectator.Expect("spectate_return")
	before := used()

	var refused atomic.Int64
	first := storm(t, r.addr, clients, &refused)
	full := used()
	refused.Store(0)
	sioclient.CloseAll(first)
	began := time.Now()
	done := make(chan []*sioclient.Conn, 1)
	go func() { done <- storm(t, r.addr, clients, &refused) }()
	var second []*sioclient.Conn
	published, slowest := 0, time.Duration(0)
	for second == nil {
		select {
		case second = <-done:
		default:
		}
		if status := r.status(t, "/readyz"); status != 200 {
			t.Errorf("in the storm /readyz answers %d", status)
		}
		sent := time.Now()
		message := fmt.Sprintf(`{"kind":"member","payload":{"n":%d}}`, published)
		if err := publisher.Publish(t.Context(), guild, message).Err(); err != nil {
			t.Fatal(err)
		}
		if got, want := string(spectator.Expect("log_pool").Arg()), fmt.Sprintf(`{"n":%d}`, published); got != want {
			t.Fatalf("the spectator got %s, want %s", got, want)
		}
		slowest = max(slowest, time.Since(sent))
		published++
	}
	t.Logf("%d clients were back after %v and %d refusals; %d events, the slowest after %v", len(second),
		time.Since(began).Round(time.Millisecond), refused.Load(), published, slowest.Round(time.Millisecond))
	if len(second) != clients || refused.Load() == 0 {
		t.Errorf("%d of %d are back, after %d refusals", len(second), clients, refused.Load())
	}
	sioclient.CloseAll(second)
	first, second = nil, nil
	// A quarter is room for what the runtime and the clients of this process keep.
	wait.Until(t, "the memory of the clients", func() bool { return used() < before+(full-before)/4+4<<20 })
	t.Logf("heap: %d KiB before, %d with all clients, %d after", before>>10, full>>10, used()>>10)
}

// stormSize returns how many clients reconnect: with GUILDCAST_STRICT_TIMES=1 (make chaos) 20,000, or as many as the
// limit of open files lets one process have that is both ends of their connections.
func stormSize(t *testing.T) int {
	if os.Getenv("GUILDCAST_STRICT_TIMES") == "" {
		if testing.Short() {
			return 300
		}
		return race.Rounds(2000, 300) // the test must be faster than rate
	}
	const most, others = 20_000, 1000 // others: files that are no client's
	return min(most, (max(openFiles(t), 2*others)-others)/2)
}

// storm connects clients, all at once and each until it is let in, and returns their connections.
func storm(t *testing.T, addr string, clients int, refused *atomic.Int64) []*sioclient.Conn {
	conns := make([]*sioclient.Conn, clients)
	var all sync.WaitGroup
	for i := range conns {
		all.Go(func() {
			for t.Context().Err() == nil {
				var err error
				if conns[i], err = sioclient.Dial(addr, sioclient.Options{}); err == nil {
					return
				}
				refused.Add(1)
				time.Sleep(200*time.Millisecond + rand.N(time.Second)) // as clients do before they try again
			}
		})
	}
	all.Wait()
	return conns
}

// used returns the bytes of the heap that are in use.
func used() int {
	runtime.GC()
	runtime.GC() // what has pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
