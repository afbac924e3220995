package guildcasttest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/guildcasttest"
	"github.com/architus/guildcast/node"
	"github.com/architus/guildcast/permissions"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const guild = "607637793107345431"

func member(n *guildcasttest.Node, user string, bits permissions.Bits) *guildcasttest.Client {
	return n.Connect(n.Token(guildcasttest.Claims{
		User: user, Guilds: map[string]permissions.Bits{guild: bits}, Permissions: new(permissions.Bits),
	}))
}

func TestPublish(t *testing.T) {
	n := guildcasttest.Start(t, guildcasttest.Options{})
	c, blind := member(n, "1", permissions.ViewPublicLogs), member(n, "2", 0)
	c.Spectate(guild, map[string]any{"include_logs": true, "positions": true})
	blind.Spectate(guild, nil)

	n.Publish(guildcasttest.Event{Guild: guild, Kind: event.KindMessage, Payload: 1})
	at := n.Publish(guildcasttest.Event{Guild: guild, Logs: true, Kind: event.KindMessage, Payload: 2, Durable: true})
	n.Publish(guildcasttest.Event{Guild: guild, Name: "end", Kind: event.KindGuild, Payload: 3})

	if got := c.Wait("end"); string(got.Payload) != "3" || got.Position != "" {
		t.Errorf("end: %+v", got)
	}
	if got := c.Wait("log_other"); string(got.Payload) != "2" || got.Position != at || at == "" {
		t.Errorf("log_other: %+v at %q", got, at)
	}
	if rest := c.Taken(); len(rest) != 1 || rest[0].Name != "log_pool" || string(rest[0].Payload) != "1" {
		t.Errorf("left: %v", rest)
	}
	blind.Wait("end")
	if rest := blind.Taken(); len(rest) > 0 {
		t.Errorf("without rights: %v", rest)
	}
}

// A client that comes back gets what it has missed.
func TestReplay(t *testing.T) {
	n := guildcasttest.Start(t, guildcasttest.Options{})
	publish := func(i int) string {
		return n.Publish(guildcasttest.Event{Guild: guild, Kind: event.KindMember, Payload: i, Durable: true})
	}
	since := publish(1)
	publish(2)
	c := member(n, "1", 0)
	var answer struct {
		Recovered bool
		Replayed  int
	}
	if err := json.Unmarshal(c.Spectate(guild, map[string]any{"since": since}), &answer); err != nil {
		t.Fatal(err)
	}
	if got := c.Wait("log_pool"); !answer.Recovered || answer.Replayed != 1 || string(got.Payload) != "2" {
		t.Errorf("%+v, %s", answer, got)
	}
}

func TestEntities(t *testing.T) {
	n := guildcasttest.Start(t, guildcasttest.Options{})
	channel := func(id string) any { return map[string]string{"id": id, "name": "channel " + id} }
	n.SetEntities(guild, "channel", channel("1"), channel("2"), channel("3"))
	n.RemoveEntities(guild, "channel", "2")
	n.SetEntities(guild, "member", map[string]string{"id": "1"}, map[string]string{"id": "2"})
	n.SetOnline(guild, "2")
	c := member(n, "1", 0)
	if got, _ := c.Pool(map[string]any{"type": "channel", "guild_id": guild}); len(got) != 2 {
		t.Errorf("channels: %s", got)
	}
	got, gone := c.Pool(map[string]any{"type": "channel", "guild_id": guild, "ids": []string{"2", "3"}})
	if len(got) != 1 || string(got[0]) != `{"id":"3","name":"channel 3"}` || len(gone) != 1 || gone[0] != "2" {
		t.Errorf("channels by ids: %s, nonexistent %q", got, gone)
	}
	got, _ = c.Pool(map[string]any{"type": "member", "guild_id": guild, "request": "online"})
	if len(got) != 1 || string(got[0]) != `{"id":"2"}` {
		t.Errorf("members online: %s", got)
	}
}

// echo answers each fetch with entities that it makes up.
type echo struct{}

func (echo) Handle(_ context.Context, method string, args []byte, reply func([]byte, bool) error) error {
	return reply([]byte(`{"data":[{"id":"7","method":"`+method+`"}]}`), false)
}

func TestWorker(t *testing.T) {
	n := guildcasttest.Start(t, guildcasttest.Options{Worker: echo{}})
	got, _ := member(n, "1", 0).Pool(map[string]any{"type": "role", "guild_id": guild, "ids": "7"})
	if len(got) != 1 || string(got[0]) != `{"id":"7","method":"fetch"}` {
		t.Errorf("got %s", got)
	}
}

func TestRevoke(t *testing.T) {
	n := guildcasttest.Start(t, guildcasttest.Options{})
	c := member(n, "1", 0)
	n.Revoke(permissions.Revocation{Subject: "1"})
	if got := c.Wait("elevation_expired"); string(got.Payload) != `{"reason":"revoked"}` {
		t.Errorf("got %s", got)
	}
}

// What the test wants can be had of Config; nodes of one test don't know each other.
func TestConfig(t *testing.T) {
	n := guildcasttest.Start(t, guildcasttest.Options{Config: node.Config{TopicPrefix: "bot:"}})
	other := guildcasttest.Start(t, guildcasttest.Options{})
	c, stranger := member(n, "1", 0), member(other, "1", 0)
	c.Spectate(guild, nil)
	stranger.Spectate(guild, nil)
	n.Publish(guildcasttest.Event{Guild: guild, Kind: event.KindGuild, Payload: "here"})
	if got := c.Wait("log_pool"); string(got.Payload) != `"here"` {
		t.Errorf("got %s", got)
	}
	other.Publish(guildcasttest.Event{Guild: guild, Kind: event.KindGuild, Payload: "there"})
	if got := stranger.Wait("log_pool"); string(got.Payload) != `"there"` {
		t.Errorf("got %s", got)
	}
}

// failing is a testing.TB that keeps what fails.
type failing struct {
	testing.TB
	failures []string
}

func (f *failing) Helper() {}
func (f *failing) Errorf(format string, a ...any) {
	f.failures = append(f.failures, fmt.Sprintf(format, a...))
}
func (f *failing) Fatal(a ...any) { f.Fatalf("%s", fmt.Sprint(a...)) }
func (f *failing) Fatalf(format string, a ...any) {
	f.Errorf(format, a...)
	panic(f)
}

// A mistake fails the test at once, and says what it is.
func TestFailures(t *testing.T) {
	for name, mistake := range map[string]func(n *guildcasttest.Node, c *guildcasttest.Client){
		"no event in": func(_ *guildcasttest.Node, c *guildcasttest.Client) { c.Wait("log_pool") },
		"bad_name": func(n *guildcasttest.Node, _ *guildcasttest.Client) {
			n.Publish(guildcasttest.Event{Guild: guild, Name: "error"})
		},
		"not_a_member": func(_ *guildcasttest.Node, c *guildcasttest.Client) { c.Spectate("1", nil) },
		"no type of entities": func(n *guildcasttest.Node, _ *guildcasttest.Client) {
			n.SetEntities(guild, "members", map[string]string{"id": "1"})
		},
		"has no id": func(n *guildcasttest.Node, _ *guildcasttest.Client) {
			n.SetEntities(guild, "member", map[string]int{"id": 1})
		},
	} {
		f := &failing{TB: t}
		n := guildcasttest.Start(f, guildcasttest.Options{Timeout: 50 * time.Millisecond})
		c := member(n, "1", 0)
		func() {
			defer func() { _ = recover() }()
			mistake(n, c)
		}()
		if len(f.failures) != 1 || !strings.Contains(f.failures[0], name) {
			t.Errorf("%s: %q", name, f.failures)
		}
	}
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		guildcasttest.Start(b, guildcasttest.Options{})
	}
}
