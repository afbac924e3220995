package redisurl

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/internal/test/redistest"
	"github.com/architus/guildcast/internal/test/wait"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func TestParseURL(t *testing.T) {
	for raw, want := range map[string]struct {
		mode           mode
		addrs          string
		user, password string
		db             int
		primary        string
		secure         bool
	}{
		"embedded":                         {mode: modeEmbedded, addrs: "127.0.0.1:0"},
		"embedded://localhost:6390":        {mode: modeEmbedded, addrs: "localhost:6390"},
		"redis://localhost":                {addrs: "localhost:6379"},
		"redis://localhost/":               {addrs: "localhost:6379"},
		"redis://h:1/3":                    {addrs: "h:1", db: 3},
		"redis://h:1?db=4":                 {addrs: "h:1", db: 4},
		"redis://[::1]:7/2":                {addrs: "[::1]:7", db: 2},
		"redis://[::1]":                    {addrs: "[::1]:6379"},
		"redis://:pw@h":                    {addrs: "h:6379", password: "pw"},
		"redis://u:p%40%2F%3F%23%25%3A:@h": {addrs: "h:6379", user: "u", password: "p@/?#%::"},
		"redis://u:p@ss@h":                 {addrs: "h:6379", user: "u", password: "p@ss"},
		"rediss://h?skip_verify=true":      {addrs: "h:6379", secure: true},
		"unix:///run/redis.sock?db=1":      {addrs: "/run/redis.sock", db: 1},
		"redis+sentinel://a,b:2/main/5":    {mode: modeSentinel, addrs: "a:26379 b:2", primary: "main", db: 5},
		"rediss+sentinel://u:p@a/main": {mode: modeSentinel, addrs: "a:26379", user: "u", password: "p",
			primary: "main", secure: true},
		"redis+cluster://:p@a:1,b:2,[::1]": {mode: modeCluster, addrs: "a:1 b:2 [::1]:6379", password: "p"},
		"rediss+cluster://a":               {mode: modeCluster, addrs: "a:6379", secure: true},
	} {
		got, err := parseURL(raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		o := got.options
		if got.mode != want.mode || strings.Join(o.Addrs, " ") != want.addrs || o.Username != want.user ||
			o.Password != want.password || o.DB != want.db || o.MasterName != want.primary ||
			(o.TLSConfig != nil) != want.secure {
			t.Errorf("%s: got %+v", raw, got)
		}
	}
}

func TestParseURLRefusesWithoutTellingThePassword(t *testing.T) {
	for _, raw := range []string{
		"", "localhost:6379", "hunter2@h", "http://u:hunter2@h", "redis://", "redis://u:hunter2@", "redis://u:hunter2",
		"redis://u:hun/ter2@h", "redis://u:hun?ter2@h", "redis://u:hun#ter2@h", "redis://u:hunter2%zz@h",
		"redis://u:hunter2@h:port", "redis://u:hunter2@h:0", "redis://u:hunter2@h:70000", "redis://u:hunter2@h/x",
		"redis://u:hunter2@h/1/2", "redis://u:hunter2@h/-1", "redis://u:hunter2@a,b", "redis://u:hunter2@a b",
		"redis://u:hunter2@::1", "redis+sentinel://u:hunter2@h", "redis+sentinel://u:hunter2@h/",
		"redis+cluster://u:hunter2@h/1",
		"redis+cluster://u:hunter2@h?db=1", "redis://u:hunter2@h?nonsense=1", "redis://u:hunter2@h?dial_timeout=soon",
		"redis://u:hunter2@h?pool_size=0", "redis://u:hunter2@h?protocol=4", "redis://u:hunter2@h?ca=x",
		"rediss://u:hunter2@h?ca=/does/not/exist", "rediss://u:hunter2@h?cert=x",
		"rediss://u:hunter2@h?skip_verify=perhaps",
		"redis://u:hunter2@h?sentinel_password=hunter2", "redis://u:hunter2@h?%zz", "unix://u:hunter2@",
		"unix://h/run/redis.sock",
		"embedded://0.0.0.0:1", "embedded://example.org:1", "embedded://127.0.0.1:1?db=1", "embedded://127.0.0.1:1/1",
	} {
		_, err := parseURL(raw)
		if err == nil {
			t.Errorf("%s was taken", raw)
			continue
		}
		for _, secret := range []string{"hunter2", "hun", "ter2"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error tells the password: %v", raw, err)
			}
		}
	}
}

func FuzzParseURL(f *testing.F) {
	for _, s := range []string{
		"embedded", "redis://u:p@h:1/2?db=3", "redis+sentinel://a,b/m/1", "redis+cluster://[::1]:1,b", "unix:///x",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := parseURL(raw)
		if err == nil && len(got.options.Addrs) == 0 {
			t.Fatalf("%q: no address and no error", raw)
		}
	})
}

func TestEmbeddedExpires(t *testing.T) {
	c, err := Connect("embedded")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.Embedded == "" || !strings.HasPrefix(c.Target, "embedded://127.0.0.1:") {
		t.Fatalf("listens on %q, target %q", c.Embedded, c.Target)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := c.Client.Set(ctx, "a", "b", 50*time.Millisecond).Err(); err != nil {
		t.Fatal(err)
	}
	for c.Client.Exists(ctx, "a").Val() != 0 {
		if ctx.Err() != nil {
			t.Fatal("the key never expired")
		}
	}
}

// redis-cli asks for the docs of all commands when it starts, and takes nothing but a map of them.
func TestEmbeddedHasNoDocs(t *testing.T) {
	c, err := Connect("embedded")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, protocol := range []int{2, 3} {
		client := goredis.NewClient(&goredis.Options{Addr: c.Embedded, Protocol: protocol})
		defer client.Close()
		docs, err := client.Do(ctx, "command", "docs").Result()
		list, _ := docs.([]any)
		byName, _ := docs.(map[any]any)
		if err != nil || len(list)+len(byName) > 0 {
			t.Errorf("RESP%d: %d docs, %v", protocol, len(list)+len(byName), err)
		}
		if all, err := client.Do(ctx, "command").Slice(); err != nil || len(all) < 100 {
			t.Errorf("RESP%d: %d commands, %v", protocol, len(all), err)
		}
	}
}

func TestConnectToEveryKind(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "p@ss/word")
	primary := redistest.Start(t)
	sentinel := redistest.StartSentinel(t, primary)
	cluster := redistest.StartCluster(t)
	for _, raw := range []string{
		"redis://:p%40ss%2Fword@" + server.Addr() + "/3", "redis+sentinel://" + sentinel.Addr() + "/main/2",
		cluster.URL(), "embedded",
	} {
		c, err := Connect(raw)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		if err := c.Client.Set(ctx, "a", "b", 0).Err(); err != nil {
			t.Errorf("%s: %v", c.Target, err)
		}
		cancel()
		if strings.Contains(c.Target, "word") {
			t.Errorf("the target tells the password: %s", c.Target)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestConnectRefusesATakenPort(t *testing.T) {
	c, err := Connect("embedded")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := Connect("embedded://" + c.Embedded); err == nil {
		t.Fatal("two listen on one port")
	}
}

// TestClusterWithoutHosts has servers that do not know by which host they are reached, and say none.
func TestClusterWithoutHosts(t *testing.T) {
	cluster := redistest.StartReplicatedCluster(t, "--cluster-preferred-endpoint-type", "unknown-endpoint")
	c, err := Connect(cluster.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client := c.Client.(*goredis.ClusterClient)
	for i := range 20 {
		if err := client.Set(ctx, fmt.Sprint("key", i), i, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	addrs := map[string]bool{}
	if err := client.ForEachShard(ctx, func(ctx context.Context, c *goredis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		addrs[c.Options().Addr] = true
		return c.Ping(ctx).Err()
	}); err != nil {
		t.Error(err)
	}
	for _, s := range append(cluster.Servers, cluster.Replicas...) {
		if !addrs[s.Addr()] || len(addrs) != 6 {
			t.Errorf("%s is not among %v", s.Addr(), addrs)
		}
	}
	// Redirections: each server in turn is asked for what another one has.
	err = client.ForEachMaster(ctx, func(ctx context.Context, c *goredis.Client) error {
		moved := 0
		for i := range 20 {
			if err := c.Get(ctx, fmt.Sprint("key", i)).Err(); err == nil {
				continue
			} else if _, addr, ok := strings.Cut(err.Error(), " 127.0.0.1:"); !ok ||
				!strings.HasPrefix(err.Error(), "MOVED ") {
				return fmt.Errorf("%w %s", err, addr)
			}
			moved++
		}
		if moved == 0 {
			return errors.New("no redirection")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	cmds, err := client.Pipelined(ctx, func(p goredis.Pipeliner) error {
		for i := range 20 {
			p.Get(ctx, fmt.Sprint("key", i))
		}
		return nil
	})
	if err != nil || len(cmds) != 20 {
		t.Errorf("pipeline: %v", err)
	}
	// A subscription of each kind, through the bus.
	b := bus.New(c.Client, bus.Options{})
	defer b.Close(ctx)
	for _, k := range []bus.Kind{bus.Channel, bus.Shard} {
		if _, err := b.Subscribe(ctx, bus.HandlerFunc(func(bus.Message) {}), k, "a", "b", "c"); err != nil {
			t.Errorf("subscribe: %v", err)
		}
	}
	wait.Until(t, "the bus to hear", func() bool { return b.State().Hearing })
}

func TestLayoutOfOtherForms(t *testing.T) {
	h := namelessHost("::1")
	for _, bad := range [][]any{
		{1}, {[]any{int64(1)}}, {[]any{int64(1), "2"}}, {[]any{int64(0), int64(1), "host"}},
		{[]any{int64(0), int64(1), []any{nil, "6379"}}},
	} {
		if _, err := h.layout(bad); err == nil {
			t.Errorf("%v was read", bad)
		}
	}
	for addr, want := range map[string]string{":1": "[::1]:1", "?:1": "[::1]:1", "a:1": "a:1", "::2:1": "::2:1"} {
		if err := h.redirection(redirection("MOVED 7 " + addr)); err.Error() != "MOVED 7 "+want {
			t.Errorf("%s is %v", addr, err)
		}
	}
}
