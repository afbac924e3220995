package handlers_test

import (
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/architus/guildcast/internal/test/wait"
)

// heap returns the bytes of the heap in use.
func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what the first one finalized
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// scheduled returns about an eighth of how many times goroutines were scheduled.
func scheduled() (sum uint64) {
	sample := []metrics.Sample{{Name: "/sched/latencies:seconds"}}
	metrics.Read(sample)
	for _, n := range sample[0].Value.Float64Histogram().Counts {
		sum += n
	}
	return sum
}

// idle waits until hardly any goroutine runs for a while.
func idle(t *testing.T, what string) {
	t.Helper()
	wait.Until(t, what, func() bool {
		before := scheduled()
		time.Sleep(300 * time.Millisecond) // the time that is looked at
		return scheduled()-before < 20
	})
}

// Requests of a socket that does not read hold their cursors in the pool, and not their answers. While they wait,
// nothing runs.
func TestAnswersThatWaitHoldNoData(t *testing.T) {
	const members, requests, limit = 50_000, 128, 24 << 20
	n := start(t, nil)
	tok := mint(t, nil)
	for i := range members {
		id := strconv.Itoa(i + 1)
		n.pools.put(guildA, "member", id, `{"id":"`+id+`","name":"`+strings.Repeat("x", 80)+`"}`)
		n.pools.put("", "user", id, `{"id":"`+id+`","username":"`+strings.Repeat("x", 80)+`"}`)
		n.pools.online[guildA] = append(n.pools.online[guildA], id)
	}
	c := elevated(t, n, tok)
	c.pause()
	before := heap()
	for i := range requests {
		c.emit("pool", map[string]any{"type": "member", "guild_id": guildA, "request": []string{"online", "all"}[i%2],
			"token": tok, "_id": i})
	}
	wait.Until(t, "all requests to be in progress",
		func() bool { return n.gauge("guildcast_requests_in_progress") == requests })
	idle(t, "requests to wait without running")
	if sent := n.answers("pool_response"); sent == 0 || sent > 2*members/fakePage*requests/10 {
		t.Errorf("%d parts were sent", sent)
	}
	grown := heap() - before
	if t.Logf("%d requests hold %.1f MB", requests, float64(grown)/(1<<20)); grown > limit {
		t.Errorf("at most %d MB are allowed", limit>>20)
	}
	c.close()
	c.resume()
	wait.Until(t, "the requests to end with the socket",
		func() bool { return n.gauge("guildcast_requests_in_progress") == 0 })
}

// A client that reads late gets every answer, whole and once.
func TestAnswersThatWaitedAreWhole(t *testing.T) {
	const roles, requests = 5000, 6
	n := start(t, nil)
	tok := mint(t, nil)
	for i := range roles {
		id := strconv.Itoa(i + 1)
		n.pools.put(guildA, "role", id, `{"id":"`+id+`","name":"`+strings.Repeat("x", 1000)+`"}`)
	}
	c := elevated(t, n, tok)
	c.pause()
	for i := range requests {
		c.emit("pool", map[string]any{"type": "role", "guild_id": guildA, "token": tok, "_id": i})
	}
	wait.Until(t, "all requests to be in progress",
		func() bool { return n.gauge("guildcast_requests_in_progress") == requests })
	idle(t, "requests to wait without running")
	c.resume()
	seen := make([]map[string]bool, requests)
	for finished := 0; finished < requests; {
		body := c.expect("pool_response").as(t)
		id := int(body["_id"].(float64))
		if seen[id] == nil {
			seen[id] = map[string]bool{}
		}
		for _, x := range body["data"].([]any) {
			role := x.(map[string]any)["id"].(string)
			if seen[id][role] {
				t.Fatalf("role %s came twice", role)
			}
			seen[id][role] = true
		}
		if body["finished"].(bool) {
			if finished++; len(seen[id]) != roles {
				t.Errorf("request %d got %d of %d roles", id, len(seen[id]), roles)
			}
		}
	}
}
