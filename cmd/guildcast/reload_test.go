package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/internal/test/sioclient"
	"github.com/architus/guildcast/internal/test/wait"
	"github.com/architus/guildcast/token"
)

const (
	reloadGuild = "607637793107345431"
	oldSecret   = "the secret from before with its 32 bytes"
	newSecret   = "the secret from now on with its 32 bytes"
)

// operated is a node in a process of its own that is configured by files.
type operated struct {
	*process
	t           *testing.T
	addr, admin string
	redis       *goredis.Client
	dir         string
}

// operate starts a node from dir/guildcast.yaml.
func operate(t *testing.T, dir string, flags []string) *operated {
	t.Helper()
	server := miniredis.RunT(t)
	o := &operated{
		t: t, addr: freeAddr(t), admin: freeAddr(t), dir: dir,
		redis: goredis.NewClient(&goredis.Options{Addr: server.Addr()}),
	}
	t.Cleanup(func() { o.redis.Close() })
	path := filepath.Join(dir, "guildcast.yaml")
	o.process = start(t, []string{
		"GUILDCAST_ADDR=" + o.addr, "GUILDCAST_ADMIN_ADDR=" + o.admin, "GUILDCAST_REDIS=redis://" + server.Addr(),
		"GUILDCAST_CONFIG=" + path, "GUILDCAST_GRACE=1s",
	}, append([]string{"serve"}, flags...)...)
	wait.Until(t, "the admin listener", func() bool {
		connection, err := net.Dial("tcp", o.admin)
		if err == nil {
			connection.Close()
		}
		return err == nil
	})
	poll(t, "http://"+o.admin+"/readyz", 200)
	return o
}

// write writes a file of the node.
func (o *operated) write(name string, lines ...string) { writeFile(o.t, o.dir, name, lines...) }

func writeFile(t *testing.T, dir, name string, lines ...string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// post asks for a reload.
func (o *operated) post(header http.Header) (code int, body string) {
	o.t.Helper()
	request, err := http.NewRequestWithContext(o.t.Context(), http.MethodPost, "http://"+o.admin+"/reload", nil)
	if err != nil {
		o.t.Fatal(err)
	}
	request.Header, request.Close = header, true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		o.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		o.t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// reloads returns how many reloads ended so.
func (o *operated) reloads(outcome string) string {
	_, body := get(o.t, "http://"+o.admin+"/metrics")
	_, rest, _ := strings.Cut(body, `guildcast_reloads_total{outcome="`+outcome+`"} `)
	count, _, _ := strings.Cut(rest, "\n")
	return count
}

// connect connects with a token signed with this secret, and returns the answer to it.
func (o *operated) connect(secret string) (*sioclient.Client, string) {
	o.t.Helper()
	signed, err := token.Sign(token.Secret{Key: []byte(secret)}, map[string]any{
		"sub": "1", "exp": time.Now().Add(time.Hour).Unix(), "permissions": 0, "guilds": map[string]int{reloadGuild: 0},
	})
	if err != nil {
		o.t.Fatal(err)
	}
	c := sioclient.Connect(o.t, o.addr, sioclient.Options{Auth: fmt.Sprintf(`{"token":%q}`, signed)})
	answer := string(c.Expect("request_elevation_return").Arg())
	if strings.Contains(answer, `true`) {
		c.Emit("spectate", map[string]any{"guild_id": reloadGuild, "token": signed})
		c.Expect("spectate_return")
	}
	return c, answer
}

// publish publishes an event of a kind, with the payload.
func (o *operated) publish(kind, payload string) {
	o.t.Helper()
	message := fmt.Sprintf(`{"kind":%q,"payload":{"name":%q}}`, kind, payload)
	if err := o.redis.Publish(o.t.Context(), reloadGuild, message).Err(); err != nil {
		o.t.Fatal(err)
	}
}

// next returns the name in the next guild event.
func next(c *sioclient.Client) string { return string(c.Expect("log_pool").Arg()) }

// status asks the node as a page of an origin.
func (o *operated) status(origin string) int {
	o.t.Helper()
	url := "http://" + o.addr + "/socket.io/?EIO=4&transport=polling"
	request, err := http.NewRequestWithContext(o.t.Context(), http.MethodGet, url, nil)
	if err != nil {
		o.t.Fatal(err)
	}
	request.Header.Set("Origin", origin)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		o.t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}

// TestReload changes what a reload can change, by SIGHUP and by POST /reload, while a client stays connected.
func TestReload(t *testing.T) {
	defer http.DefaultClient.CloseIdleConnections()
	dir := t.TempDir()
	policy, secrets := filepath.Join(dir, "policy.json"), filepath.Join(dir, "jwt")
	config := func(more ...string) {
		writeFile(t, dir, "guildcast.yaml", append([]string{
			"policy: " + policy, "jwt-secret-file: " + secrets, "log: json",
		}, more...)...)
	}
	config("keep-alive: 2m")
	writeFile(t, dir, "policy.json", `{"kinds": {}}`)
	writeFile(t, dir, "jwt", oldSecret)
	o := operate(t, dir, nil)
	if code, _ := get(t, "http://"+o.addr+"/metrics"); code != 404 {
		t.Errorf("metrics are served to clients: %d", code)
	}
	c, answer := o.connect(oldSecret)
	o.publish("member", "first")
	if got := next(c); !strings.Contains(got, "first") {
		t.Fatalf("%s, %s", answer, got)
	}

	// The policy, by SIGHUP. An event that comes after one that is denied shows that it was.
	o.write("policy.json", `{"kinds": {"member": ["VIEW_SETTINGS"]}}`)
	if err := o.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	wait.Until(t, "the reload", func() bool { return o.reloads("ok") == "1" })
	o.publish("member", "denied")
	o.publish("guild", "second")
	if got := next(c); !strings.Contains(got, "second") {
		t.Errorf("after a new policy: %s", got)
	}

	// What is wrong changes nothing, also if another file is right.
	o.write("jwt", newSecret)
	for _, wrong := range []struct {
		policy string
		config []string
		want   string
	}{
		{`{"kinds": {"member": "NONSENSE"}}`, nil, ":1: policy: "},
		{`{"kinds": {}}`, []string{"origins: [nonsense]"}, ":4: origins: "},
		{`{"kinds": {}}`, []string{"", "grce: 1s"}, `:5: there is no option "grce"`},
		{`{"kinds": {}}`, []string{"tls-cert: nonsense"}, ":4: tls-cert: "},
		{`{"kinds": {}}`, []string{"jwt-jwks: /nonexistent/file"}, ":4: jwt-jwks: "},
	} {
		o.write("policy.json", wrong.policy)
		config(wrong.config...)
		if code, body := o.post(nil); code != 422 || !strings.Contains(body, dir+"/guildcast.yaml"+wrong.want) {
			t.Errorf("%s %s: %d %s", wrong.policy, wrong.config, code, body)
		}
	}
	o.publish("member", "denied")
	o.publish("guild", "third")
	if got := next(c); !strings.Contains(got, "third") {
		t.Errorf("after a wrong policy: %s", got)
	}
	if _, answer := o.connect(oldSecret); !strings.Contains(answer, "true") {
		t.Errorf("after a wrong reload: %s", answer)
	}

	// Everything else, by POST.
	const origin = "https://board.example.com"
	if code := o.status(origin); code != 403 {
		t.Errorf("an origin that is not allowed: %d", code)
	}
	config("origins: ["+origin+"]", "limit-payload: 1000", "log-level: warn", "keep-alive: 3m")
	if code, body := o.post(http.Header{"Sec-Fetch-Site": {"cross-site"}}); code != 403 {
		t.Errorf("a page of a browser: %d %s", code, body)
	}
	if code, body := o.post(nil); code != 200 || !strings.Contains(body, `"restart":["keep-alive"]`) {
		t.Errorf("%d %s", code, body)
	}
	if code := o.status(origin); code != 200 {
		t.Errorf("an origin that is allowed now: %d", code)
	}
	c.Emit("interpret", map[string]any{"content": strings.Repeat("x", 2000)})
	if got := c.Expect("error"); !strings.Contains(got.String(), "413") {
		t.Errorf("a payload that is too large now: %s", got)
	}
	if _, answer := o.connect(oldSecret); !strings.Contains(answer, "token_invalid") {
		t.Errorf("with the secret before: %s", answer)
	}
	if _, answer := o.connect(newSecret); !strings.Contains(answer, "true") {
		t.Errorf("with the secret after: %s", answer)
	}
	o.publish("member", "fourth") // the policy is the default again, and c is elevated still
	if got := next(c); !strings.Contains(got, "fourth") {
		t.Errorf("at the end: %s", got)
	}

	_, body := get(t, "http://"+o.admin+"/config")
	var list []shownOption
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	options := map[string]string{}
	for _, o := range list {
		options[o.Name] = fmt.Sprint(o.Value, " ", o.Source)
	}
	path := filepath.Join(dir, "guildcast.yaml")
	if options["keep-alive"] != "2m "+path+":4" || options["limit-payload"] != "1000 "+path+":5" ||
		options["grace"] != "1s $GUILDCAST_GRACE" || options["jwt-secret"] != " default" {
		t.Errorf("/config: %v", options)
	}

	if err := o.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	code, stderr := o.exit(t)
	for _, want := range []string{
		`"msg":"configuration reloaded"`, `"level":"ERROR","msg":"configuration is wrong`,
		`"options":["keep-alive"]`,
	} {
		if code != 0 || !strings.Contains(stderr, want) {
			t.Errorf("exit code %d; the log has no %s: %s", code, want, stderr)
		}
	}
	if strings.Contains(stderr, "node drains") {
		t.Errorf("a line of level info is logged at level warn: %s", stderr)
	}
	if strings.Contains(stderr, newSecret) || strings.Contains(body, newSecret) {
		t.Error("the log, or /config, tells a secret")
	}
}

// TestWatch swaps the files as Kubernetes swaps those of a mounted secret: a symbolic link to a directory is replaced.
func TestWatch(t *testing.T) {
	dir := t.TempDir()
	generation := 0
	mount := func(secret, policy string) {
		generation++
		name := fmt.Sprintf("..%d", generation)
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, name), "jwt", secret)
		writeFile(t, filepath.Join(dir, name), "policy.json", policy)
		writeFile(t, filepath.Join(dir, name), "guildcast.yaml",
			"jwt-secret-file: "+dir+"/jwt", "policy: "+dir+"/policy.json")
		if err := os.Symlink(name, filepath.Join(dir, "..tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	mount(oldSecret, `{"kinds": {}}`)
	for _, name := range []string{"jwt", "policy.json", "guildcast.yaml"} {
		if err := os.Symlink("..data/"+name, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	o := operate(t, dir, []string{"--watch"})
	if _, answer := o.connect(oldSecret); !strings.Contains(answer, "true") {
		t.Fatal(answer)
	}
	mount(newSecret, `{"kinds": {}}`)
	wait.Until(t, "a reload", func() bool { return o.reloads("ok") == "1" })
	if _, answer := o.connect(newSecret); !strings.Contains(answer, "true") {
		t.Error(answer)
	}
	mount(oldSecret, `{"kinds": {`)
	wait.Until(t, "a reload that fails", func() bool { return o.reloads("failed") == "1" })
	if _, answer := o.connect(newSecret); !strings.Contains(answer, "true") {
		t.Errorf("after a wrong file: %s", answer)
	}
	mount(oldSecret, `{"kinds": {} }`)
	wait.Until(t, "a reload", func() bool { return o.reloads("ok") == "2" })
	if _, answer := o.connect(oldSecret); !strings.Contains(answer, "true") {
		t.Error(answer)
	}
	if failed := o.reloads("failed"); failed != "1" {
		t.Errorf("%s reloads have failed: a wrong file is tried again and again", failed)
	}
}
