package redistest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// startTimeout bounds the wait for a server to answer PING. A machine that runs several test binaries at once is slow,
// so it is generous.
const startTimeout = time.Minute

// Server is one redis-server process on a port of 127.0.0.1 which stays the same over Stop and Start. Its methods are
// for the test's own goroutine.
type Server struct {
	tb   testing.TB
	bin  string
	port int
	args []string
	env  []string // beside the environment of the test
	// shared is set on what Shared and SharedCluster return: the process must outlive the test.
	shared bool

	cmd    *exec.Cmd     // nil while stopped
	exited chan struct{} // closed by the waiter of cmd
	output *bytes.Buffer // read only after exited is closed
}

// Start runs a redis-server that persists nothing and waits until it answers. args are further options of redis-server,
// such as "--appendonly", "yes".
func Start(tb testing.TB, args ...string) *Server {
	tb.Helper()
	s := start(tb, tb.TempDir(), args...)
	tb.Cleanup(s.Stop)
	return s
}

// start is Start of a server that the caller stops and whose directory is dir.
func start(tb testing.TB, dir string, args ...string) *Server {
	tb.Helper()
	return startIn(tb, dir, nil, args...)
}

// startIn is start with more variables in the environment of the server.
func startIn(tb testing.TB, dir string, env []string, args ...string) *Server {
	tb.Helper()
	bin := redisServer(tb)
	var err error
	for range 10 {
		s := &Server{tb: tb, bin: bin, port: freePort(tb), env: env}
		s.args = append([]string{
			"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--dir", dir,
			"--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0",
			"--repl-ping-replica-period", "1", // a cluster does not list a replica that has heard nothing yet
		}, args...)
		// Another process may have taken the port since: try the next.
		if err = s.start(); err == nil {
			return s
		}
	}
	tb.Fatalf("start redis-server: %v", err)
	return nil
}

// StartReplica runs a replica of primary and waits until it is in step. args are as those of Start.
func StartReplica(tb testing.TB, primary *Server, args ...string) *Server {
	tb.Helper()
	s := Start(tb, append([]string{"--replicaof", fmt.Sprintf("127.0.0.1 %d", primary.port)}, args...)...)
	c := s.newClient()
	defer c.Close()
	if err := poll(startTimeout, s.exited, func(ctx context.Context) error {
		info, err := c.Info(ctx, "replication").Result()
		if err == nil && !strings.Contains(info, "master_link_status:up") {
			err = errors.New("not in step")
		}
		return err
	}); err != nil {
		tb.Fatalf("replicate %s: %v", primary.Addr(), err)
	}
	return s
}

// Required reports whether tests that need a real Redis must fail if there is none.
func Required() bool { return os.Getenv("GUILDCAST_REQUIRE_REDIS") == "1" }

func redisServer(tb testing.TB) string {
	tb.Helper()
	bin, err := exec.LookPath("redis-server")
	switch {
	case err == nil:
		return bin
	case Required():
		tb.Fatal("redis-server is not installed, and GUILDCAST_REQUIRE_REDIS=1")
	default:
		tb.Skip("redis-server is not installed")
	}
	return ""
}

// Addr is the server's host:port.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// URL is the server's redis:// URL.
func (s *Server) URL() string { return "redis://" + s.Addr() }

// Client is a new client of the server, closed when the test ends. Its deadlines are short, so that tests of a lost
// Redis are quick.
func (s *Server) Client() *goredis.Client {
	c := s.newClient()
	s.tb.Cleanup(func() { _ = c.Close() })
	return c
}

func (s *Server) newClient() *goredis.Client {
	return goredis.NewClient(&goredis.Options{
		Addr: s.Addr(), DialTimeout: time.Second, DialerRetries: 1, MaxRetries: -1, ContextTimeoutEnabled: true,
	})
}

// Start runs the server again after Stop, on the same port and, if it persists, with the same data.
func (s *Server) Start() {
	s.tb.Helper()
	if s.cmd != nil {
		return
	}
	if err := s.start(); err != nil {
		s.tb.Fatalf("start redis-server again: %v", err)
	}
}

// Stop kills the server, as a crash would, and waits until it is gone. Without persistence its data are lost. It is
// allowed on a stopped server.
func (s *Server) Stop() {
	if s.cmd == nil {
		return
	}
	s.own()
	_ = s.cmd.Process.Kill()
	<-s.exited
	s.cmd = nil
}

// own fails a test that is about to break a server which others use after it.
func (s *Server) own() {
	s.tb.Helper()
	if s.shared {
		s.tb.Fatal("this test shares its redis-server: take one of its own with Start or StartCluster")
	}
}

func (s *Server) start() error {
	cmd := exec.Command(s.bin, s.args...)
	cmd.Env = append(os.Environ(), s.env...)
	output := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = dieWithParent()
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait()
	}()
	s.cmd, s.exited, s.output = cmd, exited, output
	if err := s.waitReady(); err != nil {
		s.Stop()
		return fmt.Errorf("%w\n%s", err, output.String())
	}
	return nil
}

// waitReady returns when the process that was just started answers. Its pid is compared, for the port may belong to
// somebody else's server.
func (s *Server) waitReady() error {
	c := goredis.NewClient(&goredis.Options{Addr: s.Addr(), DialTimeout: time.Second, DialerRetries: 1, MaxRetries: -1})
	defer c.Close()
	pid := fmt.Sprintf("process_id:%d", s.cmd.Process.Pid)
	return poll(startTimeout, s.exited, func(ctx context.Context) error {
		info, err := c.Info(ctx, "server").Result()
		if err != nil && strings.HasPrefix(err.Error(), "NOAUTH") {
			return nil // ready, and it wants a password: whose it is can't be told
		}
		if err == nil && !strings.Contains(info, pid) {
			err = fmt.Errorf("%s is another process's server", s.Addr())
		}
		return err
	})
}

// poll calls f until it returns nil, the time is up, or stop is closed.
func poll(d time.Duration, stop <-chan struct{}, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-stop:
			return fmt.Errorf("the process has exited: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("not ready after %v: %w", d, err)
		case <-tick.C:
		}
	}
}

// freePort finds a port that is free together with its cluster bus port (10,000 above). It stays below the range from
// which systems take ports for outgoing connections: nobody takes it while the server is stopped.
func freePort(tb testing.TB) int {
	tb.Helper()
	for range 200 {
		port := 11000 + rand.IntN(9000)
		if canListen(port) && canListen(port+10000) {
			return port
		}
	}
	tb.Fatal("no free port between 11000 and 20000")
	return 0
}

func canListen(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}
