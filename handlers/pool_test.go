package handlers_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/handlers"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/internal/test/wait"
)

// part is one pool_response.
type part struct {
	kind, guild string
	ids         []string
	nonexistent []string
	finished    bool
}

func (p part) String() string {
	return fmt.Sprintf("%s %v -%v %v", p.kind, p.ids, p.nonexistent, p.finished)
}

// parts requests a pool and returns the parts of the answer, or the error.
func (c *client) parts(query map[string]any) (list []part, e map[string]any) {
	c.t.Helper()
	c.emit("pool", query)
	for {
		h := c.next()
		body := h.as(c.t)
		if body["_id"] != query["_id"] {
			c.t.Fatalf("got %v in answer to %v", h, query["_id"])
		}
		if h.event == "error" {
			return list, body
		}
		p := part{kind: body["type"].(string), finished: body["finished"].(bool)}
		p.guild, _ = body["guild_id"].(string)
		for _, x := range body["data"].([]any) {
			p.ids = append(p.ids, x.(map[string]any)["id"].(string))
		}
		for _, x := range body["nonexistent"].([]any) {
			p.nonexistent = append(p.nonexistent, x.(string))
		}
		list = append(list, p)
		if p.finished {
			return list, nil
		}
	}
}

func wantParts(t testing.TB, got []part, want ...string) {
	t.Helper()
	var list []string
	for _, p := range got {
		list = append(list, p.String())
	}
	if !slices.Equal(list, want) {
		t.Fatalf("got\n%s\nwant\n%s", strings.Join(list, "\n"), strings.Join(want, "\n"))
	}
}

// fill caches members 1..n of a guild, and their users.
func (n *node) fill(guild string, count int) {
	for i := 1; i <= count; i++ {
		id := strconv.Itoa(i)
		n.pools.put(guild, "member", id, `{"id":"`+id+`","name":"name `+id+`"}`)
		n.pools.put("", "user", id, `{"id":"`+id+`","username":"user `+id+`"}`)
	}
}

// existing answers fetch with the even ones of the ids.
func existing(_ context.Context, _, method string, args map[string]any, part func(string) error) error {
	if method != "fetch" {
		return context.DeadlineExceeded
	}
	var data []string
	for _, id := range args["ids"].([]any) {
		if n, _ := strconv.Atoi(id.(string)); n%2 == 0 {
			data = append(data, `{"id":"`+id.(string)+`"}`)
		}
	}
	return part(`{"data":[` + strings.Join(data, ",") + `],"nonexistent":[]}`)
}

func TestPool(t *testing.T) {
	n := start(t, nil)
	tok := mint(t, map[string]any{"guilds": map[string]any{guildA: 0, guildB: 0}})
	n.fill(guildA, 3)
	n.pools.put(guildA, "member", "100", `{"id":"100"}`) // whose user is not cached
	n.pools.online[guildA] = []string{"3", "1", "101"}
	n.pools.put(guildA, "role", "7", `{"id":"7"}`)
	n.pools.put(guildA, "customEmoji", "8", `{"id":"8"}`)
	n.pools.put("", "customEmoji", "9", `{"id":"9"}`)
	n.pools.put("", "guild", guildA, `{"id":"`+guildA+`"}`)
	n.pools.put("", "guild", "55", `{"id":"55"}`)
	n.pools.put(guildA, "settingValue", "command_prefix", `{"id":"command_prefix","value":"!"}`)
	n.requests.answer = existing
	c := elevated(t, n, tok)
	for _, tt := range []struct {
		name  string
		query map[string]any
		want  []string
	}{
		{"one id", map[string]any{"type": "role", "guild_id": guildA, "ids": "7"}, []string{"role [7] -[] true"}},
		{"a number for an id", map[string]any{"type": "role", "guild_id": guildA, "ids": 7},
			[]string{"role [7] -[] true"}},
		{"ids, twice the same", map[string]any{"type": "role", "guild_id": guildA, "ids": []any{"7", "7", 7}},
			[]string{"role [7] -[] true"}},
		{"no ids", map[string]any{"type": "role", "guild_id": guildA, "ids": []any{}}, []string{"role [] -[] true"}},
		{"cached ones at once", map[string]any{"type": "role", "guild_id": guildA, "ids": []any{"7", "20", "21"}},
			[]string{"role [7] -[] false", "role [20] -[21] true"}},
		{"users come first", map[string]any{"type": "member", "guild_id": guildA, "ids": []any{"1", "2"}},
			[]string{"user [1 2] -[] false", "member [1 2] -[] true"}},
		{"users from the backend", map[string]any{"type": "member", "guild_id": guildA, "ids": []any{"1", "100"}},
			[]string{"user [1] -[] false", "member [1] -[] false", "user [100] -[] false", "member [100] -[] true"}},
		{"members from the backend",
			map[string]any{"type": "member", "guild_id": guildA, "ids": []any{"1", "100", "20", "21"}},
			[]string{
				"user [1] -[] false", "member [1] -[] false", "user [100 20] -[] false", "member [100 20] -[21] true",
			}},
		{"online", map[string]any{"type": "member", "guild_id": guildA, "request": "online"},
			[]string{"user [1 3] -[] false", "member [1 3] -[] false", "member [] -[] true"}},
		{"all of a small pool", map[string]any{"type": "role", "guild_id": guildA, "request": "all"},
			[]string{"role [7] -[] true"}},
		{"emojis of a guild", map[string]any{"type": "customEmoji", "guild_id": guildA},
			[]string{"customEmoji [8] -[] true"}},
		{"emojis", map[string]any{"type": "customEmoji"}, []string{"customEmoji [9] -[] true"}},
		{"guilds of the claims", map[string]any{"type": "guild"},
			[]string{"guild [" + guildA + "] -[] false", "guild [] -[" + guildB + "] true"}},
		{"a foreign guild", map[string]any{"type": "guild", "ids": []any{"55", guildA}},
			[]string{"guild [" + guildA + "] -[55] true"}},
		{"what a foreign guild holds", map[string]any{"type": "role", "guild_id": "55", "ids": []any{"7", "20"}},
			[]string{"role [] -[7 20] true"}},
		{"all of a foreign guild", map[string]any{"type": "member", "guild_id": "55"}, []string{"member [] -[] true"}},
		{"emojis of a foreign guild", map[string]any{"type": "customEmoji", "guild_id": "55"},
			[]string{"customEmoji [] -[] true"}},
		{"a setting", map[string]any{"type": "settingValue", "guild_id": guildA, "ids": "command_prefix"},
			[]string{"settingValue [command_prefix] -[] true"}},
		{"search by a prefix",
			map[string]any{"type": "member", "guild_id": guildA, "request": "search", "query": "NÁme 2"},
			[]string{"user [2] -[] false", "member [2] -[] true"}},
		{"search in vain", map[string]any{"type": "user", "request": "search", "query": "zzzz"},
			[]string{"user [] -[] true"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.query["token"], tt.query["_id"] = tok, tt.name
			got, e := c.parts(tt.query)
			if e != nil {
				t.Fatalf("got %v", e)
			}
			if tt.name == "search by a prefix" { // typos match as well, after it
				got[0].ids, got[1].ids = got[0].ids[:1], got[1].ids[:1]
			}
			wantParts(t, got, tt.want...)
		})
	}
}

func TestPoolRefusals(t *testing.T) {
	n := start(t, func(c *handlers.Config, _ *handlers.Parts) { c.Limits.PoolIDs = 3 })
	tok := mint(t, map[string]any{"guilds": map[string]any{guildA: 0}, "permissions": 0})
	c := elevated(t, n, tok)
	for _, tt := range []struct {
		name  string
		query map[string]any
		code  int
		word  string
	}{
		{"no type", map[string]any{}, 400, "malformed"},
		{"another type", map[string]any{"type": "webhook"}, 400, "malformed"},
		{"no guild", map[string]any{"type": "member"}, 400, "malformed"},
		{"another request", map[string]any{"type": "user", "request": "some"}, 400, "malformed"},
		{"who of the roles is online", map[string]any{"type": "role", "guild_id": guildA, "request": "online"},
			400, "malformed"},
		{"search of roles", map[string]any{"type": "role", "guild_id": guildA, "request": "search", "query": "x"},
			400, "malformed"},
		{"search for nothing", map[string]any{"type": "user", "request": "search"}, 400, "malformed"},
		{"search for too many", map[string]any{"type": "user", "request": "search", "query": "x", "limit": 101},
			400, "malformed"},
		{"search for none", map[string]any{"type": "user", "request": "search", "query": "x", "limit": 0},
			400, "malformed"},
		{"a long query", map[string]any{"type": "user", "request": "search", "query": strings.Repeat("x", 300)},
			413, "payload_too_large"},
		{"ids of ids", map[string]any{"type": "user", "ids": []any{[]any{"1"}}}, 400, "malformed"},
		{"a rounded id", map[string]any{"type": "user", "ids": []any{9007199254740993}}, 400, "malformed"},
		{"too many ids", map[string]any{"type": "user", "ids": []any{1, 2, 3, 4}}, 413, "payload_too_large"},
		{"ids without ids", map[string]any{"type": "user", "request": "ids"}, 400, "malformed"},
		{"settings", map[string]any{"type": "settingValue", "guild_id": guildA}, 403, "permission_missing"},
		{"the backend does not answer", map[string]any{"type": "user", "ids": "1"}, 504, "backend_timeout"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.query["token"], tt.query["_id"] = tok, 1.0
			got, e := c.parts(tt.query)
			if len(got) > 0 {
				t.Fatalf("got %v", got)
			}
			wantError(t, e, tt.code, tt.word)
		})
	}
	t.Run("redis is away", func(t *testing.T) {
		n.pools.mu.Lock()
		n.pools.err = errDown
		n.pools.mu.Unlock()
		for _, q := range []map[string]any{
			{"type": "user", "ids": "1"}, {"type": "user"},
			{"type": "member", "guild_id": guildA, "request": "online"},
		} {
			q["token"], q["_id"] = tok, "x"
			_, e := c.parts(q)
			wantError(t, e, 503, "redis_unavailable")
		}
	})
}

func TestLargePoolComesInParts(t *testing.T) {
	n := start(t, nil)
	tok := mint(t, nil)
	const members = 2500
	n.fill(guildA, members)
	c := elevated(t, n, tok)
	got, e := c.parts(map[string]any{"type": "member", "guild_id": guildA, "token": tok, "_id": 1.0})
	if e != nil || len(got) != 6 {
		t.Fatalf("got %d parts, %v", len(got), e)
	}
	seen := map[string]map[string]bool{"user": {}, "member": {}}
	for i, p := range got {
		if len(p.ids) > 1000 || p.finished != (i == 5) {
			t.Fatalf("part %d has %d entities, finished %v", i, len(p.ids), p.finished)
		}
		for _, id := range p.ids {
			if seen[p.kind][id] {
				t.Fatalf("%s %s came twice", p.kind, id)
			}
			if p.kind == "member" && !seen["user"][id] {
				t.Fatalf("member %s came before its user", id)
			}
			seen[p.kind][id] = true
		}
	}
	if len(seen["member"]) != members {
		t.Fatalf("got %d members", len(seen["member"]))
	}
}

// If nothing of a pool is cached, the worker answers, in as many parts as it likes.
func TestPoolFromTheWorker(t *testing.T) {
	n := start(t, nil)
	tok := mint(t, nil)
	n.requests.answer = func(_ context.Context, guild, method string, _ map[string]any, part func(string) error) error {
		if method != "all" || guild != guildA {
			return context.DeadlineExceeded
		}
		for p := range 5 {
			var data []string
			for i := range 500 {
				data = append(data, fmt.Sprintf(`{"id":%d}`, p*500+i)) // as a number: clients get strings
			}
			if err := part(`{"data":[` + strings.Join(data, ",") + `]}`); err != nil {
				return err
			}
		}
		return nil
	}
	c := elevated(t, n, tok)
	got, e := c.parts(map[string]any{"type": "channel", "guild_id": guildA, "token": tok, "_id": 1.0})
	if e != nil || len(got) != 3 || len(got[0].ids) != 1000 || len(got[2].ids) != 500 || !got[2].finished {
		t.Fatalf("got %d parts, %v", len(got), e)
	}
}

func TestPoolErrorsOfTheWorker(t *testing.T) {
	n := start(t, nil)
	tok := mint(t, nil)
	c := elevated(t, n, tok)
	for _, tt := range []struct {
		name   string
		answer func(part func(string) error) error
		code   int
		word   string
	}{
		{"its own", func(func(string) error) error {
			return workerError{404, "unknown_method"}
		}, 404, "unknown_method"},
		{"one that makes no sense", func(func(string) error) error {
			return workerError{200, "fine"}
		}, 503, "backend_unavailable"},
		{"another", func(func(string) error) error { return errDown }, 503, "backend_unavailable"},
		{"garbage", func(part func(string) error) error { return part(`[]`) }, 503, "backend_failed"},
		{"panic", func(func(string) error) error { panic("on purpose") }, 500, "internal"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n.requests.mu.Lock()
			n.requests.answer = func(_ context.Context, _, _ string, _ map[string]any, part func(string) error) error {
				return tt.answer(part)
			}
			n.requests.mu.Unlock()
			_, e := c.parts(map[string]any{"type": "role", "guild_id": guildA, "ids": "1", "token": tok, "_id": 1.0})
			wantError(t, e, tt.code, tt.word)
		})
	}
}

type workerError struct {
	code int
	word string
}

func (e workerError) Error() string { return e.word }

func (e workerError) Code() int { return e.code }

func (e workerError) Word() string { return e.word }

// A client that reads slowly must not have a large pool pile up on the node.
func TestPoolIsPacedByTheReader(t *testing.T) {
	n := start(t, nil)
	tok := mint(t, nil)
	const roles, size = 10_000, 2000
	filler := strings.Repeat("x", size)
	for i := range roles {
		id := strconv.Itoa(i)
		n.pools.put(guildA, "role", id, `{"id":"`+id+`","name":"`+filler+`"}`)
	}
	c := elevated(t, n, tok)
	c.pause()
	c.emit("pool", map[string]any{"type": "role", "guild_id": guildA, "token": tok, "_id": 1.0})
	// Nothing reads. The answers stop when the operating system's buffers are full, before all of the 20 MB is there.
	last := -1
	wait.Until(t, "the sending to pause", func() bool {
		sent := n.answers("pool_response")
		same := sent == last && sent > 0
		last = sent
		if !same {
			time.Sleep(150 * time.Millisecond) // no signal says that nothing happens
		}
		return same
	})
	if last > roles/fakePage {
		t.Fatal("everything was sent to a client that does not read")
	}
	// Another client's pool isn't held up.
	other := elevated(t, n, tok)
	other.emit("pool", map[string]any{"type": "role", "guild_id": guildA, "ids": "1", "token": tok})
	other.expect("pool_response")
	c.resume()
	for sent := 0; ; sent++ {
		if h := c.expect("pool_response"); strings.HasSuffix(string(h.arg), `"finished":true}`) {
			if sent != (roles-1)/fakePage {
				t.Fatalf("got %d parts", sent+1)
			}
			break
		}
	}
}

func TestSearchFollowsTheGuild(t *testing.T) {
	n := start(t, nil)
	tok := mint(t, nil)
	n.fill(guildA, 50)
	c := elevated(t, n, tok)
	search := func(text string) []string {
		t.Helper()
		got, e := c.parts(map[string]any{
			"type": "member", "guild_id": guildA, "request": "search", "query": text, "limit": 100,
			"token": tok, "_id": text,
		})
		if e != nil {
			t.Fatalf("got %v", e)
		}
		return got[len(got)-1].ids
	}
	topic := event.Topic{Guild: guildA}
	if got := search("name 7"); len(got) == 0 || got[0] != "7" {
		t.Fatalf("got %v", got)
	}
	if n.topics.count(topic) != 1 {
		t.Fatal("the directory does not listen")
	}
	n.pools.put(guildA, "member", "7", `{"id":"7","name":"Zacharias"}`)
	n.pools.put(guildA, "member", "99", `{"id":"99","name":"xyz","nick":"Zachary"}`)
	n.publish(topic, `{"kind":"member","payload":{"type":"member","data":[{"id":"7"}]}}`)
	n.pools.put(guildA, "member", "607637793107345999", `{"id":"607637793107345999","name":"Zachariah"}`)
	n.pools.put(guildA, "member", "98", `{"id":"98","name":"Zacharie"}`)
	n.publish(topic, `{"kind":"member","payload":{"members":["99"]}}`)
	n.publish(topic, `{"kind":"member","payload":{"id":607637793107345999}}`)
	n.publish(topic, `{"kind":"member","payload":{"98":{"name":"Zacharie"}}}`)
	// At once, unless the machine is so slow that the search stops waiting for the change.
	wait.Until(t, "all four to be found", func() bool {
		return slices.Equal(sorted(search("zach")), []string{"607637793107345999", "7", "98", "99"})
	})
	for _, id := range []string{"607637793107345999", "98"} {
		n.pools.remove(guildA, "member", id)
		n.publish(topic, `{"kind":"member","payload":{"id":"`+id+`"}}`)
	}
	n.pools.remove(guildA, "member", "7")
	n.publish(topic, `{"kind":"member","payload":{"id":"7"}}`)
	wait.Until(t, "only one to be found", func() bool { return slices.Equal(search("zach"), []string{"99"}) })
	// Events may have been missed: the next search reads everything again.
	n.pools.put(guildA, "member", "100", `{"id":"100","name":"Zachery"}`)
	n.gateway.Resync([]event.Topic{topic}, "redis_lost")
	if got := search("zach"); !slices.Equal(sorted(got), []string{"100", "99"}) {
		t.Fatalf("got %v", got)
	}
	if n.topics.count(topic) != 1 {
		t.Fatal("the old directory still listens")
	}
	// A socket that has left does not search: its directory is dropped some time later, and at the latest with the
	// node.
	c.close()
}

// Users belong to no guild: the directory follows the events of the guilds at hand, and is read again after a while.
func TestSearchOfUsersFollows(t *testing.T) {
	n := start(t, func(c *handlers.Config, _ *handlers.Parts) {
		c.Limits = handlers.Limits{SocketRate: -1, UserRate: -1, AddressRate: -1}
	})
	tok := mint(t, nil)
	n.fill(guildA, 50)
	c := elevated(t, n, tok)
	search := func(text string) []string {
		t.Helper()
		got, e := c.parts(map[string]any{"type": "user", "request": "search", "query": text, "token": tok, "_id": text})
		if e != nil {
			t.Fatalf("got %v", e)
		}
		return got[len(got)-1].ids
	}
	if got := search("user 7"); len(got) == 0 {
		t.Fatal("nobody found")
	}
	n.pools.put("", "user", "99", `{"id":"99","username":"Zachary"}`)
	n.gateway.Message(event.Topic{Guild: guildA}, history.Position{}, []byte(`{"kind":"user","payload":{"id":"99"}}`))
	wait.Until(t, "the user of the event", func() bool { return slices.Equal(search("zach"), []string{"99"}) })
	n.pools.put("", "user", "100", `{"id":"100","username":"Xavier"}`)
	wait.Until(t, "the user without an event", func() bool { return slices.Equal(search("xavi"), []string{"100"}) })
}

func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return list
}

func TestSearchOfWhatIsNotCached(t *testing.T) {
	n := start(t, nil)
	tok := mint(t, nil)
	n.requests.answer = func(_ context.Context, _, method string, args map[string]any, part func(string) error) error {
		if method == "fetch" {
			return part(`{"data":[]}`)
		}
		if method != "search" || args["query"] != "zo" || args["limit"] != 2.0 {
			return errDown
		}
		return part(`{"data":[{"id":"3"},{"id":"1"},{"id":"2"}]}`)
	}
	c := elevated(t, n, tok)
	got, e := c.parts(map[string]any{
		"type": "member", "guild_id": guildA, "request": "search", "query": "zo", "limit": 2, "token": tok, "_id": 1.0,
	})
	if e != nil {
		t.Fatalf("got %v", e)
	}
	wantParts(t, got, "user [] -[] false", "member [3 1] -[] true")
}

// If users can only be asked for by their ids, only an architus_admin can list them.
func TestUserPoolIDs(t *testing.T) {
	n := start(t, func(c *handlers.Config, _ *handlers.Parts) { c.UserPool = handlers.UserPoolIDs })
	n.fill(guildA, 2)
	user, admin := mint(t, nil), mint(t, map[string]any{"architus_admin": true})
	for _, q := range []map[string]any{{"type": "user"}, {"type": "user", "request": "search", "query": "user"}} {
		for tok, allowed := range map[string]bool{user: false, admin: true} {
			q["_id"], q["token"] = 1.0, tok
			got, e := elevated(t, n, tok).parts(q)
			if allowed && (e != nil || len(got) != 1 || len(got[0].ids) != 2) || !allowed && e["code"] != 403.0 {
				t.Errorf("%v, allowed %t: got %v, %v", q["request"], allowed, got, e)
			}
		}
	}
	c := elevated(t, n, user)
	got, e := c.parts(map[string]any{"_id": 2.0, "type": "user", "ids": "1", "token": user})
	if e != nil {
		t.Fatal(e)
	}
	wantParts(t, got, "user [1] -[] true")
	got, e = c.parts(map[string]any{"_id": 3.0, "type": "member", "guild_id": guildA, "token": user})
	if e != nil || len(got) != 2 {
		t.Errorf("members: %v, %v", got, e)
	}
}
