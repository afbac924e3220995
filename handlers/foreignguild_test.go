package handlers_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/handlers"
	"github.com/architus/guildcast/internal/test/redistest"
)

// monitor records the commands that Redis gets, as MONITOR reports them.
type monitor struct {
	t      *testing.T
	client *goredis.Client
	lines  chan string
	marks  int
}

func newMonitor(t *testing.T, server *redistest.Server) *monitor {
	m := &monitor{t: t, client: server.Client(), lines: make(chan string, 10_000)}
	conn, err := net.Dial("tcp", server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("MONITOR\r\n")); err != nil {
		t.Fatal(err)
	}
	scanner := bufio.NewScanner(conn)
	if !scanner.Scan() || scanner.Text() != "+OK" {
		t.Fatalf("%q, %v", scanner.Text(), scanner.Err())
	}
	go func() {
		defer close(m.lines)
		for scanner.Scan() {
			m.lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		for range m.lines { // until the goroutine ends
		}
	})
	return m
}

// since returns the commands since the last call, without those that no request causes.
func (m *monitor) since() (commands []string) {
	m.t.Helper()
	m.marks++
	mark := fmt.Sprint("mark ", m.marks)
	if err := m.client.Echo(m.t.Context(), mark).Err(); err != nil {
		m.t.Fatal(err)
	}
	late := time.After(patience)
	for {
		select {
		case line := <-m.lines:
			_, command, _ := strings.Cut(line, "] ")
			switch {
			case strings.Contains(command, mark):
				return commands
			case command == "", strings.Contains(command, "guildcast-probe"):
			case strings.HasPrefix(command, `"xdel"`): // of a request that was added: afterwards, and at any time
			case strings.HasPrefix(command, `"ping"`), strings.HasPrefix(command, `"echo"`),
				strings.HasPrefix(command, `"hello"`), strings.HasPrefix(command, `"client"`):
			default:
				commands = append(commands, command)
			}
		case <-late:
			m.t.Fatal("redis does not tell what it is asked")
		}
	}
}

// A guild that a user is no member of can't be told from one that does not exist: not by the answer, and not by the
// time, for nothing is asked of anybody about either.
func TestForeignGuildIsLikeNone(t *testing.T) {
	server := redistest.Start(t)
	n, conn := withRedisAt(t, server.URL(), patience)
	ctx := t.Context()
	const none = "713000000000000999"
	for _, kind := range []string{"member", "channel", "role", "autoResponse", "settingValue", "customEmoji", "guild"} {
		for _, guild := range []string{guildA, guildB} {
			conn.Client.HSet(ctx, "guildcast:pool:{"+guild+"}:"+kind, "1", `{"id":"1","name":"somebody"}`)
		}
	}
	for _, guild := range []string{guildA, guildB} {
		conn.Client.SAdd(ctx, "guildcast:online:{"+guild+"}", "1")
		conn.Client.HSet(ctx, "guildcast:pool:{global}:guild", guild, `{"id":"`+guild+`"}`)
	}
	conn.Client.HSet(ctx, "guildcast:pool:{global}:user", "1", `{"id":"1","username":"somebody"}`)
	tok := mint(t, guilds(guildA, 0x102))
	c := elevated(t, n, tok)
	m := newMonitor(t, server)

	queries := []map[string]any{
		{"type": "member", "request": "online"}, {"type": "member", "request": "search", "query": "some"},
		{"type": "guild", "ids": "GUILD"}, // by its id, and not among the others
	}
	for _, kind := range []string{"member", "channel", "role", "autoResponse", "settingValue", "customEmoji"} {
		queries = append(queries, map[string]any{"type": kind}, map[string]any{"type": kind, "ids": "1"})
	}
	for _, q := range queries {
		ask := func(guild string) (answer string, asked []string) {
			m.since()
			query := map[string]any{"_id": 1.0, "token": tok}
			for k, v := range q {
				query[k] = v
			}
			if q["type"] == "guild" {
				query["ids"] = guild
			} else {
				query["guild_id"] = guild
			}
			c.emit("pool", query)
			for {
				h := c.next()
				answer += h.String() + "\n"
				if h.event == "error" || h.as(t)["finished"] == true {
					return strings.ReplaceAll(answer, guild, "GUILD"), m.since()
				}
			}
		}
		own, _ := ask(guildA)
		foreign, forForeign := ask(guildB)
		missing, forMissing := ask(none)
		if foreign != missing {
			t.Errorf("%v: foreign\n%snonexistent\n%s", q, foreign, missing)
		}
		if len(forForeign)+len(forMissing) > 0 {
			t.Errorf("%v: asked %q for a foreign guild and %q for none", q, forForeign, forMissing)
		}
		if own == foreign {
			t.Errorf("%v: the own guild is answered the same: %s", q, own)
		}
	}
	query := map[string]any{"_id": 2.0, "type": "role", "guild_id": guildA, "ids": "1", "token": tok}
	if _, asked := c.parts(query); asked != nil {
		t.Fatal(asked)
	}
	if asked := m.since(); len(asked) == 0 {
		t.Fatal("nothing is seen of a question about the own guild: this proves nothing")
	}

	for _, logs := range []bool{false, true} {
		answers := map[string]bool{}
		for _, guild := range []string{guildB, none} {
			c.emit("spectate", map[string]any{"guild_id": guild, "include_logs": logs, "token": tok})
			answers[strings.ReplaceAll(c.expect("error").String(), guild, "GUILD")] = true
		}
		if asked := m.since(); len(answers) != 1 || len(asked) > 0 {
			t.Errorf("spectate, logs %t: answers %v, asked %q", logs, answers, asked)
		}
	}
	c.emit("spectate", map[string]any{"guild_id": guildA, "include_logs": true, "token": tok})
	c.expect("spectate_return")
	if asked := m.since(); !strings.Contains(strings.Join(asked, " "), guildA+"_logs") {
		t.Errorf("asked %q for a spectate of the own guild: this proves nothing", asked)
	}
}

// Nor does the time of the answer tell them apart, though each look-up takes some. The shortest of the times tells what
// an answer takes, however busy the machine is.
func TestForeignGuildTakesAsLongAsNone(t *testing.T) {
	const lookUp, rounds, maxRounds = 20 * time.Millisecond, 5, 200
	const none = "713000000000000999"
	n := start(t, func(c *handlers.Config, p *handlers.Parts) {
		c.Limits = handlers.Limits{SocketRate: -1, UserRate: -1}
		p.Pools = slowPools{p.Pools.(*fakePools), lookUp}
		p.Topics = slowTopics{p.Topics.(*fakeTopics), lookUp}
	})
	for _, guild := range []string{guildA, guildB} {
		n.pools.put(guild, "role", "1", `{"id":"1","name":"somebody"}`)
		n.pools.put(guild, "member", "1", `{"id":"1","name":"somebody"}`)
		n.pools.put("", "guild", guild, `{"id":"`+guild+`"}`)
	}
	n.pools.put("", "user", "1", `{"id":"1","username":"somebody"}`)
	tok := mint(t, guilds(guildA, 0x102))
	c := elevated(t, n, tok)
	for _, q := range []map[string]any{
		{"event": "pool", "type": "role"},
		{"event": "pool", "type": "role", "ids": "1"},
		{"event": "pool", "type": "member", "request": "online"},
		{"event": "pool", "type": "member", "request": "search", "query": "some"},
		{"event": "pool", "type": "guild"},
		{"event": "spectate", "include_logs": true},
	} {
		took := map[string]time.Duration{guildA: patience, guildB: patience, none: patience}
		alike := func() bool { return (took[guildB] - took[none]).Abs() <= lookUp/2 }
		for round := 0; round < rounds || !alike() && round < maxRounds; round++ {
			for _, guild := range []string{guildA, guildB, none} {
				query := map[string]any{"guild_id": guild, "token": tok}
				for k, v := range q {
					query[k] = v
				}
				if q["type"] == "guild" {
					query["ids"] = guild
				}
				began := time.Now()
				c.emit(q["event"].(string), query)
				for {
					if h := c.next(); h.event != "pool_response" || h.as(t)["finished"] == true {
						break
					}
				}
				took[guild] = min(took[guild], time.Since(began))
			}
			c.emit("spectate", map[string]any{"guild_id": nil, "token": tok})
			c.expect("spectate_return")
		}
		if took[guildA] < lookUp {
			t.Errorf("%v: the own guild took %v, as if nothing had been looked up: this proves nothing", q,
				took[guildA])
		}
		if !alike() {
			t.Errorf("%v: a foreign guild took %v, and none %v", q, took[guildB], took[none])
		}
	}
}

// slowPools and slowTopics take some time for whatever they are asked.
type slowPools struct {
	*fakePools
	lookUp time.Duration
}

func (s slowPools) Get(ctx context.Context, guild, kind string, ids []string) ([][]byte, error) {
	time.Sleep(s.lookUp)
	return s.fakePools.Get(ctx, guild, kind, ids)
}

func (s slowPools) All(ctx context.Context, guild, kind string, yield func([]string, [][]byte) error) error {
	time.Sleep(s.lookUp)
	return s.fakePools.All(ctx, guild, kind, yield)
}

func (s slowPools) Scan(ctx context.Context, guild, kind string, cursor uint64) ([]string, [][]byte, uint64, error) {
	time.Sleep(s.lookUp)
	return s.fakePools.Scan(ctx, guild, kind, cursor)
}

func (s slowPools) Online(ctx context.Context, guild string, cursor uint64) ([]string, uint64, error) {
	time.Sleep(s.lookUp)
	return s.fakePools.Online(ctx, guild, cursor)
}

type slowTopics struct {
	*fakeTopics
	lookUp time.Duration
}

func (s slowTopics) Acquire(ctx context.Context, topic event.Topic) (func(), error) {
	time.Sleep(s.lookUp)
	return s.fakeTopics.Acquire(ctx, topic)
}

// A foreign guild must cost what one costs that doesn't exist: nothing is looked up for either.
func TestForeignGuildIsNotLookedUp(t *testing.T) {
	n := start(t, nil)
	tok := mint(t, nil)
	c := elevated(t, n, tok)
	n.pools.err = errDown // every look-up fails
	for _, guild := range []string{guildB, "1"} {
		for _, q := range []map[string]any{
			{"type": "member", "ids": []any{"1"}}, {"type": "member"}, {"type": "member", "request": "online"},
			{"type": "member", "request": "search", "query": "x"}, {"type": "settingValue"},
		} {
			q["guild_id"], q["token"], q["_id"] = guild, tok, 1.0
			got, e := c.parts(q)
			if e != nil || len(got) != 1 || len(got[0].ids) > 0 {
				t.Fatalf("got %v, %v", got, e)
			}
		}
	}
	if asked := n.requests.log(); len(asked) > 0 {
		t.Fatalf("asked %q", asked)
	}
}
