//go:build integration

package integration

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	goredis "github.com/redis/go-redis/v9"
)

// documentedRights are the ACL rules of a node in docs/reference/redis.md, and what it adds for the sharded adapter.
func documentedRights(t *testing.T) []string {
	t.Helper()
	doc, err := os.ReadFile("../docs/reference/redis.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(doc), "ACL SETUSER guildcast on >password ")
	if !found {
		t.Fatal("docs/reference/redis.md has no rights for a node")
	}
	rules, _, _ := strings.Cut(rest, "\n```")
	return append(strings.Fields(strings.ReplaceAll(rules, "\\\n", " ")),
		"+ssubscribe", "+sunsubscribe", "+spublish", "+pubsub|shardnumsub")
}

// TestNodeNeedsRights starts nodes as a user that Redis gives what the documentation says, and all of that but one
// thing.
func TestNodeNeedsRights(t *testing.T) {
	t.Parallel()
	r := startRedis(t)
	admin := redisClient(t, r.url)
	user := func(t *testing.T, rules []string) string {
		t.Helper()
		args := []any{"acl", "setuser", "guildcast", "reset", "on", ">password"}
		for _, rule := range rules {
			args = append(args, rule)
		}
		if err := admin.Do(context.Background(), args...).Err(); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("redis://guildcast:password@127.0.0.1:%d/0", r.port)
	}
	rights := documentedRights(t)
	for _, test := range []struct{ adapter, missing, says string }{
		{"classic", "", ""},
		{"classic", "&socket.io*", "socket.io-response#/#"},
		{"classic", "+subscribe", "subscribe"},
		{"classic", "+publish", "publish"},
		{"classic", "+pubsub|numsub", "pubsub|numsub"},
		{"sharded", "", ""},
		{"sharded", "&socket.io*", "socket.io#/#"},
		{"sharded", "+ssubscribe", "ssubscribe"},
		{"sharded", "+spublish", "spublish"},
		{"sharded", "+pubsub|shardnumsub", "pubsub|shardnumsub"},
	} {
		t.Run(test.adapter+" without "+test.missing, func(t *testing.T) {
			var rules []string
			for _, rule := range rights {
				if rule != test.missing {
					rules = append(rules, rule)
				}
			}
			url := user(t, rules)
			if test.missing == "" {
				deniedTo(t, admin) // earlier ones
				n := startNode(t, "node", url, "GUILDCAST_ADAPTER="+test.adapter)
				n.drain(t)
				if denied := deniedTo(t, admin); denied != "" {
					t.Errorf("denied: %s", denied)
				}
				return
			}
			p := start(t, "node", []string{"GUILDCAST_ADDR=127.0.0.1:0", "GUILDCAST_REDIS=" + url, "GUILDCAST_JWT_SECRET=" + secret,
				"GUILDCAST_LOG=json", "GUILDCAST_ADAPTER=" + test.adapter}, nil, binary, "serve")
			if code := p.wait(t); code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			p.mu.Lock()
			last := p.lines[len(p.lines)-1]
			p.mu.Unlock()
			for _, text := range []string{"NOPERM", "rights", "socket.io*", test.says} {
				if !strings.Contains(last, text) {
					t.Errorf("the last line does not say %q: %s", text, last)
				}
			}
		})
	}
}

// deniedTo lists what Redis has denied since it was asked last.
func deniedTo(t *testing.T, admin *goredis.Client) string {
	t.Helper()
	denied, err := admin.ACLLog(context.Background(), 20).Result()
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, d := range denied {
		list = append(list, d.Reason+" "+d.Object)
	}
	if err := admin.ACLLogReset(context.Background()).Err(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(list, ", ")
}
