//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/internal/test/redistest"
	"github.com/architus/guildcast/internal/test/sioclient"
	"github.com/architus/guildcast/internal/test/wait"
)

// durable is two nodes, their Redis, and who publishes durably.
type durable struct {
	server *redistest.Server
	redis  *goredis.Client
	nodes  []*node
	*history.Publisher
}

func startDurable(t *testing.T) *durable {
	d := &durable{server: redistest.Start(t)}
	d.redis = d.server.Client()
	d.Publisher = history.NewPublisher(d.redis, history.PublisherOptions{})
	for i := range 2 {
		d.nodes = append(d.nodes, startNode(t, fmt.Sprint("node ", i), d.server.URL()))
	}
	return d
}

// publish publishes event number i on the topic of a guild's entities, or of its logs, and returns its position.
func (d *durable) publish(t testing.TB, guild string, logs bool, i int, more string) string {
	t.Helper()
	p, err := d.Publish(t.Context(), event.Topic{Guild: guild, Logs: logs},
		fmt.Appendf(nil, `{"kind":"guild"%s,"payload":{"i":%d}}`, more, i))
	if err != nil {
		t.Fatal(err)
	}
	return p.String()
}

// returned is the payload of spectate_return.
type returned struct {
	Success   bool    `json:"success"`
	Position  *string `json:"position"`
	Recovered *bool   `json:"recovered"`
	Replayed  *int    `json:"replayed"`
}

func (r returned) String() string { return mustJSON(r) }

func mustJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// visitor is a client that spectates a guild.
type visitor struct {
	*sioclient.Client
	t     testing.TB
	text  bool // uses the string form
	token string
}

func (d *durable) visit(t testing.TB, n int, text bool, claims jwt.MapClaims) *visitor {
	t.Helper()
	v := &visitor{
		Client: sioclient.Connect(t, strings.TrimPrefix(d.nodes[n].url, "http://"), sioclient.Options{}),
		t:      t, text: text, token: mint(t, claims),
	}
	v.send("request_elevation", map[string]any{})
	v.Expect("request_elevation_return")
	return v
}

func (v *visitor) send(event string, payload map[string]any) {
	payload["token"] = v.token
	if v.text {
		v.Emit(event, mustJSON(payload))
		return
	}
	v.Emit(event, payload)
}

// spectate returns the answer, which must be the next that comes.
func (v *visitor) spectate(payload map[string]any) (r returned) {
	v.t.Helper()
	v.send("spectate", payload)
	e := v.Expect("spectate_return")
	if err := decodeEither(e.Arg(), &r); err != nil || !r.Success {
		v.t.Fatalf("%s: %v", e, err)
	}
	return r
}

// hears takes the next event, which must be number i in the client's form, and returns its position.
func (v *visitor) hears(name string, i int) string {
	v.t.Helper()
	e := v.Expect(name)
	if len(e.Args) != 2 {
		v.t.Fatalf("%s has no position", e)
	}
	want := fmt.Sprintf(`{"i":%d}`, i)
	if v.text {
		want = mustJSON(want)
	}
	var position *string
	if err := json.Unmarshal(e.Args[1], &position); err != nil || string(e.Arg()) != want {
		v.t.Fatalf("%s: %v, want %s", e, err, want)
	}
	if position == nil {
		return ""
	}
	return *position
}

// answers fails the test unless r says so.
func (r returned) check(t testing.TB, position string, recovered bool, replayed int) {
	t.Helper()
	if want := (returned{true, &position, &recovered, &replayed}); r.String() != want.String() {
		t.Fatalf("the answer is %s, want %s", r, want)
	}
}

// Two nodes, and clients that go from one to the other.
func TestDurable(t *testing.T) {
	beside(t)
	d := startDurable(t)
	everything := func(guild string) jwt.MapClaims { return jwt.MapClaims{"guilds": guilds{guild: 1}} }
	next := 0
	newGuild := func() string { next++; return fmt.Sprint(7_000_000_000_000_000_000 + next) }

	for _, text := range []bool{false, true} {
		t.Run(fmt.Sprintf("another node, string form %t", text), func(t *testing.T) {
			g := newGuild()
			v := d.visit(t, 0, text, everything(g))
			first := v.spectate(map[string]any{"guild_id": g, "include_logs": true, "positions": true})
			first.check(t, "0-0", false, 0)
			at := ""
			for i := range 6 {
				d.publish(t, g, i%2 == 1, i, "")
			}
			for i := range 6 {
				at = v.hears([]string{"log_pool", "log_other"}[i%2], i)
			}
			v.Close()
			last := ""
			for i := 6; i < 13; i++ {
				last = d.publish(t, g, i%2 == 1, i, "")
			}
			v = d.visit(t, 1, text, everything(g))
			v.spectate(map[string]any{"guild_id": g, "include_logs": true, "since": at}).check(t, last, true, 7)
			for i := 6; i < 13; i++ {
				at = v.hears([]string{"log_pool", "log_other"}[i%2], i)
			}
			if at != last {
				t.Errorf("the last event came at %s, was published at %s", at, last)
			}
			d.publish(t, g, false, 13, "")
			v.hears("log_pool", 13)
			if err := d.redis.Publish(t.Context(), g, `{"kind":"guild","payload":{"i":14}}`).Err(); err != nil {
				t.Fatal(err)
			}
			if p := v.hears("log_pool", 14); p != "" {
				t.Errorf("a plain event has position %q", p)
			}
			v.Nothing(50 * time.Millisecond)
		})
	}

	t.Run("logs that nobody heard", func(t *testing.T) {
		g := newGuild()
		v := d.visit(t, 0, false, everything(g))
		v.spectate(map[string]any{"guild_id": g, "include_logs": true, "positions": true})
		d.publish(t, g, false, 0, "")
		at := v.hears("log_pool", 0)
		v.Close()
		// Somebody without logs keeps the guild's events on the node to which the client comes back.
		other := d.visit(t, 1, false, everything(g))
		other.spectate(map[string]any{"guild_id": g, "since": at}).check(t, at, true, 0)
		for i := 1; i < 9; i++ {
			d.publish(t, g, i%2 == 1, i, "")
		}
		for i := 2; i < 9; i += 2 {
			other.hears("log_pool", i)
		}
		v = d.visit(t, 1, false, everything(g))
		if r := v.spectate(map[string]any{"guild_id": g, "include_logs": true, "since": at}); *r.Replayed != 8 {
			t.Errorf("the answer is %s, want 8 events", r)
		}
		for i := 1; i < 9; i++ {
			v.hears([]string{"log_pool", "log_other"}[i%2], i)
		}
	})

	t.Run("backlog", func(t *testing.T) {
		g := newGuild()
		for i := range 60 {
			d.publish(t, g, true, 2*i, "")
			d.publish(t, g, true, 2*i+1, `,"requires":["MANAGE_SETTINGS"]`)
		}
		v := d.visit(t, 0, false, jwt.MapClaims{"guilds": guilds{g: bitPublicLogs}})
		r := v.spectate(map[string]any{"guild_id": g, "include_logs": true, "backlog": 50})
		if *r.Recovered || *r.Replayed != 50 {
			t.Errorf("the answer is %s", r)
		}
		for i := 10; i < 60; i++ {
			v.hears("log_other", 2*i)
		}
		v.Nothing(50 * time.Millisecond)
	})

	t.Run("no positions", func(t *testing.T) {
		g := newGuild()
		packets := make(chan string, 100)
		c, err := sioclient.Dial(strings.TrimPrefix(d.nodes[0].url, "http://"), sioclient.Options{
			OnEvent: func(p []byte) { packets <- string(p) },
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		token := mint(t, jwt.MapClaims{"guilds": guilds{g: 2}})
		for _, s := range []string{
			fmt.Sprintf(`42["request_elevation","%s"]`, token),
			fmt.Sprintf(`42["spectate",{"guild_id":"%s","token":"%s"}]`, g, token),
		} {
			if err := c.Send(s); err != nil {
				t.Fatal(err)
			}
			got := <-packets
			want := `["spectate_return",{"success":true,"guild_id":"` + g + `","include_logs":false,"permissions":274}]`
			if strings.Contains(s, "spectate") && got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
		d.publish(t, g, false, 0, "")
		if got := <-packets; got != `["log_pool","{\"i\":0}"]` {
			t.Errorf("got %s", got)
		}
	})

	t.Run("pool", func(t *testing.T) {
		g := newGuild()
		v := d.visit(t, 1, false, everything(g))
		d.redis.HSet(t.Context(), "guildcast:pool:{"+g+"}:role", "5", `{"id":"5"}`)
		at := d.publish(t, g, false, 0, "")
		ask := func(more map[string]any) string {
			t.Helper()
			more["guild_id"], more["type"], more["ids"] = g, "role", []string{"5"}
			v.send("pool", more)
			return string(v.Expect("pool_response").Arg())
		}
		if got := ask(map[string]any{}); strings.Contains(got, "position") {
			t.Errorf("who asks for no positions gets %s", got)
		}
		want := `"position":"` + at + `"`
		if got := ask(map[string]any{"positions": true}); !strings.Contains(got, want) {
			t.Errorf("got %s, want %s", got, want)
		}
		v.spectate(map[string]any{"guild_id": g, "positions": true})
		at = d.publish(t, g, false, 1, "")
		v.hears("log_pool", 1)
		want = `"position":"` + at + `"`
		if got := ask(map[string]any{}); !strings.Contains(got, want) {
			t.Errorf("got %s, want %s", got, want)
		}
	})

	t.Run("bad since", func(t *testing.T) {
		g, other := newGuild(), newGuild()
		d.publish(t, g, false, 0, "")
		at := d.publish(t, g, false, 1, "")
		foreign := at // every guild has positions of its own, which may be the same
		for foreign <= at {
			foreign = d.publish(t, other, false, 2, "")
		}
		v := d.visit(t, 0, false, everything(g))
		for _, bad := range []string{
			"garbage", "1-", "-1-0", "99999999999999999999999-0", "1-0x", strings.Repeat("1", 100_000),
		} {
			v.send("spectate", map[string]any{"guild_id": g, "since": bad})
			if e := v.Expect("error"); !strings.Contains(string(e.Arg()), `"code":400`) || len(e.Arg()) > 1000 {
				t.Fatalf("%.20s: %s", bad, e)
			}
		}
		for _, since := range []string{
			"99999999999999-0", foreign, "5-5", "18446744073709551615-18446744073709551615",
		} {
			v.spectate(map[string]any{"guild_id": g, "since": since}).check(t, at, false, 0)
		}
		d.publish(t, g, false, 5, "")
		v.hears("log_pool", 5)
		huge := d.visit(t, 0, false, everything(g))
		huge.send("spectate", map[string]any{"guild_id": g, "since": strings.Repeat("1", 990_000)})
		if e := huge.Expect("error"); !strings.Contains(string(e.Arg()), `"code":413`) {
			t.Fatal(e)
		}
		huge.spectate(map[string]any{"guild_id": g, "positions": true})
		d.publish(t, g, false, 6, "")
		huge.hears("log_pool", 6)
		v.hears("log_pool", 6)
	})

	t.Run("key of the wrong type", func(t *testing.T) {
		g := newGuild()
		key := "guildcast:history:{" + g + "}"
		if err := d.redis.Set(t.Context(), key, "garbage", 0).Err(); err != nil {
			t.Fatal(err)
		}
		v := d.visit(t, 0, false, everything(g))
		r := v.spectate(map[string]any{"guild_id": g, "since": "5-5", "backlog": 5})
		if r.Position != nil || *r.Recovered || *r.Replayed != 0 {
			t.Errorf("the answer is %s", r)
		}
		d.redis.Publish(t.Context(), g, `{"kind":"guild","payload":{"i":0}}`)
		v.hears("log_pool", 0)
		d.redis.Publish(t.Context(), g, `9000000000000-0 {"kind":"guild","payload":{"i":1}}`)
		v.hears("log_pool", 1)
	})

	t.Run("garbage entries", func(t *testing.T) {
		g := newGuild()
		at := d.publish(t, g, false, 0, "")
		key := "guildcast:history:{" + g + "}"
		for _, values := range [][]string{
			{"x", "y"}, {"t", "pool"}, {"t", "what", "m", "{}"}, {"t", "pool", "m", "{{"},
		} {
			if err := d.redis.XAdd(t.Context(), &goredis.XAddArgs{Stream: key, Values: values}).Err(); err != nil {
				t.Fatal(err)
			}
		}
		last := d.publish(t, g, false, 1, "")
		v := d.visit(t, 0, false, everything(g))
		v.spectate(map[string]any{"guild_id": g, "since": at}).check(t, last, true, 1)
		v.hears("log_pool", 1)
		d.publish(t, g, false, 2, "")
		v.hears("log_pool", 2)
	})
	for _, n := range d.nodes {
		n.drain(t)
	}
}

// Redis loses all data while its connections stay: each client that spectates is told once, and nobody else.
func TestDurableFlushed(t *testing.T) {
	beside(t)
	d := startDurable(t)
	const quiet, busy = "7100000000000000001", "7100000000000000002"
	claims := jwt.MapClaims{"guilds": guilds{quiet: 1, busy: 1}}
	var spectators []*visitor
	since := map[string]string{}
	for i, g := range []string{quiet, busy, quiet, busy} {
		v := d.visit(t, i%2, false, claims)
		v.spectate(map[string]any{"guild_id": g, "include_logs": i > 1, "positions": i > 0})
		spectators = append(spectators, v)
	}
	for _, g := range []string{quiet, busy} {
		since[g] = d.publish(t, g, false, 0, "")
	}
	bystander := d.visit(t, 0, false, claims)
	for _, v := range spectators {
		v.Expect("log_pool")
	}
	if err := d.redis.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	d.publish(t, busy, false, 1, "")
	for i, v := range spectators {
		names := []string{v.Next().Name}
		if i%2 == 1 {
			names = append(names, v.Next().Name)
			slices.Sort(names)
		}
		if want := []string{"log_pool", "resync"}[1-i%2:]; !slices.Equal(names, want) {
			t.Errorf("%d got %q, want %q", i, names, want)
		}
	}
	for _, g := range []string{quiet, busy} {
		v := d.visit(t, 0, false, claims)
		if r := v.spectate(map[string]any{"guild_id": g, "since": since[g]}); *r.Recovered || *r.Replayed != 0 {
			t.Errorf("the answer is %s", r)
		}
		d.publish(t, g, false, 2, "")
		v.hears("log_pool", 2)
	}
	for _, v := range spectators {
		v.Expect("log_pool")
		v.Nothing(100 * time.Millisecond)
	}
	bystander.Nothing(0)
	for _, n := range d.nodes {
		n.drain(t)
	}
}

// A node without rights on histories passes durable events on as they come, and says that nothing can be recovered.
func TestDurableWithoutRights(t *testing.T) {
	beside(t)
	server := redistest.Start(t)
	redis := server.Client()
	if err := redis.Do(t.Context(), "acl", "setuser", "node", "on", ">pass", "+@all", "&*", "resetkeys", "~socket.io*",
		"~guildcast:pool:*", "~guildcast:online:*", "~guildcast:requests:*", "~guildcast:revo*",
		"~guildcast:member*").Err(); err != nil {
		t.Fatal(err)
	}
	d := &durable{server: server, redis: redis, Publisher: history.NewPublisher(redis, history.PublisherOptions{})}
	d.nodes = append(d.nodes, startNode(t, "node", strings.Replace(server.URL(), "redis://", "redis://node:pass@", 1)))
	at := d.publish(t, guild, false, 0, "")
	v := d.visit(t, 0, false, jwt.MapClaims{"guilds": guilds{guild: 1}})
	r := v.spectate(map[string]any{"guild_id": guild, "since": at})
	if r.Position != nil || *r.Recovered || *r.Replayed != 0 {
		t.Errorf("the answer is %s", r)
	}
	for i := 1; i < 5; i++ {
		d.publish(t, guild, false, i, "")
		v.hears("log_pool", i)
	}
	if err := redis.Do(t.Context(), "acl", "setuser", "node", "~guildcast:history:*").Err(); err != nil {
		t.Fatal(err)
	}
	last := ""
	wait.Until(t, "the history to be read", func() bool {
		last = d.publish(t, guild, false, 5, "")
		late := d.visit(t, 0, false, jwt.MapClaims{"guilds": guilds{guild: 1}})
		defer late.Close()
		r := late.spectate(map[string]any{"guild_id": guild, "since": last})
		return *r.Recovered
	})
	d.nodes[0].drain(t)
}
