//go:build integration

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	goredis "github.com/redis/go-redis/v9"
)

// TestRollingRestart restarts both nodes behind the shipped nginx configuration, one after the other, while 100
// spectators get 50 events a second, and measures for how long each of them hears nothing. With
// GUILDCAST_STRICT_TIMES=1 (make chaos, on a machine with nothing else to do) the times are those that users are
// promised.
func TestRollingRestart(t *testing.T) {
	beside(t)
	const clients, everyMillis = 100, 20
	const medianMax, gapMax = 1500 * time.Millisecond, 4 * time.Second
	port := freePort(t)
	cluster := start(t, "cluster", []string{
		fmt.Sprint("PORT=", port), "JWT_SECRET=" + secret, "CLUSTER_DIR=" + t.TempDir(), "GUILDCAST_BIN=" + binary,
		"GUILDCAST_GRACE=5s",
	}, nil, "../scripts/cluster")
	t.Cleanup(func() { cluster.stop(t, syscall.SIGTERM) }) // with its members
	cluster.waitOutput(t, "cluster ready")

	type report struct {
		Gaps                            []int `json:"gaps"` // ms
		Connected, Spectating, Stranded int
	}
	reports := make(chan report, 1)
	spectators := start(t, "spectators", []string{
		fmt.Sprint("URL=http://127.0.0.1:", port), "GUILD=" + guild, fmt.Sprint("CLIENTS=", clients),
		"TOKEN=" + mint(t, jwt.MapClaims{"guilds": guilds{guild: 0}}),
	}, func(line []byte) {
		var r report
		if err := json.Unmarshal(line, &r); err != nil {
			panic(fmt.Sprintf("%q: %v", line, err))
		}
		reports <- r
	}, "node", "nodejs/rolling.mjs")
	next := func() report {
		t.Helper()
		select {
		case r := <-reports:
			return r
		case <-spectators.done:
			t.Fatal("the spectators have ended")
		case <-time.After(patience):
			t.Fatal("the spectators say nothing")
		}
		panic("unreachable")
	}
	ask := func() report {
		t.Helper()
		fmt.Fprintln(spectators.in, "gaps")
		return next()
	}
	if r := next(); r.Spectating != clients {
		t.Fatalf("%+v", r)
	}

	ctx, stop := context.WithCancel(t.Context())
	published := make(chan struct{})
	go func() {
		defer close(published)
		publishEvery(ctx, port+4, everyMillis*time.Millisecond)
	}()
	defer func() { stop(); <-published }()

	if err := cluster.cmd.Process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	cluster.waitOutput(t, "cluster restarted")
	deadline := time.Now().Add(patience)
	r := ask()
	for r.Connected != clients && time.Now().Before(deadline) {
		more := ask()
		for i, gap := range more.Gaps {
			more.Gaps[i] = max(gap, r.Gaps[i])
		}
		r = more
	}
	if r.Connected != clients || r.Stranded > 0 {
		t.Errorf("%d of %d clients came back, %d after their ping timeout", r.Connected, clients, r.Stranded)
	}
	slices.Sort(r.Gaps)
	median, longest := time.Duration(r.Gaps[clients/2])*time.Millisecond,
		time.Duration(r.Gaps[clients-1])*time.Millisecond
	t.Logf("longest silence of each of %d clients: median %s, at most %s", clients, median, longest)
	if !onTime(median, medianMax) || !onTime(longest, gapMax) {
		t.Errorf("median %s of %s, at most %s of %s", median, medianMax, longest, gapMax)
	}
}

// publishEvery publishes an event of the guild again and again until ctx ends.
func publishEvery(ctx context.Context, redisPort int, pause time.Duration) {
	client := goredis.NewClient(&goredis.Options{Addr: fmt.Sprint("127.0.0.1:", redisPort)})
	defer client.Close()
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			client.Publish(ctx, guild, `{"kind":"guild","payload":{"n":1}}`)
		case <-ctx.Done():
			return
		}
	}
}
