//go:build integration

package integration

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/internal/test/sioclient"
	"github.com/architus/guildcast/internal/test/wait"
)

// TestReconnectStorm cuts all clients of a node but one, which come again at once, and again until they are let in. The
// node stays ready, the one that it has goes on getting events, all come back, and the memory returns.
func TestReconnectStorm(t *testing.T) {
	beside(t)
	path, err := release()
	if err != nil {
		t.Fatal(err)
	}
	server := startRedis(t)
	publisher := goredis.NewClient(&goredis.Options{Addr: fmt.Sprint("127.0.0.1:", server.port)})
	t.Cleanup(func() { publisher.Close() })
	clients := stormSize(t)
	admin := fmt.Sprint("127.0.0.1:", freePort(t))
	n := startNodeOf(t, path, "node", server.url, "GUILDCAST_ADMIN_ADDR="+admin,
		// A few seconds' worth, so that most are refused at first.
		fmt.Sprint("GUILDCAST_LIMIT_CONNECTS=", min(clients/4, 1500)),
		"GUILDCAST_LIMIT_ADDRESS_CONNECTS=-1", "GUILDCAST_LIMIT_ADDRESS_CONNECTIONS=-1")
	addr := strings.TrimPrefix(n.url, "http://")
	token := mint(t, jwt.MapClaims{"guilds": guilds{guild: 0}})
	spectator := sioclient.Connect(t, addr, sioclient.Options{Auth: auth(token)})
	spectator.Expect("request_elevation_return")
	spectator.Emit("spectate", map[string]any{"guild_id": guild, "token": token})
	spectator.Expect("spectate_return")
	before := used(t, admin)

	var refused atomic.Int64
	first := storm(t, addr, clients, &refused)
	full := used(t, admin)
	refused.Store(0)
	sioclient.CloseAll(first)
	began := time.Now()
	done := make(chan []*sioclient.Conn, 1)
	go func() { done <- storm(t, addr, clients, &refused) }()
	var second []*sioclient.Conn
	published, slowest := 0, time.Duration(0)
	for second == nil {
		select {
		case second = <-done:
		default:
		}
		if status, _ := get(n.url + "/readyz"); status != http.StatusOK {
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
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("%d clients were back after %v and %d refusals; %d events, the slowest after %v", len(second),
		time.Since(began).Round(time.Millisecond), refused.Load(), published, slowest.Round(time.Millisecond))
	if len(second) != clients || refused.Load() == 0 {
		t.Errorf("%d of %d are back, after %d refusals", len(second), clients, refused.Load())
	}
	sioclient.CloseAll(second)
	// A quarter is room for what the runtime keeps.
	wait.Until(t, "the memory of the clients", func() bool { return used(t, admin) < before+(full-before)/4+4<<20 })
	t.Logf("heap: %d KiB before, %d with all clients, %d after", before>>10, full>>10, used(t, admin)>>10)
}

// stormSize returns how many clients reconnect: 2,000, with GUILDCAST_STRICT_TIMES=1 (make chaos) 20,000, or as many as
// the limit of open files lets a process have.
func stormSize(t *testing.T) int {
	most := uint64(2000)
	if strict {
		most = 20_000
	}
	const others = 200 // files that are no client's
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	return int(min(most, max(files.Cur, 2*others)-others))
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

// heapInUse is the metric of the bytes of the heap that are in use.
var heapInUse = regexp.MustCompile(`(?m)^go_memstats_heap_alloc_bytes (\S+)$`)

// used returns the bytes of the node's heap that are in use.
func used(t *testing.T, admin string) int {
	for range 2 { // the second collects what pools keep
		if status, _ := get("http://" + admin + "/debug/pprof/heap?gc=1"); status != http.StatusOK {
			t.Fatalf("the profile of the heap: %d", status)
		}
	}
	_, body := get("http://" + admin + "/metrics")
	found := heapInUse.FindStringSubmatch(body)
	if found == nil {
		t.Fatal("no metric of the heap")
	}
	n, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}
