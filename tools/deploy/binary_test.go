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
	cmd := exec.Command(binary(t), "serve", "--config", config)
	cmd.Env = []string{
		"GUILDCAST_ADDR=" + freeAddr(t), "GUILDCAST_ADMIN_ADDR=" + addr, "GUILDCAST_REDIS=embedded",
		"GUILDCAST_DRAIN_DELAY=0s",
	}
	var out bytes.Buffer // read after the process has ended
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("the node: %v\n%s", err, &out)
			}
		case <-time.After(patience):
			_ = cmd.Process.Kill()
			t.Errorf("the node does not end")
		}
	})
	admin = "http://" + addr
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		select {
		case err := <-ended:
			ended <- nil // for the cleanup
			t.Fatalf("the node has ended: %v\n%s", err, &out)
		case <-time.After(100 * time.Millisecond):
		}
		if code, _, err := get(admin + "/readyz"); err == nil && code == http.StatusOK {
			return admin
		}
	}
	t.Fatal("the node is not ready")
	return ""
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
