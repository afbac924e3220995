package node_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/internal/test/redistest"
	"github.com/architus/guildcast/internal/test/sioclient"
	"github.com/architus/guildcast/internal/test/wait"
	"github.com/architus/guildcast/node"
)

// The tests of this file are the rows of "When Redis fails" in docs/reference/operations.md: something happens to the
// Redis of a node, which shows it, keeps its clients, and is well again without a restart.

// patient is a node whose Redis something will happen to, and a client of it that spectates.
type patient struct {
	running
	log       *lines
	browser   *sioclient.Client
	token     string
	publisher *goredis.Client
	published int
}

// admit runs a node with the Redis of a URL, and waits until a client of it gets what publisher publishes.
func admit(t *testing.T, url string, publisher *goredis.Client, c node.Config) *patient {
	t.Helper()
	p := admitUnready(t, url, publisher, c)
	p.connect(t)
	return p
}

// admitUnready is admit without a client.
func admitUnready(t *testing.T, url string, publisher *goredis.Client, c node.Config) *patient {
	t.Helper()
	p := &patient{log: &lines{}, publisher: publisher, token: mint(t, jwt.SigningMethodHS256, []byte(secret), 0)}
	c.Redis, c.Logger = url, slog.New(slog.NewTextHandler(p.log, nil))
	p.running = run(t, c)
	return p
}

func (p *patient) connect(t *testing.T) {
	t.Helper()
	p.waitReady(t, http.StatusOK)
	p.browser = p.running.connect(t, p.token)
	p.browser.Expect("request_elevation_return")
	p.browser.Emit("spectate", map[string]any{"guild_id": guild, "token": p.token})
	p.browser.Expect("spectate_return")
	p.delivers(t)
}

// delivers publishes an event, which the client gets. It may get a resync before.
func (p *patient) delivers(t *testing.T) {
	t.Helper()
	p.published++
	message := fmt.Sprintf(`{"kind":"guild","payload":{"n":%d}}`, p.published)
	if err := p.publisher.Publish(context.Background(), guild, message).Err(); err != nil {
		t.Fatal(err)
	}
	e := p.browser.Next()
	for e.Name == "resync" {
		e = p.browser.Next()
	}
	if want := fmt.Sprintf(`{"n":%d}`, p.published); e.Name != "log_pool" || string(e.Arg()) != want {
		t.Fatalf("got %s, want log_pool %s", e, want)
	}
}

// refuses asks for a pool, which takes a write to Redis: the client is told that it can't be had now.
func (p *patient) refuses(t *testing.T) {
	t.Helper()
	p.browser.Emit("pool", map[string]any{"type": "guild", "ids": []string{guild}, "token": p.token})
	if e := p.browser.Expect("error"); !strings.Contains(string(e.Arg()), `"redis_unavailable"`) {
		t.Errorf("got %s", e)
	}
}

// lost waits until the node shows that it hears nothing, everywhere where it shows that.
func (p *patient) lost(t *testing.T, says string) {
	t.Helper()
	p.waitReady(t, http.StatusServiceUnavailable)
	p.says(t, "redis lost")
	p.says(t, says)
	if p.status(t, "/healthz") != http.StatusOK {
		t.Error("the node is not alive")
	}
}

// well waits until the node is ready and its client, which never left, gets events.
func (p *patient) well(t *testing.T) {
	t.Helper()
	p.waitReady(t, http.StatusOK)
	p.delivers(t)
	if ready := p.metric(t, "guildcast_ready"); ready != 1 {
		t.Errorf("guildcast_ready %v", ready)
	}
}

// says waits until the log says something.
func (p *patient) says(t *testing.T, text string) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("the log:\n%s", p.log.String())
		}
	}()
	wait.Until(t, "the log to say "+text, func() bool { return strings.Contains(p.log.String(), text) })
}

// metric returns the sum of a counter or gauge over its labels.
func (p *patient) metric(t *testing.T, name string) (sum float64) {
	t.Helper()
	response, err := http.Get(p.URL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range families[name].GetMetric() {
		sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
	}
	return sum
}

// metricOfRedis returns a number of INFO.
func (p *patient) metricOfRedis(t *testing.T, name string) (n int) {
	t.Helper()
	_, text, found := strings.Cut(p.publisher.Info(context.Background(), "stats").Val(), name+":")
	if _, err := fmt.Sscan(text, &n); err != nil || !found {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

func do(t *testing.T, c *goredis.Client, args ...any) {
	t.Helper()
	if err := c.Do(context.Background(), args...).Err(); err != nil {
		t.Fatal(err)
	}
}

// Redis is killed, and comes back without its data.
func TestRedisRestarts(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	p := admit(t, server.URL(), server.Client(), node.Config{})
	server.Stop()
	p.lost(t, "EOF")
	server.Start()
	p.well(t)
	if n := p.metric(t, "guildcast_redis_losses_total"); n < 1 {
		t.Errorf("%v losses", n)
	}
	if n := p.metric(t, "guildcast_resyncs_total"); n != 1 {
		t.Errorf("%v resyncs", n)
	}
}

// Sentinel makes the replica the primary, since that is gone.
func TestRedisFailsOver(t *testing.T) {
	t.Parallel()
	primary := redistest.Start(t)
	replica := redistest.StartReplica(t, primary)
	sentinel := redistest.StartSentinels(t, primary, 1, 1)[0]
	p := admit(t, "redis+sentinel://"+sentinel.Addr()+"/main", primary.Client(), node.Config{})
	primary.Stop()
	p.lost(t, "EOF")
	p.publisher = replica.Client()
	wait.Until(t, "the replica to be the primary", func() bool {
		role, err := p.publisher.Do(t.Context(), "role").Slice()
		return err == nil && role[0] == "master"
	})
	p.well(t)
}

// Redis answers no command of anybody; its connections stay open.
func TestRedisClientPause(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	p := admit(t, server.URL(), server.Client(), node.Config{})
	do(t, p.publisher, "client", "pause", 10_000, "all") // nobody can end it, for that takes a command
	p.lost(t, "answer")
	p.well(t)
}

// A failover by hand pauses writes alone, and what is published counts as one. The node hears all of it afterwards.
func TestRedisPausesWrites(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	p := admit(t, server.URL(), server.Client(), node.Config{})
	do(t, p.publisher, "client", "pause", 600_000, "write")
	looks := p.metricOfRedis(t, "total_connections_received")
	wait.Until(t, "the node to look at Redis three times", func() bool {
		return p.metricOfRedis(t, "total_connections_received") >= looks+3
	})
	if got := p.status(t, "/readyz"); got != http.StatusOK {
		t.Errorf("/readyz %d", got)
	}
	do(t, p.publisher, "client", "unpause")
	p.well(t)
	if n := p.metric(t, "guildcast_redis_losses_total"); n != 0 {
		t.Errorf("%v losses", n)
	}
}

// The clock of Redis, which numbers durable events, jumps ahead, back, and beyond the age of any history.
func TestRedisClockJumps(t *testing.T) {
	t.Parallel()
	server, clock := redistest.StartWithClock(t)
	p := admit(t, server.URL(), server.Client(), node.Config{})
	publisher := history.NewPublisher(p.publisher, history.PublisherOptions{})
	n := 0
	delivers := func() string {
		t.Helper()
		n++
		at, err := publisher.Publish(t.Context(), event.Topic{Guild: guild},
			fmt.Appendf(nil, `{"kind":"guild","payload":{"durable":%d}}`, n))
		if err != nil {
			t.Fatal(err)
		}
		if e := p.browser.Expect("log_pool"); string(e.Arg()) != fmt.Sprintf(`{"durable":%d}`, n) {
			t.Errorf("got %s, want event %d", e, n)
		}
		return at.String()
	}
	comesBack := func(since string, want string) {
		t.Helper()
		other := p.running.connect(t, p.token)
		defer other.Close()
		other.Expect("request_elevation_return")
		other.Emit("spectate", map[string]any{"guild_id": guild, "token": p.token, "since": since})
		if e := other.Expect("spectate_return"); !strings.Contains(string(e.Arg()), want) {
			t.Errorf("got %s, want %s", e, want)
		}
	}
	first := delivers()
	second := delivers()
	clock.Set(2 * time.Hour) // longer than histories keep events
	third := delivers()
	comesBack(second, `"recovered":true,"replayed":1`)
	comesBack(first, `"recovered":false`)
	clock.Set(0)
	delivers()
	comesBack(third, `"recovered":true,"replayed":1`)
	if n := p.metric(t, "guildcast_resyncs_total"); n != 0 {
		t.Errorf("%v resyncs", n)
	}
	clock.Set(72 * time.Hour) // the history is gone
	wait.Until(t, "the history to expire", func() bool {
		n, err := p.publisher.Exists(t.Context(), "guildcast:history:{"+guild+"}").Result()
		return err == nil && n == 0
	})
	if e := p.browser.Expect("resync"); !strings.Contains(string(e.Arg()), "history_lost") {
		t.Errorf("got %s", e)
	}
	comesBack(third, `"recovered":false`)
	last := delivers()
	delivers()
	comesBack(last, `"recovered":true,"replayed":1`)
	if n := p.metric(t, "guildcast_redis_losses_total"); n != 0 {
		t.Errorf("%v losses", n)
	}
}

// Redis hangs, and its connections stay open.
func TestRedisHangs(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	p := admit(t, server.URL(), server.Client(), node.Config{})
	server.Pause()
	p.lost(t, "answer")
	server.Resume()
	p.well(t)
}

// Redis cuts a subscriber for which more waits than it may hold.
func TestRedisOutputBuffer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	p := admit(t, server.URL(), server.Client(), node.Config{})
	do(t, p.publisher, "config", "set", "client-output-buffer-limit", "pubsub 100000 0 0")
	big := fmt.Sprintf(`{"kind":"guild","payload":{"n":%q}}`, strings.Repeat("x", 1_000_000))
	if err := p.publisher.Publish(t.Context(), guild, big).Err(); err != nil {
		t.Fatal(err)
	}
	p.says(t, "redis lost")
	p.says(t, "redis heard again")
	if e := p.browser.Expect("resync"); !strings.Contains(string(e.Arg()), "redis_lost") {
		t.Errorf("got %s", e)
	}
	p.well(t)
}

// Redis takes no more writes, and reads on.
func TestRedisOutOfMemory(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--maxmemory-policy", "noeviction")
	p := admit(t, server.URL(), server.Client(), node.Config{})
	do(t, p.publisher, "config", "set", "maxmemory", 1)
	p.refuses(t)
	p.says(t, "OOM command not allowed")
	p.delivers(t)
	if got := p.status(t, "/readyz"); got != http.StatusOK {
		t.Errorf("/readyz %d", got)
	}
	if n := p.metric(t, "guildcast_backend_outcomes_total"); n < 1 {
		t.Errorf("%v outcomes of requests", n)
	}
	do(t, p.publisher, "config", "set", "maxmemory", 0)
	p.well(t)
}

// The server of the URL becomes a replica of another.
func TestRedisIsAReplica(t *testing.T) {
	t.Parallel()
	server, other := redistest.Start(t), redistest.Start(t)
	p := admit(t, server.URL(), server.Client(), node.Config{})
	host, port, _ := strings.Cut(other.Addr(), ":")
	do(t, p.publisher, "replicaof", host, port)
	p.lost(t, "it is a replica, not the primary")
	do(t, p.publisher, "replicaof", "no", "one")
	p.well(t)
}

// Redis is back, and answers that it reads its data.
func TestRedisLoads(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--rdbcompression", "no",
		"--loading-process-events-interval-bytes", "1024", "--key-load-delay", "50000") // µs
	p := admit(t, server.URL(), server.Client(), node.Config{})
	const fill = "for i = 1, 200 do redis.call('set', 'key' .. i, ('x'):rep(2000)) end return 1"
	do(t, p.publisher, "eval", fill, 0)
	do(t, p.publisher, "save")
	server.Stop()
	p.lost(t, "EOF")
	server.Start()
	p.says(t, "LOADING Redis is loading the dataset in memory")
	p.well(t)
}

// A node starts with a password that Redis does not take, and with one that it takes later no more.
func TestRedisWrongPassword(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	admin := server.Client()
	do(t, admin, "config", "set", "requirepass", "right")
	for _, user := range []string{"", ":wrong@", "nobody:right@"} {
		p := admitUnready(t, "redis://"+user+server.Addr(), admin, node.Config{})
		p.says(t, "redis does not take the user or the password")
		p.waitReady(t, http.StatusServiceUnavailable)
		if err := p.stop(); err != nil {
			t.Errorf("%q: %v", user, err)
		}
	}
	p := admitUnready(t, "redis://:later@"+server.Addr(), admin, node.Config{})
	p.says(t, "redis does not take the user or the password")
	do(t, admin, "config", "set", "requirepass", "later")
	p.connect(t)
	do(t, admin, "config", "set", "requirepass", "right")
	do(t, admin, "client", "kill", "type", "pubsub")
	p.lost(t, "WRONGPASS")
	do(t, admin, "config", "set", "requirepass", "later")
	p.well(t)
}

// A password is replaced while the node runs: for a while Redis takes both.
func TestRedisPasswordRotates(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	admin := server.Client()
	do(t, admin, "acl", "setuser", "gc", "on", ">first", "~*", "&*", "+@all")
	file := filepath.Join(t.TempDir(), "password")
	password := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	password("first")
	p := admit(t, "redis://gc@"+server.Addr()+"/0?password_file="+file, admin, node.Config{})
	do(t, admin, "acl", "setuser", "gc", ">second")
	password("second")
	do(t, admin, "acl", "setuser", "gc", "<first")
	do(t, admin, "client", "kill", "user", "gc")
	p.says(t, "redis heard again")
	p.well(t)
	if strings.Contains(p.log.String(), "WRONGPASS") {
		t.Errorf("the log:\n%s", p.log.String())
	}
}

// Rights are taken from the user of a node that runs.
func TestRedisTakesARight(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	admin := server.Client()
	do(t, admin, "acl", "setuser", "gc", "on", ">pw", "~*", "&*", "+@all")
	p := admit(t, "redis://gc:pw@"+server.Addr(), admin, node.Config{})
	do(t, admin, "acl", "setuser", "gc", "-xadd")
	p.refuses(t)
	p.says(t, "NOPERM")
	do(t, admin, "acl", "setuser", "gc", "+xadd", "-subscribe")
	do(t, admin, "client", "kill", "type", "pubsub")
	p.lost(t, "NOPERM")
	do(t, admin, "acl", "setuser", "gc", "+subscribe")
	p.well(t)
}

// Redis takes no more connections.
func TestRedisMaxClients(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	p := admit(t, server.URL(), server.Client(), node.Config{})
	do(t, p.publisher, "config", "set", "maxclients", 1)
	p.delivers(t) // over the connections that there are
	do(t, p.publisher, "client", "kill", "type", "pubsub")
	p.lost(t, "max number of clients reached")
	do(t, p.publisher, "config", "set", "maxclients", 1000)
	p.well(t)
}

// TestFailureTable holds the table of the documentation against the tests: each row names those that show it, and each
// test of a failing Redis of this package has a row.
func TestFailureTable(t *testing.T) {
	page, err := os.ReadFile("../docs/reference/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n### Failures of Redis\n")
	section, _, _ = strings.Cut(section, "\n## ")
	tests, own := testsOf(t)
	named := map[string]bool{}
	rows := 0
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if len(cells) < 2 || strings.HasPrefix(line, "| state ") {
			continue
		}
		rows++
		names := regexp.MustCompile(`Test\w+`).FindAllString(cells[len(cells)-1], -1)
		if len(cells) != 5 || len(names) == 0 {
			t.Errorf("a row has not five cells, the last of them tests: %s", line)
		}
		for _, name := range names {
			named[name] = true
			if !tests[name] {
				t.Errorf("there is no %s: %s", name, line)
			}
		}
	}
	if rows < 15 {
		t.Errorf("%d rows", rows)
	}
	for _, name := range own {
		if !named[name] {
			t.Errorf("no row names %s", name)
		}
	}
}

// testsOf returns the names of all tests, and those of this package that are about a Redis that fails.
func testsOf(t *testing.T) (all map[string]bool, own []string) {
	t.Helper()
	all = map[string]bool{}
	for _, folder := range []string{".", "../bus", "../redis", "../integration"} {
		files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(t `).FindAllStringSubmatch(string(text), -1) {
				all[m[1]] = true
				if folder == "." && strings.HasPrefix(m[1], "TestRedis") {
					own = append(own, m[1])
				}
			}
		}
	}
	if len(own) < 15 || !slices.Contains(own, "TestRedisRestarts") {
		t.Fatalf("found only the tests %v", own)
	}
	return all, own
}
