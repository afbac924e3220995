// Package deploy holds the tests of what operators deploy: the files in deploy, docker-compose.yml and the packages. It
// is a module of its own, so that Helm, Kubernetes and Compose are no dependencies of guildcast.
package deploy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// patience is how long the tests wait for what must come. Only a test that fails uses it up.
const patience = 2 * time.Minute

// binary returns the path of guildcast, which make builds first.
func binary(t *testing.T) string {
	t.Helper()
	path := os.Getenv("GUILDCAST_BINARY")
	if path == "" {
		path = "../../bin/guildcast"
	}
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v; run make build", err)
	}
	return path
}

// run runs guildcast with nothing but env in its environment. It returns what it has printed, and an error if the exit
// code is not 0.
func run(t *testing.T, env []string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary(t), args...)
	cmd.Env = append([]string{}, env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// serve runs a node with an embedded Redis and a configuration file. It returns the URL of its admin listener once the
// node is ready.
func serve(t *testing.T, config string) (admin string) {
	t.Helper()
	addr := freeAddr(t)
	node := start(t, []string{
		"GUILDCAST_ADDR=" + freeAddr(t), "GUILDCAST_ADMIN_ADDR=" + addr, "GUILDCAST_REDIS=embedded",
		"GUILDCAST_DRAIN_DELAY=0s",
	}, binary(t), "serve", "--config", config)
	admin = "http://" + addr
	node.await(t, "a node that is ready", func() bool {
		code, _, err := get(admin + "/readyz")
		return err == nil && code == http.StatusOK
	})
	return admin
}

// process is a child of a test. It must end with 0 after SIGTERM, which it gets at the test's end.
type process struct {
	name  string
	out   bytes.Buffer // read after ended is closed
	ended chan struct{}
	err   error // set before ended is closed
}

// start runs a command with nothing but env in its environment.
func start(t *testing.T, env []string, name string, args ...string) *process {
	t.Helper()
	p := &process{name: name, ended: make(chan struct{})}
	cmd := exec.Command(name, args...)
	cmd.Env = append([]string{}, env...)
	cmd.Stdout, cmd.Stderr = &p.out, &p.out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.ended:
			if p.err != nil {
				t.Errorf("%s: %v\n%s", name, p.err, &p.out)
			}
		case <-time.After(patience):
			_ = cmd.Process.Kill()
			t.Errorf("%s does not end", name)
		}
	})
	return p
}

// await polls until done, while the process runs.
func (p *process) await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		select {
		case <-p.ended:
			t.Fatalf("%s has ended: %v\n%s", p.name, p.err, &p.out)
		case <-time.After(50 * time.Millisecond):
		}
		if done() {
			return
		}
	}
	t.Fatalf("no %s", what)
}

// startRedis runs a redis-server, which scripts/setup installs, and returns its address once it answers.
func startRedis(t *testing.T) (addr string) {
	t.Helper()
	addr = freeAddr(t)
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	server := start(t, []string{"PATH=" + os.Getenv("PATH")}, "redis-server", "--port", port, "--bind", "127.0.0.1",
		"--save", "", "--dir", t.TempDir())
	server.await(t, "Redis", func() bool {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
	return addr
}

func get(url string) (code int, body string, err error) {
	client := http.Client{Timeout: patience}
	response, err := client.Get(url)
	if err != nil {
		return 0, "", err
	}
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), errors.Join(err, response.Body.Close())
}

// freeAddr returns an address of this machine that nobody listened on a moment ago.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprint(l.Addr())
}

// write writes a file into a directory of the test.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func readFile(t *testing.T, dir, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
