package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/golang-jwt/jwt/v5"

	"github.com/architus/guildcast/internal/demo"
	"github.com/architus/guildcast/internal/test/wait"
	"github.com/architus/guildcast/token"
)

// process is this test binary, run as the command.
type process struct {
	cmd    *exec.Cmd
	lines  chan string // of standard output; closed at its end
	stderr strings.Builder
	wait   func() error // once
}

func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	return startCommand(t, exec.Command(os.Args[0], args...), env)
}

// startCommand starts cmd, which runs this test binary.
func startCommand(t *testing.T, cmd *exec.Cmd, env []string) *process {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	p := &process{cmd: exec.CommandContext(ctx, cmd.Path, cmd.Args[1:]...), lines: make(chan string, 1000)}
	p.cmd.Env = append([]string{asCommand + "=1"}, env...)
	p.cmd.Stderr = &p.stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(stdout); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	p.wait = sync.OnceValue(func() error {
		for range p.lines { // Wait closes the pipe: what is in it must be read before
		}
		return p.cmd.Wait()
	})
	t.Cleanup(func() {
		cancel()
		_ = p.wait()
	})
	return p
}

// line reads standard output up to the line that matches, and gives what the pattern's group matched.
func (p *process) line(t *testing.T, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	for line := range p.lines {
		if m := re.FindStringSubmatch(line); m != nil {
			return m[1]
		}
	}
	_ = p.wait()
	t.Fatalf("no line %q; standard error: %s", pattern, p.stderr.String())
	return ""
}

// exit waits for the end and gives the exit code and standard error.
func (p *process) exit(t *testing.T) (int, string) {
	t.Helper()
	_ = p.wait()
	return p.cmd.ProcessState.ExitCode(), p.stderr.String()
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// poll asks until the status is the one wanted.
func poll(t *testing.T, url string, status int) {
	t.Helper()
	wait.Until(t, fmt.Sprintf("%s to answer %d", url, status), func() bool {
		code, _ := get(t, url)
		return code == status
	})
}

// claimsOf reads a token without a look at its signature.
func claimsOf(t *testing.T, signed string) jwt.MapClaims {
	t.Helper()
	claims := jwt.MapClaims{}
	if _, _, err := jwt.NewParser().ParseUnverified(signed, claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

func TestServeDemo(t *testing.T) {
	p := start(t, []string{
		"GUILDCAST_ADDR=127.0.0.1:0", "GUILDCAST_DEMO=true",
		"GUILDCAST_JWT_SECRET=a secret for this test that has 32 bytes", "GUILDCAST_LOG_LEVEL=debug",
	})
	url := p.line(t, `open (http://\S+)`)
	p.line(t, `redis://(127\.0\.0\.1:\d+)`)
	secret := token.Secret{Key: []byte("a secret for this test that has 32 bytes")}
	verifier, err := token.NewVerifier(token.VerifierOptions{Secrets: []token.Secret{secret}})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range demo.Accounts() {
		signed := p.line(t, `^(eyJ\S+)$`)
		if claims, err := verifier.Verify(t.Context(), signed); err == nil {
			t.Errorf("token of %s is signed with the shared secret: %v", a.Name, claims)
		}
		if claims := claimsOf(t, signed); claims["sub"] != a.UserID {
			t.Errorf("token of %s: %v", a.Name, claims)
		}
	}
	poll(t, url+"/readyz", 200)
	for path, want := range map[string]string{
		"/healthz": "ok", "/metrics": `guildcast_build_info{go_version="go1.`, "/": "<html",
		"/socket.io/?EIO=4&transport=polling": `"sid"`,
	} {
		if code, body := get(t, url+path); code != 200 || !strings.Contains(body, want) {
			t.Errorf("%s answers %d %.200q, want something with %q", path, code, body, want)
		}
	}
	if code, _ := get(t, url+"/nonsense"); code != 404 {
		t.Errorf("an unknown path answers %d", code)
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	code, stderr := p.exit(t)
	if code != 0 {
		t.Errorf("exit code %d after SIGTERM: %s", code, stderr)
	}
	for line := range strings.SplitSeq(strings.TrimSpace(stderr), "\n") {
		var entry struct{ Level, Msg string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Level == "ERROR" {
			t.Errorf("log line %s", line)
		}
	}
	if strings.Contains(stderr, "eyJ") || strings.Contains(stderr, "a secret for this test that has 32 bytes") {
		t.Error("the log tells a token or a secret")
	}
}

// TestHangup sends SIGHUP, which reloads a node and ends other commands.
func TestHangup(t *testing.T) {
	// The tests may run under nohup, whose children would inherit that the signal is ignored.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	p := start(t, []string{"GUILDCAST_ADDR=127.0.0.1:0", "GUILDCAST_DEMO=true", "GUILDCAST_LOG=json"})
	url := p.line(t, `open (http://\S+)`)
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	wait.Until(t, "a reload", func() bool {
		_, body := get(t, url+"/metrics")
		return strings.Contains(body, `guildcast_reloads_total{outcome="ok"} 1`)
	})
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code, stderr := p.exit(t); code != 0 || !strings.Contains(stderr, "node stopped") {
		t.Errorf("exit code %d, standard error %s", code, stderr)
	}
	admin := freeAddr(t)
	server := miniredis.RunT(t)
	p = start(t, nil, "relay", "--to-prefix", "p:", "--metrics-addr", admin, "--redis", "redis://"+server.Addr())
	wait.Until(t, "the relay", func() bool {
		connection, err := net.Dial("tcp", admin)
		if err == nil {
			connection.Close()
		}
		return err == nil
	})
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if code, stderr := p.exit(t); code != 0 {
		t.Errorf("relay: exit code %d, standard error %s", code, stderr)
	}
}

func TestWrongValueOfAProcess(t *testing.T) {
	for _, c := range []struct {
		env  string
		args []string
		want string
	}{
		{"GUILDCAST_ADAPTER=nonsense", []string{"serve", "--demo"}, "--adapter"},
		{"GUILDCAST_REDIS=nonsense", []string{"serve", "--demo"}, "redis"},
		{"", []string{"serve"}, "GUILDCAST_JWT_SECRET"},
	} {
		code, stderr := start(t, []string{c.env}, c.args...).exit(t)
		if code != 2 || strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "guildcast: ") ||
			!strings.Contains(stderr, c.want) {
			t.Errorf("%s %v: exit code %d, standard error %q", c.env, c.args, code, stderr)
		}
	}
}

func TestPortInUse(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	code, stderr := start(t, nil, "serve", "--demo", "--addr", listener.Addr().String()).exit(t)
	if code != 1 || !strings.Contains(stderr, "address already in use") {
		t.Errorf("exit code %d, standard error %q", code, stderr)
	}
}

func TestRedisAway(t *testing.T) {
	// Nobody listens there: the node must come up all the same, say that it is not ready, and end when asked to.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	listener.Close()
	listener, err = net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	own := listener.Addr().String()
	listener.Close()
	p := start(t, []string{"GUILDCAST_JWT_SECRET=x", "GUILDCAST_REDIS=redis://" + addr, "GUILDCAST_ADDR=" + own})
	wait.Until(t, "the listener", func() bool {
		connection, err := net.Dial("tcp", own)
		if err == nil {
			connection.Close()
		}
		return err == nil
	})
	poll(t, "http://"+own+"/readyz", 503)
	poll(t, "http://"+own+"/healthz", 200)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code, stderr := p.exit(t); code != 0 {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}
