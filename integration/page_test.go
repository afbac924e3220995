//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/internal/test/wait"
)

// pageDemo is a demo whose page is open in a browser.
type pageDemo struct {
	node
	addr, redis string
}

func startPageDemo(t *testing.T, redis string) *pageDemo {
	d := &pageDemo{addr: fmt.Sprintf("127.0.0.1:%d", freePort(t)), redis: redis}
	d.begin(t)
	return d
}

// begin starts the process, also after it was killed.
func (d *pageDemo) begin(t *testing.T) {
	t.Helper()
	env := []string{"GUILDCAST_ADDR=" + d.addr, "GUILDCAST_REDIS=" + d.redis}
	d.node = node{start(t, "demo", env, nil, binary, "serve", "--demo"), "http://" + d.addr}
	d.waitReady(t)
}

// viewers are the demo's users, by the names that the page has for them.
func (d *pageDemo) viewers(t *testing.T) map[string]viewer {
	t.Helper()
	var tokens []string
	wait.Until(t, "three tokens", func() bool {
		tokens = jwtText.FindAllString(d.output(), -1)
		return len(tokens) >= 3
	})
	return map[string]viewer{
		"member": claimsOf(t, tokens[0]), "log_viewer": claimsOf(t, tokens[1]), "administrator": claimsOf(t, tokens[2]),
	}
}

func clientOf(t *testing.T, redis *realRedis) *goredis.Client {
	t.Helper()
	options, err := goredis.ParseURL(redis.url)
	if err != nil {
		t.Fatal(err)
	}
	client := goredis.NewClient(options)
	t.Cleanup(func() { client.Close() })
	return client
}

// happen publishes log entries of members of the demo guild, durably, the last with the text word. The history keeps
// more than a page's log: if the node leaves events out for a page that is too slow, it replays them.
func happen(t *testing.T, client *goredis.Client, n int, word string) {
	t.Helper()
	publisher := history.NewPublisher(client, history.PublisherOptions{MaxEntries: 20_000})
	for i := range n {
		text := "something"
		if i == n-1 {
			text = word
		}
		// A member sees changes only.
		if i%2 == 0 || i == n-1 {
			payload := fmt.Sprintf(`{"event":"now_playing","kind":"guild","payload":{"guild_id":%q,"title":%q}}`, guild, text)
			publishTo(t, publisher, event.Topic{Guild: guild}, payload)
			continue
		}
		payload := fmt.Sprintf(`{"id":"%d","guild_id":%q,"action_number":3001,"private":false,"data":{"content":%q}}`,
			1000+i, guild, text)
		publishTo(t, publisher, event.Topic{Guild: guild, Logs: true}, payload)
	}
}

func publishTo(t *testing.T, publisher *history.Publisher, topic event.Topic, payload string) {
	t.Helper()
	if _, err := publisher.Publish(t.Context(), topic, []byte(payload)); err != nil {
		t.Fatal(err)
	}
}

// TestPageMissesNothing: three users have the page's log open while the node is killed and comes back, while their
// tokens expire, and while the page restarts the node. Each log has all that its user may see, once, in order, and
// nothing else.
func TestPageMissesNothing(t *testing.T) {
	t.Parallel()
	redis := startRedis(t)
	d := startPageDemo(t, redis.url)
	viewers := d.viewers(t)
	client := clientOf(t, redis)
	var seen map[string][]string
	page := start(t, "page", nil, nil, "node", "nodejs/page/log.mjs", d.url)
	page.waitOutput(t, "open")
	d.stop(t, syscall.SIGKILL)
	fmt.Fprintln(page.in, "killed")
	page.waitOutput(t, "lost")
	happen(t, client, 40, "while there is no node")
	d.begin(t)
	page.waitOutput(t, "restarted")
	happen(t, client, 1, "the last event")
	fmt.Fprintln(page.in, "published")
	for _, name := range []string{"member", "log_viewer", "administrator"} { // each may take long
		page.waitOutput(t, fmt.Sprintf("read %q", name))
	}
	line := page.waitOutput(t, "seen {")
	if code := page.wait(t); code != 0 {
		t.Errorf("the browser's program ended with %d", code)
	}
	if err := json.Unmarshal([]byte(strings.TrimPrefix(line, "seen ")), &seen); err != nil {
		t.Fatal(err)
	}
	entries := historyOf(t, client)
	for name, v := range viewers {
		if len(seen[name]) < 40 {
			t.Errorf("%s has seen only %d events", name, len(seen[name]))
			continue
		}
		if want := permitted(entries, v, seen[name]); !slices.Equal(seen[name], want) {
			t.Errorf("%s has seen %d events:\n%v\nand should have seen %d:\n%v",
				name, len(seen[name]), seen[name], len(want), want)
		}
	}
}

// historyOf returns the demo guild's durable events.
func historyOf(t *testing.T, client *goredis.Client) (entries []history.Entry) {
	t.Helper()
	reader := history.NewReader(client, history.ReaderOptions{})
	for {
		var after history.Position
		if len(entries) > 0 {
			after = entries[len(entries)-1].Position
		}
		page, err := reader.After(t.Context(), guild, after, 500)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, page.Entries...)
		if !page.More {
			return entries
		}
	}
}

// permitted returns the positions of what v may see between the first and the last of seen.
func permitted(entries []history.Entry, v viewer, seen []string) (positions []string) {
	in := false
	for _, e := range entries {
		at := e.Position.String()
		in = in || at == seen[0]
		logs := e.Topic.Logs
		if in && (!logs || v.has(guild, bitPublicLogs) || v.has(guild, bitPrivateLogs)) {
			if _, _, ok := v.sees(guild, logs, e.Message); ok {
				positions = append(positions, at)
			}
		}
		if at == seen[len(seen)-1] {
			break
		}
	}
	return positions
}

// TestPage goes through the demo page in a browser.
func TestPage(t *testing.T) {
	t.Parallel()
	redis := startRedis(t)
	d := startPageDemo(t, redis.url)
	page := start(t, "page", nil, nil, "node", "nodejs/page/tour.mjs", d.url)
	parts := []string{"used tenTabs", "used begin"}
	for _, view := range strings.Fields("overview log members channels roles emoji responses settings chat compare") {
		parts = append(parts, "light "+view, "dark "+view)
	}
	for _, part := range strings.Fields("search readTheLog smallWindows chat compare oldResults retry") {
		parts = append(parts, "used "+part)
	}
	page.patience = 5 * time.Minute // its steps have bounds of their own, and say which was not kept
	for _, part := range append(parts, "flood") {
		page.waitOutput(t, part)
	}
	happen(t, clientOf(t, redis), 10_000, "the last of them")
	fmt.Fprintln(page.in, "published")
	page.waitOutput(t, "done")
	if code := page.wait(t); code != 0 {
		t.Errorf("the browser's program ended with %d", code)
	}
	for line := range strings.Lines(page.output()) {
		t.Log(strings.TrimSpace(line))
	}
}
