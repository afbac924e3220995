//go:build integration

package integration

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/architus/guildcast/internal/test/wait"
)

// process is a child of the test; it is killed at the test's end and its output shown when the test failed.
type process struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	done chan struct{} // closed once the process has been waited for

	patience time.Duration // of waitOutput

	mu    sync.Mutex
	lines []string // guarded by mu; the last 500
	err   error    // guarded by mu; of Wait
}

// start runs a command with env added to the test's environment. handle gets each line of standard output on one
// goroutine; nil keeps them with the lines of standard error.
func start(t testing.TB, name string, env []string, handle func(line []byte), command string, args ...string) *process {
	t.Helper()
	p := &process{name: name, cmd: exec.Command(command, args...), done: make(chan struct{}), patience: patience}
	// Nothing of what configures the tests configures the processes.
	p.cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "GUILDCAST_")
	}), env...)
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	var readers sync.WaitGroup
	readers.Go(func() { p.scan(stdout, handle) })
	readers.Go(func() { p.scan(stderr, nil) })
	go func() {
		readers.Wait()
		err := p.cmd.Wait()
		p.mu.Lock()
		p.err = err
		p.mu.Unlock()
		close(p.done)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		if t.Failed() {
			t.Logf("output of %s:\n%s", name, p.output())
		}
	})
	return p
}

func (p *process) scan(r io.Reader, handle func([]byte)) {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 64<<20)
	for s.Scan() {
		if handle != nil {
			handle(s.Bytes())
			continue
		}
		p.mu.Lock()
		p.lines = append(p.lines, s.Text())
		if len(p.lines) > 500 {
			p.lines = p.lines[1:]
		}
		p.mu.Unlock()
	}
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

// waitOutput waits until a line of output has text in it, and returns that line.
func (p *process) waitOutput(t testing.TB, text string) (line string) {
	t.Helper()
	wait.Within(t, p.patience, fmt.Sprintf("%s to print %q", p.name, text), func() bool {
		ended := p.ended() // before the look: its last line counts
		p.mu.Lock()
		i := slices.IndexFunc(p.lines, func(l string) bool { return strings.Contains(l, text) })
		if i >= 0 {
			line = p.lines[i]
		}
		p.mu.Unlock()
		if i < 0 && ended {
			t.Fatalf("%s ended without printing %q:\n%s", p.name, text, p.output())
		}
		return i >= 0
	})
	return line
}

// stop sends a signal and returns the exit code.
func (p *process) stop(t testing.TB, signal os.Signal) int {
	t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatalf("signal %s: %v", p.name, err)
	}
	return p.wait(t)
}

// wait returns the exit code.
func (p *process) wait(t testing.TB) int {
	t.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		t.Fatalf("%s did not end:\n%s", p.name, p.output())
		return -1
	}
}

// beside runs a test beside others, unless times are judged.
func beside(t *testing.T) {
	if !strict {
		t.Parallel()
	}
}

// given are the ports that freePort has returned.
var given sync.Map

// freePort returns a TCP port of 127.0.0.1 that was free a moment ago, as were the nine above it, which scripts/cluster
// uses too, and that no other test gets. It stays below the range from which systems take ports for outgoing
// connections: out of that, a client of a server that is stopped now and then gets the server's own port, is connected
// to itself, and keeps the server out.
func freePort(t testing.TB) int {
	t.Helper()
	const together = 10
	for range 200 {
		port := 11000 + together*rand.IntN(9000/together)
		_, taken := given.LoadOrStore(port, true)
		free := !taken
		for i := range together {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+i))
			if free = free && err == nil; err == nil {
				l.Close()
			}
		}
		if free {
			return port
		}
	}
	t.Fatal("no free port between 11000 and 20000")
	return 0
}

// patience is how long the tests wait for what must come. Only a test that fails uses it up: no machine is so slow.
const patience = 2 * time.Minute

// strict says that the machine has nothing else to do (make chaos), so that times may be judged.
var strict = os.Getenv("GUILDCAST_STRICT_TIMES") != ""

// onTime reports whether something took no longer than users are promised. A busy machine proves nothing about that.
func onTime(took, promised time.Duration) bool { return !strict || took <= promised }

const secret = "integration-secret-of-at-least-32-bytes"

// node is one guildcast process.
type node struct {
	*process
	url string // http://127.0.0.1:port
}

// startNode runs `guildcast serve` against redisURL with env added, and returns once it is ready.
func startNode(t testing.TB, name, redisURL string, env ...string) *node {
	t.Helper()
	return startNodeOf(t, binary, name, redisURL, env...)
}

// startNodeOf is startNode with another binary.
func startNodeOf(t testing.TB, binary, name, redisURL string, env ...string) *node {
	t.Helper()
	addr := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	env = append([]string{"GUILDCAST_ADDR=" + addr, "GUILDCAST_REDIS=" + redisURL, "GUILDCAST_JWT_SECRET=" + secret,
		"GUILDCAST_LOG=json"}, env...)
	n := &node{start(t, name, env, nil, binary, "serve"), "http://" + addr}
	n.waitReady(t)
	return n
}

func (n *node) waitReady(t testing.TB) {
	t.Helper()
	n.waitStatus(t, "/readyz", http.StatusOK)
}

// waitStatus polls path until it answers with status.
func (n *node) waitStatus(t testing.TB, path string, status int) {
	t.Helper()
	wait.Until(t, fmt.Sprintf("%s%s to answer %d", n.url, path, status), func() bool {
		if n.ended() {
			t.Fatalf("%s has ended:\n%s", n.name, n.output())
		}
		code, _ := get(n.url + path)
		return code == status
	})
}

// drain stops the node as Kubernetes does and fails unless it exits with 0 (66 is a data race).
func (n *node) drain(t testing.TB) {
	t.Helper()
	if code := n.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("%s: exit code %d after SIGTERM, want 0", n.name, code)
	}
}

func get(url string) (int, string) {
	client := http.Client{Timeout: patience / 4}
	res, err := client.Get(url)
	if err != nil {
		return 0, ""
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(body)
}
