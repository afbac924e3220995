package redistest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	goredis "github.com/redis/go-redis/v9"
)

// StartSentinel runs a Redis Sentinel that watches primary under the name "main".
func StartSentinel(tb testing.TB, primary *Server) *Server {
	tb.Helper()
	return StartSentinels(tb, primary, 1, 0)[0]
}

// StartSentinels runs n Sentinels that watch primary under the name "main", and waits until they know each other and so
// many replicas. More than half of them must agree that the primary is down, which takes a second.
func StartSentinels(tb testing.TB, primary *Server, n, replicas int) []*Server {
	tb.Helper()
	sentinels := make([]*Server, n)
	for i := range sentinels {
		sentinels[i] = startSentinel(tb, primary, n/2+1)
	}
	for _, s := range sentinels {
		c := goredis.NewSentinelClient(&goredis.Options{Addr: s.Addr()})
		defer c.Close()
		if err := poll(startTimeout, s.exited, func(ctx context.Context) error {
			m, err := c.Master(ctx, "main").Result()
			if err == nil && (m["num-slaves"] != fmt.Sprint(replicas) || m["num-other-sentinels"] != fmt.Sprint(n-1)) {
				err = fmt.Errorf("knows %s replicas, %s sentinels", m["num-slaves"], m["num-other-sentinels"])
			}
			return err
		}); err != nil {
			tb.Fatalf("sentinel: %v", err)
		}
	}
	return sentinels
}

func startSentinel(tb testing.TB, primary *Server, quorum int) *Server {
	tb.Helper()
	s := &Server{tb: tb, bin: redisServer(tb), port: freePort(tb)}
	config := filepath.Join(tb.TempDir(), "sentinel.conf")
	text := fmt.Sprintf("port %d\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 %d %d\n"+
		"sentinel down-after-milliseconds main 1000\n", s.port, primary.port, quorum)
	// Sentinel rewrites its configuration file while it runs.
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	s.args = []string{config, "--sentinel"}
	if err := s.start(); err != nil {
		tb.Fatalf("start sentinel: %v", err)
	}
	tb.Cleanup(s.Stop)
	return s
}
