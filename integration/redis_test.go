//go:build integration

package integration

import (
	"context"
	"fmt"
	"os/exec"
	"testing"

	"github.com/alicebob/miniredis/v2"
	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/internal/test/wait"
)

// backend is a Redis that all processes of a test reach.
type backend struct {
	url string
}

// eachRedis runs f with miniredis and with a real redis-server.
func eachRedis(t *testing.T, f func(*testing.T, backend)) {
	t.Run("miniredis", func(t *testing.T) {
		t.Parallel()
		f(t, backend{"redis://" + miniredis.RunT(t).Addr() + "/0"})
	})
	t.Run("redis-server", func(t *testing.T) {
		t.Parallel()
		f(t, startRedis(t).backend)
	})
}

// realRedis is a redis-server that can be stopped and started again on its port.
type realRedis struct {
	backend
	port int
	p    *process
}

func startRedis(t testing.TB) *realRedis {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Fatal("redis-server is not installed: run scripts/setup")
	}
	r := &realRedis{port: freePort(t)}
	r.url = fmt.Sprintf("redis://127.0.0.1:%d/0", r.port)
	r.start(t)
	return r
}

func (r *realRedis) start(t testing.TB) {
	t.Helper()
	r.p = start(t, "redis-server", nil, nil, "redis-server", "--port", fmt.Sprint(r.port), "--bind", "127.0.0.1",
		"--save", "", "--appendonly", "no")
	client := goredis.NewClient(&goredis.Options{Addr: fmt.Sprintf("127.0.0.1:%d", r.port), MaxRetries: -1})
	defer client.Close()
	wait.Until(t, "redis-server", func() bool { return client.Ping(context.Background()).Err() == nil })
}

// stop kills the server, as a crash would.
func (r *realRedis) stop(t testing.TB) {
	t.Helper()
	if err := r.p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-r.p.done
}
