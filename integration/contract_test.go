//go:build integration

package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/internal/test/wait"
)

// The tests in contract_*_test.go check the contract with clients sentence by sentence: payload forms, who sees which
// kind of event, revocation, topics.

// announce publishes through a client that the test keeps, since there are many messages.
func announce(t testing.TB, client *goredis.Client, channel, message string) {
	t.Helper()
	if err := client.Publish(context.Background(), channel, message).Err(); err != nil {
		t.Fatal(err)
	}
}

// reply is the part of an answer that the tests look at.
type reply struct {
	Success *bool           `json:"success"`
	Error   *reply          `json:"error"`
	Reason  string          `json:"reason"`
	Code    int             `json:"code"`
	Message string          `json:"message"`
	Human   *string         `json:"human"`
	Context []string        `json:"context"`
	ID      json.RawMessage `json:"_id"`
}

// ask emits, and returns the callback's argument with its form: whether it was a string.
func (c *client) ask(t testing.TB, event string, payload any) (r reply, asString bool) {
	t.Helper()
	args := c.call(t, event, payload)
	if len(args) != 1 {
		t.Fatalf("%s %v: the callback got %s", event, payload, args)
	}
	text := []byte(args[0])
	if asString = text[0] == '"'; asString {
		var inner string
		if err := json.Unmarshal(text, &inner); err != nil {
			t.Fatal(err)
		}
		text = []byte(inner)
	}
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatalf("%s %v: the callback got %s", event, payload, text)
	}
	return r, asString
}

// Section 2: payloads are strings or objects, and answered in kind, with the request's _id.
func TestContractPayloadForms(t *testing.T) {
	t.Parallel()
	n := startNode(t, "node", startRedis(t).url)
	b := startBrowsers(t)
	c, _ := b.connect(t, n.url, nil)
	token := mint(t, jwt.MapClaims{"guilds": guilds{guild: 6, "9007199254740991": 6, "99999999999999999999": 6}})
	text := func(v any) string {
		s, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(s)
	}
	object := map[string]any{"token": token, "_id": 7}
	for _, tt := range []struct {
		name    string
		payload any
		text    bool
		id      string
	}{
		{"object", object, false, "7"},
		{"string", text(object), true, "7"},
		{"string _id", map[string]any{"token": token, "_id": `a"<é`}, false, `"a\"<é"`},
		{"token", token, true, ""},
		{"token in quotes", text(token), true, ""},
	} {
		r, isText := c.ask(t, "request_elevation", tt.payload)
		if r.Success == nil || !*r.Success || isText != tt.text || string(r.ID) != tt.id {
			t.Errorf("%s: string %v, _id %s, %+v", tt.name, isText, r.ID, r)
		}
	}
	for _, tt := range []struct {
		guild any
		code  int
	}{
		{guild, 0}, {int64(1)<<53 - 1, 0}, {"99999999999999999999", 0},
		{json.Number(guild), 400}, {int64(1) << 53, 400}, {"", 400}, {"x", 400}, {"0x1", 400},
		{strings.Repeat("1", 21), 400},
		{-1, 400}, {1.5, 400}, {true, 400}, {[]any{}, 400}, {map[string]any{}, 400}, {foreign, 403}, {1, 403},
	} {
		for _, asString := range []bool{false, true} {
			var payload any = map[string]any{"guild_id": tt.guild, "token": token, "_id": "x"}
			if asString {
				payload = text(payload)
			}
			r, isText := c.ask(t, "spectate", payload)
			if r.Code != tt.code || isText != asString || string(r.ID) != `"x"` {
				t.Errorf("guild_id %v: code %d, want %d; string %v, want %v; _id %s", tt.guild, r.Code, tt.code, isText,
					asString, r.ID)
			}
			if tt.code != 0 && (r.Message == "" || r.Human == nil || r.Context == nil) {
				t.Errorf("guild_id %v: incomplete error %+v", tt.guild, r)
			}
		}
	}
	for _, event := range []string{"spectate", "pool", "demote", "interpret"} {
		for _, garbage := range []any{nil, 5, true, []any{}, "x", "{", "[]", "null", map[string]any{"$bin": "eHg="}} {
			if r, _ := c.ask(t, event, garbage); r.Code != 400 && r.Code != 401 {
				t.Errorf("%s %v: %+v", event, garbage, r)
			}
		}
	}
	if r, _ := c.ask(t, "no_such_event", map[string]any{"_id": 5}); r.Code != 404 || string(r.ID) != "5" {
		t.Errorf("unknown event: %+v", r)
	}
	n.drain(t)
}

// contractActions are the borders of the action numbers' ranges and their kinds.
var contractActions = []struct {
	first, last int
	kind        string
}{
	{1, 1, "guild"}, {10, 15, "channel"}, {20, 23, "moderation"}, {24, 25, "member"}, {26, 27, "moderation"},
	{28, 28, "integration"}, {30, 32, "role"}, {40, 42, "invite"}, {50, 52, "webhook"}, {60, 62, "emoji"},
	{72, 75, "message"},
	{80, 82, "integration"}, {2000, 2000, "guild"}, {2001, 2002, "member"}, {2003, 2005, "message"},
	{2006, 2008, "reaction"},
	{2009, 2009, "interaction"}, {3001, 3003, "message"}, {3100, 3101, "reaction"}, {3200, 3203, "auto_response"},
	{3300, 3301, "administrator"}, {3400, 3403, "emoji"},
}

// contractRule is what a kind requires; -1: nobody but architus_admin, -2: nobody.
func contractRule(kind string, private bool) int {
	const publicLogs, privateLogs, settings, admin = 2, 4, 0x100, 1
	bits := -2
	switch kind {
	case "guild", "channel", "role", "emoji", "member", "user", "auto_response":
		bits = 0
	case "setting":
		bits = settings
	case "message", "reaction", "invite", "webhook", "integration", "interaction":
		if bits = publicLogs; private {
			bits = privateLogs
		}
	case "moderation":
		bits = privateLogs
	case "administrator":
		bits = admin
	case "internal":
		bits = -1
	}
	if private && bits >= 0 {
		bits |= privateLogs
	}
	return bits
}

// sent is one message of TestContractKinds.
type sent struct {
	topic, message, payload string
	kind                    string
	private                 bool
	requires                int // -2: nobody
}

func contractMessages() (list []sent) {
	add := func(s sent) {
		for _, s.topic = range []string{guild, guild + "_logs"} {
			list = append(list, s)
		}
	}
	for _, kind := range []string{"guild", "channel", "role", "emoji", "member", "user", "auto_response", "setting",
		"message", "reaction",
		"invite", "webhook", "integration", "interaction", "moderation", "administrator", "internal", "unheard_of",
		"GUILD", ""} {
		for _, private := range []bool{false, true} {
			payload := fmt.Sprintf(`"%s %v"`, kind, private)
			add(sent{kind: kind, private: private, payload: payload,
				message: fmt.Sprintf(`{"kind":%q,"private":%v,"payload":%s}`, kind, private, payload)})
		}
	}
	for text, bits := range map[string]int{`["VIEW_SETTINGS"]`: 0x100, `256`: 0x100, `"VIEW_PUBLIC_LOGS"`: 2,
		`[2,"VIEW_PRIVATE_LOGS"]`: 6,
		`[]`:                      0, `0`: 0, `["ADMINISTRATOR"]`: 1, `["NO_SUCH"]`: -2, `null`: -2} {
		payload, _ := json.Marshal("requires " + text)
		add(sent{
			kind: "guild", requires: bits, payload: string(payload),
			message: fmt.Sprintf(`{"kind":"guild","requires":%s,"payload":%s}`, text, payload),
		})
	}
	kinds := map[int]string{}
	for _, a := range contractActions {
		for number := a.first - 1; number <= a.last+1; number++ {
			if inside := number >= a.first && number <= a.last; inside || kinds[number] == "" {
				kinds[number] = map[bool]string{true: a.kind}[inside]
			}
		}
	}
	for number, kind := range kinds {
		for _, private := range []bool{false, true} {
			message := fmt.Sprintf(`{"id":"1","guild_id":%q,"action_number":%d,"private":%v,"data":null}`, guild,
				number, private)
			add(sent{kind: kind, private: private, payload: message, message: message})
		}
	}
	return list
}

// Section 5: each kind, each border of the action numbers, private and requires, for each class of viewers.
func TestContractKinds(t *testing.T) {
	t.Parallel()
	r := startRedis(t)
	n := startNode(t, "node", r.url)
	b := startBrowsers(t)
	viewers := map[string]viewerCase{
		"member": {bits: 0}, "public": {bits: 2}, "private": {bits: 4}, "both": {bits: 6}, "settings": {bits: 0x100},
		"all but admin": {bits: 0x7fe}, "administrator": {bits: 1, all: true},
		"architus": {bits: 1, all: true, architus: true},
	}
	for name, v := range viewers {
		v.logs = v.all || v.bits&6 != 0
		claims := jwt.MapClaims{"permissions": 0, "guilds": guilds{guild: v.bits}}
		if v.architus {
			claims = jwt.MapClaims{"guilds": guilds{}, "architus_admin": true}
		}
		v.client, _ = b.connect(t, n.url, nil)
		token := mint(t, claims)
		v.elevate(t, token)
		v.spectate(t, token, guild, v.logs)
		viewers[name] = v
	}
	list := contractMessages()
	pub := redisClient(t, r.url)
	for _, s := range list {
		announce(t, pub, s.topic, s.message)
	}
	for _, topic := range []string{guild + "_logs", guild} {
		announce(t, pub, topic, `{"kind":"guild","event":"end","payload":"`+topic+`"}`)
	}
	for name, v := range viewers {
		for _, topic := range []string{guild, guild + "_logs"} {
			event, logs := "log_pool", topic != guild
			if logs && !v.logs {
				continue
			}
			v.waitEnd(t, topic)
			var want, got []string
			for _, s := range list {
				if s.topic == topic && v.sees(s) {
					want = append(want, compactJSON(t, s.payload))
				}
			}
			if logs {
				event = "log_other"
			}
			for _, h := range v.events(event) {
				got = append(got, compactJSON(t, string(h.Args[0])))
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s, %s:\n got %q\nwant %q", name, event, got, want)
			}
		}
		if !v.logs && len(v.events("log_other")) > 0 {
			t.Errorf("%s has no permission for logs and got some", name)
		}
	}
	n.drain(t)
}

type viewerCase struct {
	*client
	bits                int
	all, architus, logs bool
}

func (v viewerCase) sees(s sent) bool {
	need := contractRule(s.kind, s.private)
	switch {
	case need == -2 || s.requires == -2:
		return false
	case need == -1:
		return v.architus
	}
	need |= s.requires
	return v.all || v.bits&need == need
}

// waitEnd waits for the last message of a topic.
func (v viewerCase) waitEnd(t *testing.T, topic string) {
	t.Helper()
	wait.Until(t, "the end of "+topic, func() bool {
		return slices.ContainsFunc(v.events("end"), func(h heard) bool { return string(h.Args[0]) == `"`+topic+`"` })
	})
}

// compactJSON is text without what JSON lets vary between a publisher and a browser: white space and the order of
// names.
func compactJSON(t *testing.T, text string) string {
	t.Helper()
	var v any
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	b, _ := json.Marshal(v)
	return string(b)
}

// Section 4: the three forms of revocation reach every node within a second, and a node started later.
func TestContractRevocation(t *testing.T) {
	beside(t)
	r := startRedis(t)
	nodes := []*node{startNode(t, "node 1", r.url), startNode(t, "node 2", r.url)}
	b := startBrowsers(t)
	pub := redisClient(t, r.url)
	now := time.Now().Unix()
	cases := []struct {
		name, message string
		claims        jwt.MapClaims
		spared        jwt.MapClaims
	}{
		{"sub", `{"sub":"11"}`, jwt.MapClaims{"sub": "11"}, jwt.MapClaims{"sub": "111"}},
		{"jti", `{"jti":"a"}`, jwt.MapClaims{"sub": "12", "jti": "a"}, jwt.MapClaims{"sub": "12", "jti": "b"}},
		{
			"iat", fmt.Sprintf(`{"sub":"13","iat_before":%d}`, now-50), jwt.MapClaims{"sub": "13", "iat": now - 100},
			jwt.MapClaims{"sub": "13", "iat": now - 10},
		},
	}
	for _, garbage := range []string{
		"", "{", "{}", "[]", "null", `{"iat_before":1e12}`, `{"sub":""}`, `{"sub":null}`, `{"jti":["a"]}`,
	} {
		announce(t, pub, "guildcast:revoke", garbage)
	}
	var revoked, spared []string
	for _, tt := range cases {
		tt.claims["guilds"], tt.spared["guilds"] = guilds{guild: 6}, guilds{guild: 6}
		token, other := mint(t, tt.claims), mint(t, tt.spared)
		revoked, spared = append(revoked, token), append(spared, other)
		var victims, bystanders []*client
		for i, n := range nodes {
			victim, _ := b.connect(t, n.url, nil)
			bystander, _ := b.connect(t, n.url, nil)
			victim.elevate(t, token)
			bystander.elevate(t, other)
			if i == 0 {
				victim.spectate(t, token, guild, true)
			}
			victims, bystanders = append(victims, victim), append(bystanders, bystander)
		}
		start := time.Now()
		announce(t, pub, "guildcast:revoke", tt.message)
		for _, c := range victims {
			var gone reply
			if c.event(t, "elevation_expired", &gone); gone.Reason != "revoked" {
				t.Errorf("%s: %+v", tt.name, gone)
			}
		}
		if took := time.Since(start); !onTime(took, time.Second) {
			t.Errorf("%s: demoted after %v, want at most 1s", tt.name, took)
		}
		announce(t, pub, guild, `{"kind":"guild","payload":1}`)
		for i, c := range bystanders {
			if a, _ := c.ask(t, "spectate", map[string]any{"guild_id": nil, "token": other}); a.Success == nil {
				t.Errorf("%s: node %d demoted another token: %+v", tt.name, i+1, a)
			}
		}
		for _, c := range victims {
			if a, _ := c.ask(t, "spectate", map[string]any{"guild_id": guild, "token": token}); a.Code != 401 {
				t.Errorf("%s: spectate with a revoked token: %+v", tt.name, a)
			}
			if len(c.events("log_pool")) > 0 {
				t.Errorf("%s: a revoked socket got an event", tt.name)
			}
		}
	}
	late := startNode(t, "node 3", r.url)
	for i := range revoked {
		c, _ := b.connect(t, late.url, nil)
		if a, _ := c.ask(t, "request_elevation", map[string]any{"token": revoked[i]}); a.Error == nil ||
			a.Error.Code != 401 || a.Error.Message != "token_revoked" {
			t.Errorf("%s: a node started later: %+v", cases[i].name, a)
		}
		if a, _ := c.ask(t, "request_elevation", map[string]any{"token": spared[i]}); a.Success == nil || !*a.Success {
			t.Errorf("%s: a node started later refuses another token: %+v", cases[i].name, a)
		}
	}
	for _, n := range append(nodes, late) {
		n.drain(t)
	}
}

// Section 5: a node is subscribed to a topic only while one of its sockets needs it. Section 3: the end of an
// elevation.
func TestContractTopicsAndExpiry(t *testing.T) {
	beside(t)
	r := startRedis(t)
	n := startNode(t, "node", r.url)
	b := startBrowsers(t)
	client := redisClient(t, r.url)
	channels := func() string {
		list, err := client.PubSubChannels(context.Background(), guild+"*").Result()
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(list)
		return strings.Join(list, " ")
	}
	c, _ := b.connect(t, n.url, nil)
	token := mint(t, jwt.MapClaims{"guilds": guilds{guild: 6}})
	c.emit(t, "request_elevation", token) // as a string, so that what follows is one
	c.event(t, "request_elevation_return", nil)
	if got := channels(); got != "" {
		t.Errorf("subscribed to %q before anybody spectates", got)
	}
	c.spectate(t, token, guild, false)
	if got := channels(); got != guild {
		t.Errorf("subscribed to %q, want the guild's topic only", got)
	}
	c.spectate(t, token, guild, true)
	if got := channels(); got != guild+" "+guild+"_logs" {
		t.Errorf("subscribed to %q, want both topics", got)
	}
	exp := c.elevateUntilWarned(t, jwt.MapClaims{"guilds": guilds{guild: 6}})
	var warning, end string
	if err := json.Unmarshal(c.events("elevation_expiring")[0].Args[0], &warning); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf(`{"expires_at":%d}`, exp); warning != want {
		t.Errorf("elevation_expiring %q, want %q", warning, want)
	}
	c.event(t, "elevation_expired", &end)
	if late := time.Since(time.Unix(exp, 0)); end != `{"reason":"expired"}` || late < -time.Second ||
		!onTime(late, time.Second) {
		t.Errorf("elevation_expired %q, %v after exp", end, late)
	}
	announce(t, client, guild, `{"kind":"guild","payload":1}`)
	wait.Until(t, "the topics to be given up", func() bool { return channels() == "" })
	if len(c.events("log_pool")) > 0 {
		t.Error("an event after the end of the elevation")
	}
	n.drain(t)
}

// elevateUntilWarned elevates with a token that ends soon, and returns its end once the node has warned of it. A busy
// machine gets ever longer tokens.
func (c *client) elevateUntilWarned(t *testing.T, claims jwt.MapClaims) (exp int64) {
	t.Helper()
	for lasts := int64(4); lasts < 100; lasts *= 2 {
		exp = time.Now().Unix() + lasts
		claims["exp"] = exp
		c.emit(t, "request_elevation", mint(t, claims)) // as a string, so that what follows is one
		h := c.wait(t, "the warning", func(h heard) bool {
			late := h.Event == "request_elevation_return" && strings.Contains(compact(t, h.Args), "token_expired")
			return h.Event == "elevation_expiring" || h.Event == "elevation_expired" || late
		})
		if h.Event == "elevation_expiring" {
			return exp
		}
	}
	t.Fatal("no token lasts long enough to be warned of its end")
	return 0
}
