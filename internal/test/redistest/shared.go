package redistest

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"testing"

	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/architus/guildcast/internal/test/wait"
)

// idle holds what Shared and SharedCluster started and no test uses now, each as empty as a new one. The servers live
// until Main ends, so that a package pays for the start of a cluster (two seconds in which Redis accepts no writes)
// once, not in each test.
var idle struct {
	// Guarded by mu.
	mu       sync.Mutex
	clusters [][]*Server // of one server, or of a cluster's three
	dirs     []string
}

// Main runs a package's tests, ends the servers that they shared, and fails if goroutines are left. A TestMain of a
// package that uses Shared, SharedCluster, Each or Real calls it instead of goleak.VerifyTestMain.
func Main(m *testing.M, options ...goleak.Option) {
	goleak.VerifyTestMain(running{m}, append(options, IgnorePools)...)
}

// IgnorePools overlooks pools of go-redis that could not dial: they try again each second, and end a second after they
// were closed.
var IgnorePools = goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial")

// quiet discards what go-redis logs about servers that tests have stopped, among which failures would go under.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

func init() { goredis.SetLogger(quiet{}) }

type running struct{ m *testing.M }

func (r running) Run() int {
	wait.Parallel()
	code := r.m.Run()
	idle.mu.Lock()
	defer idle.mu.Unlock()
	for _, servers := range idle.clusters {
		for _, s := range servers {
			s.shared = false
			s.Stop()
		}
	}
	for _, dir := range idle.dirs {
		_ = os.RemoveAll(dir)
	}
	idle.clusters, idle.dirs = nil, nil
	return code
}

// Shared returns a Redis without data or clients that is this test's alone until the test ends, and another test's
// afterwards. A test that stops, pauses or configures its server takes one of its own with Start.
func Shared(tb testing.TB) *Server {
	tb.Helper()
	return borrow(tb, 1)[0]
}

// SharedCluster is Shared for a Redis Cluster.
func SharedCluster(tb testing.TB) *Cluster {
	tb.Helper()
	return &Cluster{Servers: borrow(tb, primaries), tb: tb}
}

// borrow returns servers for tb. They are copies whose cleanups are tb's.
func borrow(tb testing.TB, n int) []*Server {
	tb.Helper()
	servers := takeIdle(n)
	switch {
	case servers != nil:
	case n == 1:
		servers = []*Server{start(tb, sharedDir(tb))}
	default:
		servers = startCluster(tb, func() *Server { return start(tb, sharedDir(tb), clusterOptions...) }).Servers
	}
	copies := make([]*Server, n)
	for i, s := range servers {
		c := *s
		c.tb, c.shared = tb, true
		copies[i] = &c
	}
	// Registered before the test's own cleanups: it runs after them, when the test has closed its clients.
	tb.Cleanup(func() {
		for _, s := range servers {
			if err := s.empty(); err != nil {
				tb.Errorf("empty the shared server %s: %v", s.Addr(), err)
				for _, s := range servers {
					s.Stop()
				}
				return
			}
		}
		idle.mu.Lock()
		idle.clusters = append(idle.clusters, servers)
		idle.mu.Unlock()
	})
	return copies
}

func takeIdle(n int) []*Server {
	idle.mu.Lock()
	defer idle.mu.Unlock()
	i := slices.IndexFunc(idle.clusters, func(servers []*Server) bool { return len(servers) == n })
	if i < 0 {
		return nil
	}
	servers := idle.clusters[i]
	idle.clusters = slices.Delete(idle.clusters, i, i+1)
	return servers
}

// sharedDir is the directory of a server that outlives the test.
func sharedDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "redistest")
	if err != nil {
		tb.Fatal(err)
	}
	idle.mu.Lock()
	idle.dirs = append(idle.dirs, dir)
	idle.mu.Unlock()
	return dir
}

// empty ends every connection and forgets all data, scripts and counters.
func (s *Server) empty() error {
	c := s.newClient()
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	var errs []error
	for _, args := range [][]any{
		{"CLIENT", "KILL", "TYPE", "pubsub", "SKIPME", "yes"},
		{"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"},
		{"FLUSHALL"}, {"SCRIPT", "FLUSH"}, {"FUNCTION", "FLUSH"}, {"CONFIG", "RESETSTAT"},
	} {
		errs = append(errs, c.Do(ctx, args...).Err())
	}
	return errors.Join(errs...)
}
