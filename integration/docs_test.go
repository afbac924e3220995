//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/internal/test/docblock"
	"github.com/architus/guildcast/internal/test/sioclient"
	"github.com/architus/guildcast/internal/test/wait"
)

// docs returns the blocks that are run, of one language and, unless page is "", of one page.
func docs(t *testing.T, page string, langs ...string) (blocks []docblock.Block) {
	t.Helper()
	all, err := docblock.All("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range all {
		for _, lang := range langs {
			if b.Lang == lang && b.NotRun == "" && (page == "" || b.Page == page) {
				blocks = append(blocks, b)
			}
		}
	}
	if len(blocks) == 0 {
		t.Fatalf("%s has no block of %s", page, langs)
	}
	return blocks
}

// shell runs the blocks of a page one after the other, as a reader does: variables and the folder stay.
type shell struct {
	t     *testing.T
	dir   string // of the state
	env   []string
	ports *strings.Replacer // from those of the page to free ones
}

func newShell(t *testing.T, ports ...string) *shell {
	s := &shell{t: t, dir: t.TempDir()}
	var pairs []string
	for _, port := range ports {
		pairs = append(pairs, port, fmt.Sprint(freePort(t)))
	}
	s.ports = strings.NewReplacer(pairs...)
	commands := t.TempDir()
	if err := os.Symlink(binary, filepath.Join(commands, "guildcast")); err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	s.env = []string{
		"PATH=" + commands + ":" + os.Getenv("PATH"), "PYTHONUNBUFFERED=1",
		// git clone takes this repository.
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=url.file://" + root + ".insteadOf",
		"GIT_CONFIG_VALUE_0=https://github.com/architus/guildcast",
	}
	return s
}

// command is a block as a process group of its own.
func (s *shell) command(b docblock.Block) *exec.Cmd {
	state := filepath.Join(s.dir, "state")
	script := fmt.Sprintf("set -e\ncd %q\n[ ! -f %q ] || source %q\n%s\n", s.dir, state, state, s.ports.Replace(b.Text))
	if !b.Serves {
		script += fmt.Sprintf("{ export -p; printf 'cd %%q\\n' \"$PWD\"; } > %q\n", state)
	}
	cmd := exec.Command("bash", "-c", script)
	cmd.Env = append(os.Environ(), s.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// run runs a block to its end and returns what it prints. The tutorial's build takes minutes with a cold cache.
func (s *shell) run(b docblock.Block) string {
	s.t.Helper()
	cmd := s.command(b)
	timer := time.AfterFunc(15*time.Minute, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	defer timer.Stop()
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", b, err, out)
	}
	return string(out)
}

// serve starts a block that runs until it is stopped, and returns once it says that it serves. stop ends it.
func (s *shell) serve(b docblock.Block) (output func() string, stop func()) {
	s.t.Helper()
	log, err := os.Create(filepath.Join(s.t.TempDir(), "log"))
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := s.command(b)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	output = func() string { text, _ := os.ReadFile(log.Name()); return string(text) }
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
			<-ended
			log.Close()
		}
	}
	s.t.Cleanup(stop)
	wait.Until(s.t, b.String()+" to serve", func() bool {
		select {
		case err := <-ended:
			stopped = true
			s.t.Fatalf("%s: %v\n%s", b, err, output())
		default:
		}
		return strings.Contains(output(), "node serves") || strings.Contains(output(), "Serving HTTP")
	})
	return output, stop
}

// TestDocsShell runs the commands of all pages but the tutorial's.
func TestDocsShell(t *testing.T) {
	t.Parallel()
	for _, b := range docs(t, "", "sh") {
		if b.Page == "docs/start.md" {
			continue
		}
		t.Run(b.String(), func(t *testing.T) {
			s := newShell(t)
			s.env = append(s.env, "GUILDCAST_LOG=json", fmt.Sprintf("GUILDCAST_ADDR=127.0.0.1:%d", freePort(t)))
			if b.Serves {
				s.serve(b)
			} else {
				s.run(b)
			}
		})
	}
}

// TestTutorial does what docs/start.md says, block by block; its page runs in Node.js.
func TestTutorial(t *testing.T) {
	t.Parallel()
	s := newShell(t, "8080", "6390", "8000")
	var node func() string // the log
	var page *process
	var printed []string
	for _, b := range docs(t, "docs/start.md", "sh", "html", "redis") {
		switch {
		case b.Lang == "html":
			if err := os.WriteFile(filepath.Join(s.dir, "guildcast/page/index.html"), []byte(s.ports.Replace(b.Text)),
				0o600); err != nil {
				t.Fatal(err)
			}
		case b.Lang == "redis":
			s.run(docblock.Block{Page: b.Page, Line: b.Line, Text: redisCommands(b, s.ports.Replace("6390"))})
		case strings.Contains(b.Text, "http.server"):
			s.serve(b)
			page = start(t, "page", nil, nil, "node", "nodejs/page.mjs", s.ports.Replace("http://127.0.0.1:8000/"))
			page.waitOutput(t, "ada: spectates guild 4242")
			page.waitOutput(t, "ben: spectates guild 4242")
		case b.Serves:
			node, _ = s.serve(b)
		default:
			printed = append(printed, s.run(b))
		}
	}
	for _, want := range []string{
		`ada: log_pool {"text":"Cleo joined"}`, `ben: log_pool {"text":"Cleo joined"}`,
		`ada: log_pool {"text":"the prefix is now ?"}`, "ada: elevation ended: revoked",
	} {
		page.waitOutput(t, want)
	}
	if out := page.output(); strings.Contains(out, "ben: log_pool {\"text\":\"the prefix") ||
		strings.Contains(out, "did you hear") {
		t.Errorf("somebody sees too much:\n%s", out)
	}
	if out := strings.Join(printed, ""); !strings.Contains(out, "ready") {
		t.Errorf("the commands print\n%s", out)
	}
	wait.Until(t, "the unknown kind in the log", func() bool { return strings.Contains(node(), "gossip") })
}

// redisCommands is a script that has redis-cli send the commands of a block, and fails if Redis refuses one. (Typed
// into redis-cli they would not reach the embedded Redis: redis-cli 7.0 ends at its answer to COMMAND DOCS.)
func redisCommands(b docblock.Block, port string) string {
	const script = `while IFS= read -r line; do
	xargs redis-cli -e -p %s <<<"$line"
done <<'END'
%sEND
`
	return fmt.Sprintf(script, port, strings.ReplaceAll(b.Text, "\\\n", " "))
}

// TestDocsRedis types the commands of all pages into redis-cli.
func TestDocsRedis(t *testing.T) {
	t.Parallel()
	r := startRedis(t)
	for _, b := range docs(t, "", "redis") {
		newShell(t).run(docblock.Block{Page: b.Page, Line: b.Line, Text: redisCommands(b, fmt.Sprint(r.port))})
	}
}

// TestDocsEmitters runs the blocks of the README that emit, and the command in its text.
func TestDocsEmitters(t *testing.T) {
	t.Parallel()
	r := startRedis(t)
	n := startNode(t, "node", r.url)
	c := sioclient.Connect(t, strings.TrimPrefix(n.url, "http://"),
		sioclient.Options{Auth: fmt.Sprintf(`{"token":%q}`, mint(t, jwt.MapClaims{}))})
	c.Expect("request_elevation_return")
	js := `import { Emitter } from "@socket.io/redis-emitter";
import { createClient } from "redis";
const client = createClient({ url: %q });
await client.connect();
const socketId = %q;
%s
await client.quit();
`
	python := `import redis
from socket_io_emitter import Emitter
connect, socket_id = redis.Redis, %[2]q
redis.Redis = lambda: connect(port=%[1]d)
%[3]s`
	for _, b := range docs(t, "README.md", "js", "python") {
		if b.Lang == "js" {
			runTool(t, exec.Command("node", module(t, fmt.Sprintf(js, r.url, c.SID(), b.Text))))
		} else {
			runTool(t, exec.Command("python/.venv/bin/python", "-c", fmt.Sprintf(python, r.port, c.SID(), b.Text)))
		}
		if got := string(c.Expect("notice").Arg()); compact(t, got) != `{"text":"hello"}` {
			t.Errorf("%s: got %s", b, got)
		}
	}
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, command, _ := strings.Cut(string(readme), "From a shell: `")
	command, _, found := strings.Cut(command, "`")
	if !found {
		t.Fatal("the README has no command that emits")
	}
	command = strings.NewReplacer("redis://127.0.0.1:6379", strings.TrimSuffix(r.url, "/0"), "<id>",
		c.SID()).Replace(command)
	newShell(t).run(docblock.Block{Page: "README.md", Text: command})
	if got := string(c.Expect("notice").Arg()); compact(t, got) != `{"text":"hello"}` {
		t.Errorf("%s: got %s", command, got)
	}
}

// TestDocsDurable publishes durably as docs/reference/redis.md does.
func TestDocsDurable(t *testing.T) {
	t.Parallel()
	r := startRedis(t)
	s := newShell(t)
	client := goredis.NewClient(&goredis.Options{Addr: fmt.Sprintf("127.0.0.1:%d", r.port)})
	defer client.Close()
	for i, b := range docs(t, "docs/reference/redis.md", "js", "python") {
		var cmd *exec.Cmd
		if b.Lang == "js" {
			text := strings.Replace(b.Text, "createClient()", fmt.Sprintf("createClient({ url: %q })", r.url), 1)
			cmd = exec.Command("node", module(t, text+"console.log(position); await client.close();\n"))
		} else {
			text := strings.Replace(b.Text, "redis.Redis()", fmt.Sprintf("redis.Redis(port=%d)", r.port), 1)
			cmd = exec.Command("python/.venv/bin/python", "-c", text+"print(position.decode())\n")
		}
		cmd.Env = append(os.Environ(), s.env...)
		printed := strings.TrimSpace(runTool(t, cmd))
		entries, err := client.XRange(t.Context(), "guildcast:history:{4242}", "-", "+").Result()
		if err != nil || len(entries) != i+1 {
			t.Fatalf("%s: the history is %v, %v", b, entries, err)
		}
		last := entries[i]
		if last.ID != printed || last.Values["t"] != "pool" ||
			last.Values["m"] != `{"kind":"member","payload":{"text":"hello"}}` {
			t.Errorf("%s printed %s and left %v", b, printed, last)
		}
	}
}

// module writes a program beside the packages of Node.js that it imports.
func module(t *testing.T, text string) string {
	t.Helper()
	f, err := os.CreateTemp("nodejs", ".block-*.mjs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(f.Name()) })
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// TestDocsProtocol runs the page's programs as one, on the demo's guild, and compares what it shows with what comes.
func TestDocsProtocol(t *testing.T) {
	t.Parallel()
	addr := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	n := &node{start(t, "demo", []string{"GUILDCAST_ADDR=" + addr}, nil, binary, "serve", "--demo"), "http://" + addr}
	n.waitReady(t)
	var tokens []string
	wait.Until(t, "three tokens", func() bool {
		tokens = jwtText.FindAllString(n.output(), -1)
		return len(tokens) >= 3
	})
	var text strings.Builder
	text.WriteString("import * as docs from \"./docs.mjs\";\n")
	for i, b := range docs(t, "docs/reference/protocol.md", "js", "json") {
		if b.Lang == "js" {
			text.WriteString(strings.ReplaceAll(b.Text, "https://gateway.example.com", n.url))
			if i == 0 {
				text.WriteString("await docs.begin(socket);\n")
			}
			continue
		}
		d := json.NewDecoder(strings.NewReader(b.Text))
		for d.More() {
			var example json.RawMessage
			if err := d.Decode(&example); err != nil {
				t.Fatalf("%s: %v", b, err)
			}
			fmt.Fprintf(&text, "await docs.shows(%q, %q, %s);\n", b.String(), b.Info, example)
		}
	}
	text.WriteString("await docs.end(pool);\n")
	cmd := exec.Command("node", module(t, text.String()))
	cmd.Env = append(os.Environ(), "TOKEN="+tokens[1])
	if out := runTool(t, cmd); !strings.Contains(out, "all of it") {
		t.Errorf("the page's programs print\n%s", out)
	}
}
