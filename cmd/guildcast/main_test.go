package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/permissions"
	"github.com/architus/guildcast/token"
)

// asCommand makes the test binary be the command: see process.
const asCommand = "TEST_AS_GUILDCAST"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

// outcome of one command line.
type outcome struct {
	out, err string // standard output, and the error's line
	code     int
}

func execute(t *testing.T, env []string, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var stdout, stderr bytes.Buffer
	err := run(ctx, args, env, hangups{}, strings.NewReader(`{"from": "stdin"}`), &stdout, &stderr)
	o := outcome{out: stdout.String(), code: exitCode(err)}
	if err != nil {
		o.err = oneLine(err)
	}
	return o
}

func file(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// A wrong value stops the start with one clear line, which names the option, and exit code 2.
func TestWrongValues(t *testing.T) {
	for name, c := range map[string]struct {
		env  []string
		args []string
		want string
	}{
		"no secret":           {nil, nil, "GUILDCAST_JWT_SECRET"},
		"empty secret":        {[]string{"GUILDCAST_JWT_SECRET="}, nil, "GUILDCAST_JWT_SECRET"},
		"unknown flag":        {nil, []string{"serve", "--nonsense"}, "--nonsense"},
		"unknown command":     {nil, []string{"nonsense"}, "nonsense"},
		"adapter":             {nil, []string{"--demo", "--adapter", "nonsense"}, "--adapter"},
		"adapter by variable": {[]string{"GUILDCAST_ADAPTER=nonsense", "GUILDCAST_DEMO=1"}, nil, "--adapter"},
		"demo by variable":    {[]string{"GUILDCAST_DEMO=perhaps"}, nil, "demo"},
		"duration": {nil, []string{"--demo", "--grace", "soon"},
			`--grace: "soon" is not a duration such as 250ms`},
		"duration without unit": {nil, []string{"--demo", "--grace", "10"}, `--grace: "10" is not a duration`},
		"number": {nil, []string{"--demo", "--limit-content", "many"},
			`--limit-content: "many" is not a whole number`},
		"large number": {nil, []string{"--demo", "--max-message-bytes", "99999999999999999999"},
			"is not a whole number"},
		"fraction":           {nil, []string{"--demo", "--limit-user-rate", "1,5"}, `"1,5" is not a number`},
		"demo members":       {nil, []string{"--demo", "--demo-members", "-3"}, "--demo-members"},
		"negative duration":  {nil, []string{"--demo", "--ping-interval=-1s"}, "--ping-interval"},
		"shards":             {nil, []string{"--demo", "--shards", "0"}, "--shards"},
		"shards by variable": {[]string{"GUILDCAST_SHARDS=x"}, []string{"--demo"}, "--shards"},
		"log":                {nil, []string{"--demo", "--log", "loud"}, "--log"},
		"log level":          {nil, []string{"--demo", "--log-level", "loud"}, `--log-level: "loud" is not a level`},
		"token per request":  {nil, []string{"--demo", "--token-per-request", "never"}, "--token-per-request"},
		"redis":              {nil, []string{"--demo", "--redis", "nonsense"}, "redis"},
		"sharded, embedded":  {nil, []string{"--demo", "--adapter", "sharded"}, "sharded pub/sub"},
		"sharded topics":     {nil, []string{"--demo", "--topics", "sharded"}, "sharded pub/sub"},
		"redis scheme":       {nil, []string{"--demo", "--redis", "http://localhost"}, "redis"},
		"addr":               {nil, []string{"--demo", "--addr", "nonsense"}, "address"},
		"port":               {nil, []string{"--demo", "--addr", ":99999999"}, "address"},
		"origins":            {nil, []string{"--demo", "--origins", "nonsense"}, "origin"},
		"proxies": {nil, []string{"--demo", "--trusted-proxies", "nonsense"},
			`"nonsense" is neither a network`},
		"leeway":    {nil, []string{"--demo", "--jwt-leeway", "1m"}, "--jwt-leeway"},
		"jwks":      {nil, []string{"--jwt-jwks", "ftp://keys"}, "key set"},
		"jwks file": {nil, []string{"--jwt-jwks", "/nonexistent/file"}, "key set"},
		"two secrets": {nil, []string{"--jwt-secret", "x", "--jwt-secret-file", file(t, "y")},
			"--jwt-secret-file"},
		"secret file": {nil, []string{"--jwt-secret-file", "/nonexistent/file"}, "--jwt-secret-file"},
		"secret list": {nil, []string{"--jwt-secret", "x,,y"}, "secret"},
		"policy": {nil, []string{"--demo", "--policy", file(t, `{"kinds":{"x":"NONSENSE"}}`)},
			"NONSENSE"},
		"policy file": {nil, []string{"--demo", "--policy", "/nonexistent/file"}, "policy"},
		"certificate": {nil, []string{"--demo", "--tls-cert", file(t, "x")}, "TLS"},
		"key": {nil, []string{"--demo", "--tls-cert", file(t, "x"), "--tls-key", file(t, "x")},
			"TLS"},
		"token without sub":    {[]string{"GUILDCAST_JWT_SECRET=x"}, []string{"token"}, "--sub"},
		"token without secret": {nil, []string{"token", "--sub", "1"}, "GUILDCAST_JWT_SECRET"},
		"token guild": {[]string{"GUILDCAST_JWT_SECRET=x"}, []string{"token", "--sub", "1", "--guild", "x=1"},
			"--guild"},
		"token bits": {[]string{"GUILDCAST_JWT_SECRET=x"},
			[]string{"token", "--sub", "1", "--permissions", "ALL"}, "ALL"},
		"token kid": {[]string{"GUILDCAST_JWT_SECRET=x"}, []string{"token", "--sub", "1", "--kid", "a"},
			"kid"},
		"publish guild":   {nil, []string{"publish", "x", "{}"}, "guild id"},
		"publish payload": {nil, []string{"publish", "1", "{"}, "JSON"},
		"publish nothing": {nil, []string{"publish"}, "publish takes a guild id and a payload"},
		"publish no payload": {nil, []string{"publish", "--durable", "1"},
			"publish takes a guild id and a payload"},
		"publish entries": {nil, []string{"publish", "--durable", "--max-entries", "0", "1", "{}"}, "--max-entries"},
		"publish age":     {nil, []string{"publish", "--durable", "--max-age", "-1s", "1", "{}"}, "--max-age"},
		"publish action": {nil, []string{"publish", "--durable", "1", `{"action_number":1,"guild_id":"2"}`},
			"guild_id is not the topic's"},
		"publish requires": {nil, []string{
			"publish", "--kind", "guild", "--requires", "VIEW_SETTINGS,NONSENSE", "1", "{}",
		}, "NONSENSE"},
		"publish event":   {nil, []string{"publish", "--event", "disconnect", "1", "{}"}, "event"},
		"relay to itself": {nil, []string{"relay", "--from-prefix", "a", "--to-prefix", "a"}, "would hear itself"},
		"relay nowhere":   {nil, []string{"relay"}, "would hear itself"},
		"relay lease":     {nil, []string{"relay", "--to-prefix", "gc:", "--lease", "-1s"}, "--lease"},
		"relay entries":   {nil, []string{"relay", "--to-prefix", "gc:", "--max-entries", "0"}, "--max-entries"},
		"relay age":       {nil, []string{"relay", "--to-prefix", "gc:", "--max-age", "0s"}, "--max-age"},
		"relay redis":     {nil, []string{"relay", "--to-prefix", "gc:", "--redis", "nonsense"}, "redis"},
		"emit argument":   {nil, []string{"emit", "room", "event", "nonsense"}, "argument 1"},
		"emit event":      {nil, []string{"emit", "room", "disconnect"}, "reserved"},
		"revoke nobody":   {nil, []string{"revoke"}, "--sub"},
		"revoke before":   {nil, []string{"revoke", "--sub", "1", "--iat-before", "soon"}, "--iat-before"},
		"revoke lifetime": {nil, []string{"revoke", "--sub", "1", "--revocation-lifetime", "-1h"},
			"--revocation-lifetime"},
		"user pool":  {nil, []string{"--demo", "--user-pool", "some"}, "--user-pool"},
		"emit redis": {nil, []string{"emit", "--redis", "nonsense", "room", "event"}, "redis"},
	} {
		o := execute(t, c.env, c.args...)
		if o.code != 2 || !strings.Contains(strings.ToLower(o.err), strings.ToLower(c.want)) || o.out != "" {
			t.Errorf("%s: exit code %d, error %q, want one about %q; output %q", name, o.code, o.err, c.want, o.out)
		}
	}
}

func TestHelpListsEveryOption(t *testing.T) {
	o := execute(t, nil, "serve", "--help")
	if o.code != 0 {
		t.Fatalf("%+v", o)
	}
	for _, name := range regexp.MustCompile(`(?m)^ +--([a-z0-9-]+)`).FindAllStringSubmatch(o.out, -1) {
		if name[1] != "version" && !strings.Contains(o.out, variable(name[1])) {
			t.Errorf("--%s has no variable in the help", name[1])
		}
	}
	for _, want := range []string{"--addr", "GUILDCAST_ADDR", ":8080", "GUILDCAST_REDIS", "embedded",
		"GUILDCAST_JWT_SECRET", "GUILDCAST_DEMO",
		"GUILDCAST_ADAPTER", "classic", "GUILDCAST_ADAPTER_KEY", "socket.io", "GUILDCAST_ORIGINS", "GUILDCAST_LOG",
		"GUILDCAST_LOG_LEVEL",
		"GUILDCAST_POLICY", "GUILDCAST_SHARDS", "GUILDCAST_TOPIC_PREFIX", "GUILDCAST_TOKEN_PER_REQUEST"} {
		if !strings.Contains(o.out, want) {
			t.Errorf("the help does not mention %s", want)
		}
	}
	for _, args := range [][]string{{"--help"}, {"token", "--help"}, {"publish", "--help"}, {"emit", "--help"}} {
		if o := execute(t, nil, args...); o.code != 0 || !strings.Contains(o.out, "Usage: guildcast") {
			t.Errorf("%v: %+v", args, o)
		}
	}
}

func TestVersion(t *testing.T) {
	for _, args := range [][]string{{"--version"}, {"serve", "--version"}} {
		// The variable is none of ours, and must not end a start.
		if o := execute(t, []string{"GUILDCAST_VERSION=1"}, args...); o.code != 0 ||
			!regexp.MustCompile(`^guildcast 0\.1\.0.* \(go1\.\S+, \w+/\w+\)\n$`).MatchString(o.out) {
			t.Errorf("%v: %+v", args, o)
		}
	}
	if p, err := parse([]string{"token", "--sub", "1"}, map[string]string{"GUILDCAST_VERSION": "1"},
		io.Discard); err != nil || len(p.unknown) != 1 {
		t.Errorf("unknown variables %v, %v", p.unknown, err)
	}
}

// TestNegativeValues passes negative numbers as values of their own.
func TestNegativeValues(t *testing.T) {
	args := []string{"serve", "--limit-socket-rate", "-1", "--limit-user-burst", "-1", "--demo"}
	parsed, err := parse(args, nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	s, ok := parsed.command.(*serve)
	if !ok || s.LimitSocketRate != -1 || s.LimitUserBurst != -1 || !s.Demo {
		t.Errorf("parsed as %+v", parsed.command)
	}
}

func TestRevoke(t *testing.T) {
	server := miniredis.RunT(t)
	client := goredis.NewClient(&goredis.Options{Addr: server.Addr()})
	defer client.Close()
	subscriber := client.Subscribe(t.Context(), "guildcast:revoke")
	defer subscriber.Close()
	if _, err := subscriber.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	url := "redis://" + server.Addr()
	for _, c := range []struct {
		args   []string
		record string
	}{
		{[]string{"--sub", "214037134477230080"}, `{"sub":"214037134477230080"}`},
		{[]string{"--jti", "x", "--revocation-lifetime", "1h"}, `{"jti":"x"}`},
		{[]string{"--sub", "5", "--iat-before", "1789995000"}, `{"iat_before":1789995000,"sub":"5"}`},
	} {
		o := execute(t, []string{"GUILDCAST_REDIS=" + url}, append([]string{"revoke"}, c.args...)...)
		if o.code != 0 || !strings.HasPrefix(o.out, "stored until 20") ||
			!strings.HasSuffix(o.out, ", 1 subscribed\n") {
			t.Fatalf("%v: %+v", c.args, o)
		}
		m, err := subscriber.ReceiveMessage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(m.Payload, c.record[1:]) || !strings.HasPrefix(m.Payload, `{"exp":`) {
			t.Errorf("%v: published %s", c.args, m.Payload)
		}
		expires, err := client.ZScore(t.Context(), "guildcast:revocations", c.record).Result()
		if left := time.Until(time.UnixMilli(int64(expires))); err != nil || left < 59*time.Minute {
			t.Errorf("%v: stored for %v, %v", c.args, left, err)
		}
	}
	before := time.Now()
	if o := execute(t, nil, "revoke", "--redis", url, "--sub", "7", "--iat-before", "now"); o.code != 0 {
		t.Fatalf("%+v", o)
	}
	m, err := subscriber.ReceiveMessage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r, err := permissions.ParseRevocation([]byte(m.Payload), before, time.Hour)
	if err != nil || !r.Matches(&permissions.Claims{Subject: "7", IssuedAt: before.Truncate(time.Second)}) ||
		r.Matches(&permissions.Claims{Subject: "7", IssuedAt: time.Now().Add(2 * time.Second)}) {
		t.Errorf("%s: %v", m.Payload, err)
	}
	server.Close()
	if o := execute(t, nil, "revoke", "--redis", url, "--sub", "1"); o.code != 1 || !strings.Contains(o.err, "store") {
		t.Errorf("without Redis: %+v", o)
	}
}

func TestToken(t *testing.T) {
	env := []string{`GUILDCAST_JWT_SECRET={"old":"a secret","new":"another secret"}`}
	o := execute(t, env, "token", "--sub", "214037134477230080", "--guild", "1=6", "-g",
		"2=VIEW_SETTINGS|ADMINISTRATOR", "--permissions", "0x2",
		"--jti", "id", "--ttl", "5m", "--kid", "new", "--issuer", "api", "--audience", "board")
	if o.code != 0 {
		t.Fatalf("%+v", o)
	}
	verify := func(key string) (*permissions.Claims, error) {
		v, err := token.NewVerifier(token.VerifierOptions{
			Secrets: []token.Secret{{KeyID: "new", Key: []byte(key)}}, Issuer: "api", Audience: []string{"board"},
		})
		if err != nil {
			t.Fatal(err)
		}
		return v.Verify(context.Background(), strings.TrimSpace(o.out))
	}
	c, err := verify("another secret")
	if err != nil {
		t.Fatal(err)
	}
	one, _ := c.In("1")
	two, _ := c.In("2")
	if c.Subject != "214037134477230080" || c.TokenID != "id" || one != 6 || two != permissions.All || c.ArchitusAdmin {
		t.Errorf("claims %+v: %v, %v", c, one, two)
	}
	if left := time.Until(c.ExpiresAt); left < 4*time.Minute || left > 5*time.Minute {
		t.Errorf("expires in %v", left)
	}
	if _, err := verify("a secret"); err == nil {
		t.Error("signed with the wrong secret")
	}
}

func TestPublish(t *testing.T) {
	server := miniredis.RunT(t)
	client := goredis.NewClient(&goredis.Options{Addr: server.Addr()})
	defer client.Close()
	subscriber := client.PSubscribe(t.Context(), "*")
	defer subscriber.Close()
	if _, err := subscriber.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	url := "redis://" + server.Addr()
	for _, c := range []struct {
		args          []string
		channel, want string
	}{
		{
			[]string{"--kind", "member", "1", `{"a":  "<b>"}`}, "1",
			`{"kind":"member","private":false,"payload":{"a":  "<b>"}}`,
		},
		{[]string{
			"--topic-prefix", "p:", "--logs", "--private", "--requires", "VIEW_SETTINGS,EXEC_PURGE_CMD", "--event", "e",
			"--kind", "k", "2", `1`,
		}, "p:2_logs",
			`{"event":"e","kind":"k","private":true,"requires":["VIEW_SETTINGS","EXEC_PURGE_CMD"],"payload":1}`},
		{[]string{"--logs", "3", `{"action_number":3001, "id":"9"}`}, "3_logs", `{"action_number":3001, "id":"9"}`},
		{[]string{"--kind", "guild", "4", "-"}, "4", `{"kind":"guild","private":false,"payload":{"from": "stdin"}}`},
	} {
		if o := execute(t, []string{"GUILDCAST_REDIS=" + url},
			append([]string{"publish"}, c.args...)...); o.code != 0 || o.out != "1 subscribed\n" {
			t.Fatalf("%v: %+v", c.args, o)
		}
		m, err := subscriber.ReceiveMessage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if m.Channel != c.channel || m.Payload != c.want || !json.Valid([]byte(m.Payload)) {
			t.Errorf("%v: %s on %s, want %s on %s", c.args, m.Payload, m.Channel, c.want, c.channel)
		}
	}
	server.Close()
	if o := execute(t, nil, "publish", "--redis", url, "1", "{}"); o.code != 1 || !strings.Contains(o.err, "publish") {
		t.Errorf("without Redis: %+v", o)
	}
}

func TestPublishDurably(t *testing.T) {
	server := miniredis.RunT(t)
	client := goredis.NewClient(&goredis.Options{Addr: server.Addr()})
	defer client.Close()
	subscriber := client.PSubscribe(t.Context(), "*")
	defer subscriber.Close()
	if _, err := subscriber.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	env := []string{"GUILDCAST_REDIS=redis://" + server.Addr(), "GUILDCAST_TOPIC_PREFIX=p:"}
	const want = `{"kind":"guild","private":false,"payload":{"a":  1}}`
	for i := range 3 {
		o := execute(t, env, "publish", "--durable", "--max-entries", "2", "--logs", "--kind", "guild", "1",
			`{"a":  1}`)
		position, err := history.ParsePosition(strings.TrimSuffix(o.out, "\n"))
		if o.code != 0 || err != nil {
			t.Fatalf("%+v: %v", o, err)
		}
		m, err := subscriber.ReceiveMessage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if m.Channel != "p:1_logs" || m.Payload != position.String()+" "+want {
			t.Errorf("%s on %s", m.Payload, m.Channel)
		}
		entries, err := client.XRange(t.Context(), "guildcast:history:{1}", "-", "+").Result()
		if err != nil || len(entries) != min(i+1, 2) || entries[len(entries)-1].Values["m"] != want {
			t.Errorf("the history is %v, %v", entries, err)
		}
	}
	client.Set(t.Context(), "guildcast:history:{2}", "x", 0)
	if o := execute(t, env, "publish", "--durable", "2", "{}"); o.code != 1 ||
		!strings.Contains(o.err, "redis refuses the history") || !strings.Contains(o.err, "WRONGTYPE") {
		t.Errorf("a key of another type: %+v", o)
	}
	server.Close()
	if o := execute(t, env, "publish", "--durable", "1", "{}"); o.code != 1 ||
		!strings.Contains(o.err, "redis is unavailable") {
		t.Errorf("without Redis: %+v", o)
	}
}

// TestPublishTraced puts the trace that it exports into the message, durable or plain.
func TestPublishTraced(t *testing.T) {
	requests := make(chan string, 10)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		requests <- string(body)
	}))
	defer collector.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	server := miniredis.RunT(t)
	client := goredis.NewClient(&goredis.Options{Addr: server.Addr()})
	defer client.Close()
	subscriber := client.PSubscribe(t.Context(), "*")
	defer subscriber.Close()
	if _, err := subscriber.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	env := []string{"GUILDCAST_REDIS=redis://" + server.Addr(), "GUILDCAST_TRACES=true"}
	for _, args := range [][]string{{"publish", "--durable"}, {"publish"}} {
		if o := execute(t, env, append(args, "1", "{}")...); o.code != 0 {
			t.Fatalf("%v: %+v", args, o)
		}
		m, err := subscriber.ReceiveMessage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(m.Payload, `{"traceparent":"00-`)
		trace, rest, _ := strings.Cut(rest, "-")
		id, err := hex.DecodeString(trace)
		if err != nil || len(id) != 16 || !strings.HasSuffix(rest, `-01","private":false,"payload":{}}`) {
			t.Errorf("%v: the message is %s", args, m.Payload)
		}
		if body := <-requests; !strings.Contains(body, string(id)) {
			t.Errorf("%v: trace %s is not in %q", args, trace, body)
		}
	}
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	if o := execute(t, env, "publish", "1", "{}"); o.code != 2 || !strings.Contains(o.err, "http/protobuf") {
		t.Errorf("a protocol that is not spoken: %+v", o)
	}
}

func TestPrintScript(t *testing.T) {
	if o := execute(t, nil, "publish", "--print-script"); o.code != 0 || o.out != history.Script {
		t.Errorf("%+v", o)
	}
}

// Socket ids may begin with a dash, and so may arguments.
func TestFlagsFirst(t *testing.T) {
	k, err := newParser(&sources{}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"":                                   "",
		"serve --addr -x":                    "serve --addr -x",
		"emit -room event -1":                "emit -- -room event -1",
		"emit --redis -url room event":       "emit --redis -url -- room event",
		"emit room --volatile event --a":     "emit --volatile --a -- room event",
		"emit room event --except=a --redis": "emit --except=a --redis -- room event",
		"emit -- --room event --volatile":    "emit -- --room event --volatile",
		"emit -h":                            "emit -h --",
		"publish 1 - --logs":                 "publish --logs -- 1 -",
	} {
		if got := strings.Join(flagsFirst(k.Model, strings.Fields(line)), " "); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

func TestEmit(t *testing.T) {
	server := miniredis.RunT(t)
	client := goredis.NewClient(&goredis.Options{Addr: server.Addr()})
	defer client.Close()
	subscriber := client.PSubscribe(t.Context(), "*")
	defer subscriber.Close()
	if _, err := subscriber.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	if o := execute(t, nil, "emit", "-id_auth", "hello", `{"a":1}`, "-1", "--redis", "redis://"+server.Addr(),
		"--adapter-key", "key"); o.code != 0 {
		t.Fatalf("%+v", o)
	}
	m, err := subscriber.ReceiveMessage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if m.Channel != "key#/#-id_auth#" || !strings.Contains(m.Payload, "hello") {
		t.Errorf("%q on %s", m.Payload, m.Channel)
	}
}
