package permissions_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/permissions"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const guild = "607637793107345431"

func at(seconds int64) time.Time { return time.Unix(seconds, 0) }

// mustClaims parses claims, with a sub and an exp of 1,000 where fields holds none.
func mustClaims(t testing.TB, fields string) *permissions.Claims {
	t.Helper()
	all := map[string]json.RawMessage{"sub": []byte(`"1"`), "exp": []byte("1000")}
	if err := json.Unmarshal([]byte(fields), &all); err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	c, err := permissions.ParseClaims(payload)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func mustParse(t testing.TB, topic event.Topic, data string) *event.Event {
	t.Helper()
	e, err := event.Parse(topic, []byte(data))
	if err != nil {
		t.Fatal(err)
	}
	return &e
}

// routed gives the recipients of e, sorted, and fails where one is in two batches.
func routed[R ~int | ~string](t testing.TB, f *permissions.Filter[R], e *event.Event, now time.Time) []R {
	t.Helper()
	batches, _ := f.Route(nil, e, now)
	var all []R
	for _, b := range batches {
		all = append(all, b.Recipients...)
	}
	slices.Sort(all)
	if len(slices.Compact(slices.Clone(all))) != len(all) {
		t.Fatalf("somebody is in two batches: %v", batches)
	}
	return all
}

func TestFilterLifeOfASpectator(t *testing.T) {
	f := permissions.NewFilter[string](permissions.DefaultPolicy())
	member := mustParse(t, event.Topic{Guild: guild}, `{"kind":"member","payload":{}}`)
	public := mustParse(t, event.Topic{Guild: guild, Logs: true}, `{"kind":"message","payload":{}}`)
	private := mustParse(t, event.Topic{Guild: guild, Logs: true}, `{"kind":"message","private":true,"payload":{}}`)
	see := func(step string, now int64, want string) {
		t.Helper()
		got := ""
		for _, e := range []*event.Event{member, public, private} {
			got += strings.Join(routed(t, f, e, at(now)), ",") + ";"
		}
		if got != want {
			t.Errorf("%s: %s, want %s", step, got, want)
		}
	}
	plain := mustClaims(t, `{"guilds":{"607637793107345431":0}}`)
	view := permissions.View{Guild: guild, Claims: plain}
	see("nobody", 10, ";;;")
	if err := f.Spectate("a", view, at(10)); err != nil {
		t.Fatal(err)
	}
	see("without logs", 10, "a;;;")
	view.Logs = true
	if err := f.Spectate("a", view, at(10)); err != nil {
		t.Fatal(err)
	}
	see("with logs", 10, "a;a;;")
	view.Claims = mustClaims(t, `{"permissions":4,"guilds":{"607637793107345431":0},"exp":500}`)
	if err := f.Spectate("a", view, at(10)); err != nil {
		t.Fatal(err)
	}
	see("private instead of public", 10, "a;;a;")
	view.Claims = mustClaims(t, `{"guilds":{"1":1}}`)
	if err := f.Spectate("a", view, at(10)); err != permissions.ErrNotMember {
		t.Errorf("loss of membership gives %v", err)
	}
	see("just before expiry", 499, "a;;a;")
	see("expired", 500, ";;;")
	see("expired, with a clock that goes back", 499, ";;;")
	view.Claims = plain
	if err := f.Spectate("a", view, at(500)); err != nil {
		t.Fatal(err)
	}
	see("refreshed", 500, "a;a;;")
	f.Remove("a")
	f.Remove("a")
	see("removed", 500, ";;;")
	if f.Len() != 0 {
		t.Errorf("%d spectators are left", f.Len())
	}
}

func TestFilterRefuses(t *testing.T) {
	f := permissions.NewFilter[string](permissions.DefaultPolicy())
	for name, c := range map[string]struct {
		view permissions.View
		want error
	}{
		"zero":      {permissions.View{}, permissions.ErrExpired},
		"no claims": {permissions.View{Guild: guild}, permissions.ErrExpired},
		"foreign": {permissions.View{Guild: "1", Claims: mustClaims(t, `{"guilds":{"607637793107345431":1}}`)},
			permissions.ErrNotMember},
		"no guilds": {permissions.View{Guild: guild, Claims: mustClaims(t, `{}`)}, permissions.ErrNotMember},
		"no logs": {permissions.View{
			Guild: guild, Logs: true, Claims: mustClaims(t, `{"permissions":0,"guilds":{"607637793107345431":8}}`),
		}, permissions.ErrNoLogAccess},
		"expired": {permissions.View{
			Guild: guild, Claims: mustClaims(t, `{"exp":10,"guilds":{"607637793107345431":1}}`),
		}, permissions.ErrExpired},
		"odd value": {permissions.View{Guild: guild, Claims: mustClaims(t, `{"guilds":{"607637793107345431":"all"}}`)},
			permissions.ErrNotMember},
		"odd guilds": {permissions.View{Guild: guild, Claims: mustClaims(t, `{"guilds":["607637793107345431"]}`)},
			permissions.ErrNotMember},
	} {
		if err := f.Spectate("a", c.view, at(10)); err != c.want {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if f.Len() != 0 {
		t.Errorf("%d spectators", f.Len())
	}
}

func TestFilterOutcomes(t *testing.T) {
	f := permissions.NewFilter[int](permissions.DefaultPolicy())
	if err := f.Spectate(1, permissions.View{Guild: guild, Claims: mustClaims(t, `{"architus_admin":true}`)},
		at(10)); err != nil {
		t.Fatal(err)
	}
	for data, want := range map[string]permissions.Outcome{
		`{"kind":"internal","payload":1}`:                             permissions.Routed,
		`{"kind":"member","requires":["EXEC_PURGE_CMD"],"payload":1}`: permissions.Routed,
		`{"kind":"nonsense","payload":1}`:                             permissions.UnknownKind,
		`{"kind":"Member","payload":1}`:                               permissions.UnknownKind,
		`{"payload":1}`:                                               permissions.UnknownKind,
		`{"kind":"member","requires":["NONSENSE"],"payload":1}`:       permissions.UnclearRequires,
		`{"kind":"member","requires":-1,"payload":1}`:                 permissions.UnclearRequires,
	} {
		if _, got := f.Route(nil, mustParse(t, event.Topic{Guild: guild}, data), at(10)); got != want {
			t.Errorf("%s: %s, want %s", data, got, want)
		}
	}
	e := mustParse(t, event.Topic{Guild: "1"}, `{"kind":"member","payload":1}`)
	if _, got := f.Route(nil, e, at(10)); got != permissions.NoSpectators {
		t.Errorf("a guild without spectators: %s", got)
	}
	e = mustParse(t, event.Topic{Guild: guild, Logs: true}, `{"kind":"member","payload":1}`)
	if _, got := f.Route(nil, e, at(10)); got != permissions.Denied {
		t.Errorf("logs without include_logs: %s", got)
	}
	for _, zero := range []*permissions.Policy{nil, {}} {
		f := permissions.NewFilter[int](zero)
		if _, got := f.Route(nil, mustParse(t, event.Topic{Guild: guild}, `{"kind":"member","payload":1}`),
			at(10)); got != permissions.UnknownKind {
			t.Errorf("a policy of zero value: %s", got)
		}
	}
}

// What Route lent must not change afterwards, whatever happens to the spectators.
func TestFilterLendsUnchanging(t *testing.T) {
	f := permissions.NewFilter[int](permissions.DefaultPolicy())
	view := permissions.View{Guild: guild, Claims: mustClaims(t, `{"guilds":{"607637793107345431":0}}`)}
	e := mustParse(t, event.Topic{Guild: guild}, `{"kind":"member","payload":1}`)
	rnd := rand.New(rand.NewPCG(1, 2))
	type loan struct{ lent, copied []int }
	var loans []loan
	for range 5000 {
		r := rnd.IntN(40)
		if rnd.IntN(2) == 0 {
			f.Remove(r)
		} else if err := f.Spectate(r, view, at(10)); err != nil {
			t.Fatal(err)
		}
		if rnd.IntN(3) == 0 {
			for _, b := range first(f.Route(nil, e, at(10))) {
				loans = append(loans, loan{b.Recipients, slices.Clone(b.Recipients)})
			}
		}
	}
	for _, l := range loans {
		if !slices.Equal(l.lent, l.copied) {
			t.Fatalf("a lent slice changed from %v to %v", l.copied, l.lent)
		}
	}
}

func first[A, B any](a A, _ B) A { return a }

func TestFilterRevoke(t *testing.T) {
	f := permissions.NewFilter[string](permissions.DefaultPolicy())
	for name, fields := range map[string]string{
		"a1": `{"sub":"a","jti":"1","iat":100}`, "a2": `{"sub":"a","jti":"2","iat":200}`, "a3": `{"sub":"a"}`,
		"b1": `{"sub":"b","jti":"1","iat":100}`,
	} {
		fields = fields[:len(fields)-1] + `,"guilds":{"607637793107345431":0}}`
		if err := f.Spectate(name, permissions.View{Guild: guild, Claims: mustClaims(t, fields)}, at(300)); err != nil {
			t.Fatal(err)
		}
	}
	e := mustParse(t, event.Topic{Guild: guild}, `{"kind":"member","payload":1}`)
	for _, step := range []struct {
		r    permissions.Revocation
		of   string
		want string
	}{
		{permissions.Revocation{}, "a1 a2 a3 b1", "a1,a2,a3,b1"},
		{permissions.Revocation{Subject: "a", TokenID: "9"}, "a1 a2 a3 b1", "a1,a2,a3,b1"},
		{permissions.Revocation{Subject: "a", IssuedBefore: at(200)}, "a1 a2 a3 b1", "a2,b1"},
		{permissions.Revocation{TokenID: "1"}, "a2 x", "a2,b1"},
		{permissions.Revocation{TokenID: "1"}, "b1 b1 a2", "a2"},
		{permissions.Revocation{Subject: "a"}, "a2", ""},
	} {
		f.Revoke(step.r, strings.Fields(step.of))
		if got := strings.Join(routed(t, f, e, at(300)), ","); got != step.want {
			t.Errorf("after %+v: %s, want %s", step.r, got, step.want)
		}
	}
}

// TestFilterAgainstReference compares what Route decides with a reference that reads like the contract, for random
// policies, claims and events. GUILDCAST_FILTER_CASES sets the number of (policy, claims, event) cases.
func TestFilterAgainstReference(t *testing.T) {
	cases := 1_000_000
	if n, err := strconv.Atoi(os.Getenv("GUILDCAST_FILTER_CASES")); err == nil {
		cases = n
	}
	if testing.Short() {
		cases = 50_000
	}
	const spectators, events = 50, 40
	rnd := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 7))
	delivered := 0
	for done := 0; done < cases; done += spectators * events {
		w := randomWorld(t, rnd, spectators)
		for i := range events {
			e := w.randomEvent(t, rnd)
			now := at(int64(90 + i)) // spectators expire from 80 to 139
			if rnd.IntN(10) == 0 {
				w.change(t, rnd, now)
			}
			var want []int
			for i, s := range w.spectators {
				if w.allows(s, e, now.Unix()) {
					want = append(want, i)
				}
			}
			delivered += len(want)
			data, err := json.Marshal(e.message)
			if err != nil {
				t.Fatal(err)
			}
			got := routed(t, w.filter, mustParse(t, event.Topic{Guild: e.guild, Logs: e.logs}, string(data)), now)
			if !slices.Equal(got, want) {
				t.Fatalf("event %s in %s at %d with policy %v went to %v, want %v", data, e.guild, now.Unix(), w.policy,
					got, want)
			}
		}
	}
	if delivered < cases/50 {
		t.Errorf("only %d deliveries in %d cases: the test compares silence", delivered, cases)
	}
}

// world is what the reference knows, in the simplest form.
type world struct {
	policy     map[string]referenceRule
	spectators []referenceSpectator
	filter     *permissions.Filter[int]
}

type referenceRule struct {
	public, private []string
	operators       bool
}

type referenceSpectator struct {
	claims   map[string]any
	guild    string
	logs     bool
	watching bool
}

type referenceEvent struct {
	guild   string
	logs    bool
	message map[string]any
}

var referenceNames = []string{"ADMINISTRATOR", "VIEW_PUBLIC_LOGS", "VIEW_PRIVATE_LOGS", "REVERT_LOG_ACTIONS",
	"ADD_AUTO_RESPONSE",
	"IGNORE_AUTO_RESPONSE_QUOTA", "EDIT_ANY_AUTO_RESPONSE", "DELETE_ANY_AUTO_RESPONSE", "VIEW_SETTINGS",
	"MANAGE_SETTINGS", "EXEC_PURGE_CMD"}

var referenceActions = map[int]string{1: "guild", 12: "channel", 22: "moderation", 24: "member", 28: "integration",
	31: "role", 41: "invite",
	52: "webhook", 61: "emoji", 74: "message", 3002: "message", 81: "integration", 2000: "guild", 2004: "message",
	2007: "reaction",
	3101: "reaction", 2009: "interaction", 3203: "auto_response", 3300: "administrator", 3400: "emoji", 5: "", 99: ""}

// holds lists the names of the permissions that claims give in a guild, or nothing for a non-member.
func holds(claims map[string]any, guild string) (held map[string]bool, member bool) {
	held = map[string]bool{}
	value, member := claims["guilds"].(map[string]any)[guild]
	if claims["architus_admin"] == true {
		value, member = 1, true
	}
	if !member {
		return held, false
	}
	base, ok := claims["permissions"].(int)
	if !ok {
		base = 274
	}
	for i, name := range referenceNames {
		if (base|value.(int))>>i&1 == 1 {
			held[name] = true
		}
	}
	if held["ADMINISTRATOR"] {
		for _, name := range referenceNames {
			held[name] = true
		}
	}
	return held, true
}

// mayWatch is the contract's condition for spectate.
func mayWatch(claims map[string]any, guild string, logs bool, now int64) bool {
	held, member := holds(claims, guild)
	return member && now < int64(claims["exp"].(int)) &&
		(!logs || held["VIEW_PUBLIC_LOGS"] || held["VIEW_PRIVATE_LOGS"])
}

// allows is the slow and obvious answer to who may see what.
func (w *world) allows(s referenceSpectator, e referenceEvent, now int64) bool {
	if !s.watching || s.guild != e.guild || !mayWatch(s.claims, s.guild, s.logs, now) || e.logs && !s.logs {
		return false
	}
	held, _ := holds(s.claims, s.guild)
	kind, _ := e.message["kind"].(string)
	if number, ok := e.message["action_number"].(int); ok {
		kind = referenceActions[number]
	}
	rule, known := w.policy[kind]
	if !known || rule.operators && s.claims["architus_admin"] != true {
		return false
	}
	required := rule.public
	if e.message["private"] == true {
		required = append(slices.Clone(rule.private), "VIEW_PRIVATE_LOGS")
	}
	switch more := e.message["requires"].(type) {
	case []string:
		required = append(slices.Clone(required), more...)
	case int:
		if more < 0 {
			return false
		}
		required = slices.Clone(required)
		for i, name := range referenceNames {
			if more>>i&1 == 1 {
				required = append(required, name)
			}
		}
	}
	for _, name := range required {
		if !held[name] {
			return false
		}
	}
	return true
}

func pick[T any](rnd *rand.Rand, list ...T) T { return list[rnd.IntN(len(list))] }

func randomNames(rnd *rand.Rand, most int) []string {
	list := []string{}
	for range rnd.IntN(most + 1) {
		list = append(list, pick(rnd, referenceNames...))
	}
	return list
}

func randomClaims(rnd *rand.Rand) map[string]any {
	guilds := map[string]any{}
	for _, g := range []string{"1", "2"} {
		if rnd.IntN(5) > 0 {
			guilds[g] = pick(rnd, 0, 0, 1, 2, 4, 6, 256, rnd.IntN(2048))
		}
	}
	c := map[string]any{"sub": "7", "exp": 80 + rnd.IntN(60), "guilds": guilds}
	if rnd.IntN(3) == 0 {
		c["permissions"] = pick(rnd, 0, 2, 4, rnd.IntN(2048))
	}
	if rnd.IntN(12) == 0 {
		c["architus_admin"] = pick[any](rnd, true, "true", 1)
	}
	return c
}

func randomWorld(t *testing.T, rnd *rand.Rand, spectators int) *world {
	membership, public, private := referenceRule{}, []string{"VIEW_PUBLIC_LOGS"}, []string{"VIEW_PRIVATE_LOGS"}
	w := &world{policy: map[string]referenceRule{"guild": membership, "channel": membership, "role": membership,
		"emoji":  membership,
		"member": membership, "user": membership, "auto_response": membership,
		"setting":    {public: []string{"VIEW_SETTINGS"}, private: []string{"VIEW_SETTINGS"}},
		"moderation": {public: private, private: private}, "internal": {operators: true},
		"administrator": {public: []string{"ADMINISTRATOR"}, private: []string{"ADMINISTRATOR"}}}}
	for _, kind := range []string{"message", "reaction", "invite", "webhook", "integration", "interaction"} {
		w.policy[kind] = referenceRule{public: public, private: private}
	}
	policy, file := permissions.DefaultPolicy(), map[string]any{}
	for range rnd.IntN(4) {
		kind := pick(rnd, "member", "message", "internal", "ticket", "setting")
		switch rnd.IntN(4) {
		case 0:
			delete(w.policy, kind)
			file[kind] = "nobody"
		case 1:
			w.policy[kind] = referenceRule{operators: true}
			file[kind] = "architus_admin"
		case 2:
			names := randomNames(rnd, 2)
			w.policy[kind] = referenceRule{public: names, private: names}
			file[kind] = names
		default:
			rule := referenceRule{public: randomNames(rnd, 2), private: randomNames(rnd, 2)}
			w.policy[kind] = rule
			file[kind] = map[string]any{"public": rule.public, "private": rule.private}
		}
	}
	data, err := json.Marshal(map[string]any{"kinds": file})
	if err != nil {
		t.Fatal(err)
	}
	if policy, err = policy.With(data); err != nil {
		t.Fatal(err)
	}
	w.filter = permissions.NewFilter[int](policy)
	w.spectators = make([]referenceSpectator, spectators)
	for i := range w.spectators {
		w.spectate(t, rnd, i, at(85))
	}
	return w
}

// spectate makes spectator i watch something at random, in both worlds.
func (w *world) spectate(t *testing.T, rnd *rand.Rand, i int, now time.Time) {
	s := referenceSpectator{randomClaims(rnd), pick(rnd, "1", "2"), rnd.IntN(2) == 0, true}
	if w.enter(t, i, s, permissions.Form(rnd.IntN(2)), now) {
		w.spectators[i] = s
	}
}

// enter asks the filter for what s watches, and fails unless its answer is the reference's.
func (w *world) enter(t *testing.T, i int, s referenceSpectator, form permissions.Form, now time.Time) bool {
	data, err := json.Marshal(s.claims)
	if err != nil {
		t.Fatal(err)
	}
	c, err := permissions.ParseClaims(data)
	if err != nil {
		t.Fatal(err)
	}
	err = w.filter.Spectate(i, permissions.View{Guild: s.guild, Logs: s.logs, Form: form, Claims: c}, now)
	if may := mayWatch(s.claims, s.guild, s.logs, now.Unix()); may != (err == nil) {
		t.Fatalf("spectate %+v: %v, reference says %v", s, err, may)
	}
	return err == nil
}

// change does something at random to one spectator, in both worlds.
func (w *world) change(t *testing.T, rnd *rand.Rand, now time.Time) {
	i := rnd.IntN(len(w.spectators))
	s := &w.spectators[i]
	switch rnd.IntN(4) {
	case 0:
		w.spectate(t, rnd, i, now)
	case 1:
		w.filter.Remove(i)
		s.watching = false
	default:
		if !s.watching {
			return
		}
		fresh := *s
		fresh.claims = randomClaims(rnd)
		if w.enter(t, i, fresh, permissions.Form(rnd.IntN(2)), now) {
			*s = fresh
		}
	}
}

func (w *world) randomEvent(t *testing.T, rnd *rand.Rand) referenceEvent {
	e := referenceEvent{pick(rnd, "1", "2", "3"), rnd.IntN(2) == 0, map[string]any{}}
	if rnd.IntN(3) == 0 {
		for number := range referenceActions { // in random order
			e.message["action_number"] = number
			break
		}
	} else {
		e.message["payload"] = fmt.Sprint(rnd.Int())
		e.message["kind"] = pick(rnd, "guild", "channel", "role", "emoji", "member", "user", "auto_response", "setting",
			"message", "reaction",
			"invite", "webhook", "integration", "interaction", "moderation", "administrator", "internal", "ticket",
			"nonsense", "")
	}
	if rnd.IntN(3) == 0 {
		e.message["private"] = rnd.IntN(3) > 0
	}
	if rnd.IntN(4) == 0 {
		e.message["requires"] = pick[any](rnd, randomNames(rnd, 2), rnd.IntN(2048), 2, 4,
			append(randomNames(rnd, 1), "NONSENSE"), -1)
	}
	return e
}
