package redistest

import (
	"testing"

	"github.com/alicebob/miniredis/v2"
	goredis "github.com/redis/go-redis/v9"
)

// Mini is a miniredis on a free port of 127.0.0.1 and a client of it, both closed when the test ends.
func Mini(tb testing.TB) (*miniredis.Miniredis, *goredis.Client) {
	tb.Helper()
	m := miniredis.NewMiniRedis()
	if err := m.Start(); err != nil {
		tb.Fatalf("start miniredis: %v", err)
	}
	tb.Cleanup(m.Close)
	c := goredis.NewClient(&goredis.Options{Addr: m.Addr(), MaxRetries: -1, ContextTimeoutEnabled: true})
	tb.Cleanup(func() { _ = c.Close() })
	return m, c
}

// Each runs a conformance test over miniredis, a real Redis, and a Redis Cluster, as subtests of those names. Sharded
// pub/sub and whatever else miniredis does not have must be tested with Real.
func Each(t *testing.T, test func(t *testing.T, client goredis.UniversalClient)) {
	t.Helper()
	t.Run("miniredis", func(t *testing.T) {
		_, c := Mini(t)
		test(t, c)
	})
	Real(t, test)
}

// Real is Each without miniredis. Its servers are Shared.
func Real(t *testing.T, test func(t *testing.T, client goredis.UniversalClient)) {
	t.Helper()
	t.Run("redis", func(t *testing.T) { test(t, Shared(t).Client()) })
	t.Run("cluster", func(t *testing.T) { test(t, SharedCluster(t).Client()) })
}
