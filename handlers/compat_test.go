package handlers_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/architus/guildcast/handlers"
	"github.com/architus/guildcast/internal/test/sioclient"
)

func architus(c *handlers.Config, p *handlers.Parts) {
	withCookie(c, p)
	c.Compat = handlers.CompatArchitus
}

// dashboard connects as the first dashboard does: with its cookie and without an auth object.
func dashboard(t testing.TB, n *node, token string) *client {
	t.Helper()
	c := connectWith(t, n.server, nil, sioclient.Options{
		OldProtocol: true, Headers: "Origin: " + boardOrigin + "\r\nCookie: token=" + token + "\r\n",
	})
	c.expect("request_elevation_return")
	return c
}

// compatEntities is an entity of each type, with all members that the first dashboard decodes.
var compatEntities = map[string]string{
	"user": `{"id":"214037134477230080","username":"j","discriminator":"0001","avatar":null,"bot":false,"system":false,` +
		`"mfa_enabled":true,"locale":"en","verified":true,"email":"a@b.c","flags":1,"premium_type":2}`,
	"guild": `{"id":"607637793107345431","name":"g","architus_admin":false,"owner":true,"permissions":8,` +
		`"features":["NEWS","x"],"has_architus":true,"icon":"i","splash":"s","region":["eu"],"afk_timeout":300,` +
		`"max_members":1,"banner":"b","description":"d","mfa_level":1,"premium_tier":3,` +
		`"premium_subscription_count":1,"preferred_locale":"en","member_count":2}`,
	"member": `{"id":"214037134477230080","name":"j","discriminator":"0001","joined_at":"2019-08-04T17:06:43.123000",` +
		`"avatar":"a","color":"#00ff00","nick":"n","roles":["607637793107345432"]}`,
	"channel": `{"id":"607637793107345433","name":"general"}`,
	"customEmoji": `{"id":"711543547145097377","name":"e","discordId":"711543547145097378",` +
		`"authorId":"214037134477230080","url":"https://x","numUses":1,"priority":0.5}`,
	"autoResponse": `{"id":"711543547145097379","trigger":"t","response":"r","authorId":"214037134477230080",` +
		`"guildId":"607637793107345431","triggerRegex":"t","triggerPunctuation":["!"],` +
		`"responseTokens":[["text","r"]],"count":3,"mode":"naive"}`,
}

// compatRequired are the members without which the first dashboard drops an entity.
var compatRequired = map[string][]string{
	"user":        {"id", "username", "discriminator"},
	"guild":       {"id", "name", "architus_admin", "owner", "permissions", "features", "has_architus"},
	"member":      {"id", "name", "discriminator", "joined_at", "roles"},
	"channel":     {"id", "name"},
	"customEmoji": {"id", "name", "authorId", "url", "numUses", "priority"},
	"autoResponse": {"id", "trigger", "response", "guildId", "triggerRegex", "triggerPunctuation", "responseTokens",
		"count", "mode"},
}

// TestCompatEntities holds that an entity arrives as the dashboard decodes it, whichever of its members is wrong, or
// not at all.
func TestCompatEntities(t *testing.T) {
	n := start(t, architus)
	c := dashboard(t, n, mint(t, nil))
	c.expect("elevation_return")
	id := 1
	ask := func(kind, entity string) (data []json.RawMessage, nonexistant []string) {
		t.Helper()
		guild := guildA
		if kind == "user" || kind == "guild" {
			guild = ""
		}
		key := guildA // of guilds the bearer may have this one only
		if kind != "guild" {
			key = userB
		}
		n.pools.put(guild, kind, key, entity)
		id++
		c.emit("pool_request", map[string]any{"_id": id, "type": kind, "guildId": guild, "ids": []string{key}})
		var answer struct {
			ID          int               `json:"_id"`
			Data        []json.RawMessage `json:"data"`
			Nonexistant []string          `json:"nonexistant"`
			Finished    bool              `json:"finished"`
		}
		if err := json.Unmarshal(c.expect("pool_response").arg, &answer); err != nil {
			t.Fatal(err)
		}
		if answer.ID != id || !answer.Finished || answer.Nonexistant == nil {
			t.Fatalf("got %+v", answer)
		}
		return answer.Data, answer.Nonexistant
	}
	for kind, whole := range compatEntities {
		data, _ := ask(kind, whole)
		if len(data) != 1 || string(data[0]) != whole {
			t.Errorf("%s: got %s", kind, data)
		}
		for _, name := range slices.Sorted(maps.Keys(object(t, []byte(whole)))) {
			for _, wrong := range []any{nil, map[string]any{}, []any{7}, -1.5} {
				members := object(t, []byte(whole))
				if _, isNumber := members[name].(float64); isNumber && wrong == -1.5 &&
					name != "mfa_level" && name != "premium_tier" && name != "premium_type" {
					continue
				}
				members[name] = wrong
				data, nonexistant := ask(kind, marshal(members))
				if slices.Contains(compatRequired[kind], name) {
					if len(data) != 0 || len(nonexistant) != 1 {
						t.Errorf("%s with %s %v: got %s %s", kind, name, wrong, data, nonexistant)
					}
					continue
				}
				if len(data) != 1 || object(t, data[0])[name] != nil {
					t.Errorf("%s with %s %v: got %s", kind, name, wrong, data)
				}
			}
		}
	}
}

func TestCompatPools(t *testing.T) {
	n := start(t, architus)
	token := mint(t, nil)
	c := dashboard(t, n, token)
	n.pools.put("", "guild", guildA, compatEntities["guild"])
	n.pools.put(guildA, "member", userA, compatEntities["member"]) // whose user is not cached
	n.pools.put("9999999", "channel", "607637793107345433", compatEntities["channel"])
	tooMany := make([]string, handlers.DefaultLimits().PoolIDs+1)
	for i := range tooMany {
		tooMany[i] = fmt.Sprint(1_000_000_000 + i)
	}
	if got := c.next(); got.event != "elevation_return" || string(got.arg) != `{"message":"success"}` {
		t.Fatalf("got %v", got)
	}
	guilds := fmt.Sprintf(`{"_id":1,"data":[%s],"nonexistant":[],"finished":true}`, compatEntities["guild"])
	member := fmt.Sprintf(`{"_id":1,"data":[%s],"nonexistant":[],"finished":true}`, compatEntities["member"])
	const none = `{"_id":1,"data":[],"nonexistant":[],"finished":true}`
	for _, tt := range []struct {
		name, event string
		query       map[string]any
		code        int // of the error before the answer, if there is one
		want        string
	}{
		{"all guilds", "pool_all_request", m{"type": "guild"}, 0, guilds},
		{"guilds by id", "pool_request", m{"type": "guild", "ids": []string{guildA}}, 0, guilds},
		{"all members", "pool_all_request", m{"type": "member", "guildId": guildA}, 0, member},
		{"members by id", "pool_request", m{"type": "member", "guildId": guildA, "ids": []string{userA}}, 0, member},
		{"an id that nobody has", "pool_request",
			m{"type": "channel", "guildId": "9999999", "ids": []string{"607637793107345433", "123456"}}, 0,
			`{"_id":1,"data":[],"nonexistant":["607637793107345433"],"finished":true}`},
		{"a foreign guild", "pool_all_request", m{"type": "channel", "guildId": "9999999"}, 0, none},
		{"a bad id", "pool_request", m{"type": "user", "ids": []string{"x"}}, 400, none},
		{"too many ids", "pool_request", m{"type": "user", "ids": tooMany}, 413, none},
		{"no ids", "pool_request", m{"type": "user"}, 400, none},
		{"an unknown type", "pool_all_request", m{"type": "role", "guildId": guildA}, 400, none},
		{"no type", "pool_all_request", m{}, 400, none},
		{"no guild", "pool_all_request", m{"type": "member"}, 400, none},
		{"a bad guild", "pool_all_request", m{"type": "member", "guildId": m{}}, 400, none},
		{"a bad token", "pool_all_request", m{"type": "guild", "token": "garbage"}, 401, none},
		{"a huge request", "pool_all_request",
			m{"type": "guild", "x": strings.Repeat("x", handlers.DefaultLimits().Payload)}, 413, none},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.query["_id"] = 1
			c.emit(tt.event, tt.query)
			if tt.code != 0 {
				wantCompatError(t, c.expect("error").as(t), tt.code, 1.0)
			}
			if got := c.expect("pool_response"); string(got.arg) != tt.want {
				t.Errorf("got %s\nwant %s", got.arg, tt.want)
			}
		})
	}

	anonymous := connectWith(t, n.server, nil, sioclient.Options{OldProtocol: true})
	anonymous.emit("pool_all_request", m{"type": "guild", "_id": 5})
	wantCompatError(t, anonymous.expect("error").as(t), 409, 5.0)
	if got := anonymous.expect("pool_response"); string(got.arg) != strings.Replace(none, "1", "5", 1) {
		t.Errorf("got %s", got.arg)
	}
	anonymous.emit("pool_all_request", m{"type": "guild"}) // without an _id no answer can be found again
	wantCompatError(t, anonymous.expect("error").as(t), 409, nil)

	// Our own protocol asks for its token as ever.
	c.emit("pool", m{"type": "guild"})
	wantError(t, c.expect("error").as(t), 401, "token_missing")

	off := start(t, withCookie)
	c = dashboard(t, off, token)
	c.emit("pool_all_request", m{"type": "guild", "_id": 1})
	c.emit("demote", m{"token": token})
	if h := c.next(); h.event != "elevation_expired" {
		t.Errorf("without compat: got %v", h)
	}
}

type m = map[string]any

// wantCompatError holds an error against what the first dashboard decodes.
func wantCompatError(t testing.TB, e map[string]any, code int, id any) {
	t.Helper()
	_, message := e["message"].(string)
	_, human := e["human"].(string)
	_, details := e["details"].(string)
	if e["code"] != float64(code) || !message || !human || !details && e["details"] != nil || e["_id"] != id {
		t.Errorf("got error %v, want %d", e, code)
	}
}

func TestCompatInterpret(t *testing.T) {
	n := start(t, architus)
	c := connectWith(t, n.server, nil, sioclient.Options{OldProtocol: true})
	say := func(content string, silent bool) string {
		c.emit("mock_user_event", m{
			"action": 3001, "guildId": 4211, "messageId": 2, "content": content, "silent": silent,
			"allowedCommands": []string{"set", "poll"},
		})
		return string(c.expect("mock_bot_event").arg)
	}
	if got := say("!set hi::[:owl:] hey", true); got != `{"guildId":4211,"actions":[]}` {
		t.Errorf("got %s", got)
	}
	for content, want := range map[string]string{
		"hi":                   `"action":3001 "action":3100 "emoji": "content": "messageId":`,
		"!poll title, a, b":    `"action":3001 "action":3100`,
		"nobody answers to it": `{"guildId":4211,"actions":[]}`,
	} {
		got := say(content, false)
		for part := range strings.SplitSeq(want, " ") {
			if !strings.Contains(got, part) {
				t.Errorf("%s: %s is not in %s", content, part, got)
			}
		}
		if strings.Contains(got, "_id") || strings.Contains(got, "targets_user") {
			t.Errorf("%s: got %s", content, got)
		}
	}
	c.emit("mock_user_event", m{"action": 3001, "guildId": "x", "messageId": 2, "content": "hi"})
	wantCompatError(t, c.expect("error").as(t), 400, nil)
}

// A worker may answer what the dashboard does not know.
func TestCompatInterpretOfAWorker(t *testing.T) {
	n := start(t, func(c *handlers.Config, p *handlers.Parts) {
		architus(c, p)
		p.Interpreter = nil
	})
	c := connectWith(t, n.server, nil, sioclient.Options{OldProtocol: true})
	for _, tt := range []struct{ result, want string }{
		{`{"guild_id":7,"actions":[{"action":3101,"message_id":1,"emoji":"x","targets_user":true},` +
			`{"action":3101,"message_id":1,"emoji":"x"},{"action":72,"message_id":1},{"action":9,"message_id":1},` +
			`{"action":3001,"message_id":1},{"action":3100,"emoji":"x"},{"action":3002,"message_id":1,"content":""}]}`,
			`{"guildId":7,"actions":[{"action":3101,"messageId":1,"emoji":"x","targetsUser":true},` +
				`{"action":3101,"messageId":1,"emoji":"x","targetsUser":false},{"action":72,"messageId":1},` +
				`{"action":3002,"messageId":1,"content":""}]}`},
		{`{"guild_id":7}`, `{"guildId":7,"actions":[]}`},
		{`{"actions":[]}`, ""},
		{`{"guild_id":"x","actions":[]}`, ""},
	} {
		n.requests.mu.Lock()
		n.requests.answer = func(_ context.Context, _, _ string, _ m, part func(string) error) error {
			return part(tt.result)
		}
		n.requests.mu.Unlock()
		c.emit("mock_user_event", m{"action": 3001, "guildId": 7, "messageId": 2, "content": "hi"})
		h := c.next()
		if tt.want == "" {
			wantCompatError(t, h.as(t), 503, nil)
		} else if h.event != "mock_bot_event" || string(h.arg) != tt.want {
			t.Errorf("%s: got %v\nwant %s", tt.result, h, tt.want)
		}
	}
}

// A connection whose cookie has expired is closed, so that the dashboard comes back with a newer one.
func TestCompatCookieExpires(t *testing.T) {
	n := start(t, architus)
	short := func() string { return mint(t, map[string]any{"exp": time.Now().Add(2 * time.Second).Unix()}) }
	c := dashboard(t, n, short())
	c.expect("elevation_return")
	c.expect("elevation_expiring")
	c.expect("elevation_expired")
	c.gone()

	refreshed := dashboard(t, n, short())
	refreshed.expect("elevation_return")
	refreshed.emit("request_elevation", mint(t, map[string]any{"exp": time.Now().Add(3 * time.Second).Unix()}))
	for refreshed.next().event != "elevation_expired" {
	}
	refreshed.emit("demote", m{"token": mint(t, nil)})
	if h := refreshed.next(); h.event != "error" {
		t.Errorf("got %v", h)
	}
}
