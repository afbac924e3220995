package redis

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/internal/redisurl"
	"github.com/architus/guildcast/internal/test/lifecycle"
	"github.com/architus/guildcast/internal/test/redistest"
	"github.com/architus/guildcast/internal/test/wait"
	"github.com/architus/guildcast/worker"
)

// rights returns the ACL rules that docs/reference/redis.md recommends: the text between "ACL SETUSER name on
// >password" and the end of that line.
func rights(t *testing.T, name string) []string {
	t.Helper()
	doc, err := os.ReadFile("../docs/reference/redis.md")
	must(t, err)
	_, rest, found := strings.Cut(string(doc), "ACL SETUSER "+name+" on >password ")
	if !found {
		t.Fatalf("docs/reference/redis.md has no rights for %s", name)
	}
	line, _, _ := strings.Cut(rest, "\n```")
	return strings.Fields(strings.ReplaceAll(line, "\\\n", " "))
}

// The documented rights are enough for all that this package does, also as Redis 6.2 writes them.
func TestDocumentedRights(t *testing.T) {
	t.Run("7", func(t *testing.T) { testRights(t, func(rule string) string { return rule }) })
	t.Run("6.2", func(t *testing.T) {
		testRights(t, func(rule string) string { return strings.Replace(rule, "%R~", "~", 1) })
	})
}

func testRights(t *testing.T, spelt func(rule string) string) {
	server := redistest.Start(t)
	root := server.Client()
	must(t, root.Do(within(t), "ACL", "LOG", "RESET").Err())
	for _, user := range []string{"guildcast", "worker"} {
		// All channels are the default of 6.2.
		args := []any{"ACL", "SETUSER", user, "reset", "allchannels", "on", ">password"}
		for _, r := range rights(t, user) {
			args = append(args, spelt(r))
		}
		must(t, root.Do(within(t), args...).Err())
	}
	open := func(user string) *redisurl.Connection {
		c, err := redisurl.Connect("redis://" + user + ":password@" + server.Addr())
		must(t, err)
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	client, workers := open("guildcast").Client, open("worker").Client

	b := newBus(t, client)
	topics, r := newTopics(t, b, -1)
	topics.opts.Prefix = "" // the rights are about the default
	acquire(t, topics, event.Topic{Guild: "123", Logs: true})
	must(t, root.Publish(within(t), "123_logs", "x").Err())
	wait.Until(t, "heard", func() bool { return r.len() == 1 })
	wait.Until(t, "probed", func() bool { return b.State().Hearing })

	d := newDurable(t, client, root, bus.Options{}, TopicsOptions{})
	d.acquire("456")
	d.publish(3, "456")
	d.complete("456")
	wait.Until(t, "compared with the history", func() bool { return d.verified("456") })
	reader := history.NewReader(client, history.ReaderOptions{})
	_, err := reader.After(within(t), "456", history.Position{Time: 1}, 1)
	must(t, err)

	_, stop := startWorker(t, workers, echo, worker.Options{ClaimAfter: 40 * time.Millisecond})
	requests := newRequests(t, client, RequestsOptions{Timeout: patience})
	if got, err := do(t, requests, "1", "search", "{}"); err != nil || got != "{}" {
		t.Errorf("got %s, %v", got, err)
	}
	requests.streams.clean(within(t), nil, nil, map[string]string{"guildcast:requests:pool:0": "1526919030474-0"})
	stop()
	_, err = requests.streams.takers(within(t), "guildcast:requests:pool:0", "1526919030474-0")
	must(t, err)
	must(t, requests.streams.withdraw(within(t), "guildcast:requests:pool:0", "1526919030474-0"))

	e := NewEntities(client, nil)
	_, err = e.Get(within(t), "1", "member", []string{"1"})
	must(t, err)
	must(t, e.All(within(t), "", "user", nil))
	_, _, err = e.Online(within(t), "1", 0)
	must(t, err)

	a := &applied{}
	revocations := NewRevocations(client, b, RevocationsOptions{Apply: a.apply})
	lifecycle.Start(t, revocations.Run)
	must(t, revocations.Load(within(t)))
	_, err = Revoke(within(t), client, []byte(`{"sub":"1"}`), time.Now().Add(time.Hour))
	must(t, err)
	wait.Until(t, "heard and stored", func() bool { return revocations.Stats().Heard == 1 && stored(revocations)() })

	denied, err := root.ACLLog(within(t), 20).Result()
	must(t, err)
	for _, d := range denied {
		t.Errorf("denied to %s: %s %s", d.Username, d.Reason, d.Object)
	}
	// And they are not all rights.
	for _, key := range []string{"guildcast:pool:{1}:member", "other"} {
		if err := client.HSet(within(t), key, "a", "b").Err(); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
			t.Errorf("a node may write %s: %v", key, err)
		}
	}
}
