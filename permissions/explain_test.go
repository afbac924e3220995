package permissions_test

import (
	"encoding/json"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/permissions"
)

// TestExplainAgreesWithTheFilter compares, for random policies, claims and events, what Explain says with whom Route
// picks and with what a Viewer sees. What Explain calls missing must be what it takes.
func TestExplainAgreesWithTheFilter(t *testing.T) {
	const spectators, events = 50, 40
	worlds := 50
	if testing.Short() {
		worlds = 10
	}
	rnd := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 9))
	reasons := map[permissions.Reason]int{}
	for range worlds {
		w := randomWorld(t, rnd, spectators)
		for i := range events {
			random := w.randomEvent(t, rnd)
			data, err := json.Marshal(random.message)
			if err != nil {
				t.Fatal(err)
			}
			e, now := mustParse(t, event.Topic{Guild: random.guild, Logs: random.logs}, string(data)), at(int64(90+i))
			picked := map[int]bool{}
			for _, r := range routed(t, w.filter, e, now) {
				picked[r] = true
			}
			for i, s := range w.spectators {
				if !s.watching {
					continue
				}
				x := w.filter.Explain(s.view(t), e, now)
				reasons[x.Reason]++
				if x.Sees() != picked[i] {
					t.Fatalf("%s of %+v for %+v at %d: %+v, but Route says %v", data, e.Topic, s, now.Unix(), x,
						picked[i])
				}
				viewer, err := w.filter.Viewer(s.view(t), now)
				if sees := err == nil && viewer.Sees(e); sees != x.Sees() {
					t.Fatalf("%s for %+v: %+v, but a viewer sees it: %v", data, s, x, sees)
				}
				w.checkMissing(t, s, e, now, x)
			}
		}
	}
	for _, r := range []permissions.Reason{permissions.ReasonExpired, permissions.ReasonUnknownKind,
		permissions.ReasonUnclearRequires, permissions.ReasonOtherGuild, permissions.ReasonLogsNotIncluded,
		permissions.ReasonMissing, permissions.ReasonArchitusAdmin, permissions.ReasonAllowed} {
		if reasons[r] == 0 {
			t.Errorf("%s never occurred: %v", r, reasons)
		}
	}
}

// checkMissing gives a spectator what an explanation says it lacks.
func (w *world) checkMissing(t *testing.T, s referenceSpectator, e *event.Event, now time.Time,
	x permissions.Explanation,
) {
	t.Helper()
	if (x.Reason == permissions.ReasonAllowed || x.Reason == permissions.ReasonArchitusAdmin) && x.Missing != 0 {
		t.Fatalf("%+v lacks something", x)
	}
	if x.Reason != permissions.ReasonMissing {
		return
	}
	if x.Missing == 0 || x.Missing&x.Held != 0 || !x.Required.Has(x.Missing) {
		t.Fatalf("missing are %s, of %s, with %s held", x.Missing, x.Required, x.Held)
	}
	guilds := maps.Clone(s.claims["guilds"].(map[string]any))
	guilds[s.guild] = guilds[s.guild].(int) | int(x.Missing)
	s.claims = maps.Clone(s.claims)
	s.claims["guilds"] = guilds
	x = w.filter.Explain(s.view(t), e, now)
	if !x.Sees() && x.Reason != permissions.ReasonArchitusAdmin {
		t.Fatalf("with what was missing: %+v", x)
	}
}

func (s referenceSpectator) view(t *testing.T) permissions.View {
	t.Helper()
	data, err := json.Marshal(s.claims)
	if err != nil {
		t.Fatal(err)
	}
	c, err := permissions.ParseClaims(data)
	if err != nil {
		t.Fatal(err)
	}
	return permissions.View{Guild: s.guild, Logs: s.logs, Claims: c}
}

func TestExplain(t *testing.T) {
	logs := event.Topic{Guild: guild, Logs: true}
	for _, c := range []struct {
		claims, event string
		topic         event.Topic
		logs          bool
		want          permissions.Explanation
	}{
		{`{"guilds":{"607637793107345431":0}}`,
			`{"kind":"message","private":true,"requires":["EXEC_PURGE_CMD"],"payload":1}`,
			logs, true, permissions.Explanation{
				Reason: permissions.ReasonMissing, HasRule: true,
				Rule:     permissions.Rule{Public: permissions.ViewPublicLogs, Private: permissions.ViewPrivateLogs},
				Required: permissions.ViewPrivateLogs | permissions.ExecPurgeCmd, Held: permissions.Default,
				Missing: permissions.ViewPrivateLogs | permissions.ExecPurgeCmd,
			}},
		{`{"guilds":{"607637793107345431":1}}`, `{"kind":"internal","payload":1}`, logs, true, permissions.Explanation{
			Reason: permissions.ReasonArchitusAdmin, HasRule: true, Rule: permissions.Rule{ArchitusAdmin: true},
			ArchitusAdmin: true, Held: permissions.All,
		}},
		{`{"guilds":{"1":0}}`, `{"kind":"setting","payload":1}`, event.Topic{Guild: guild}, false,
			permissions.Explanation{
				Reason: permissions.ReasonNotMember, HasRule: true,
				Rule:     permissions.Rule{Public: permissions.ViewSettings, Private: permissions.ViewSettings},
				Required: permissions.ViewSettings, Missing: permissions.ViewSettings,
			}},
		{`{"permissions":0,"guilds":{"607637793107345431":0}}`, `{"kind":"member","payload":1}`, logs, true,
			permissions.Explanation{Reason: permissions.ReasonNoLogAccess, HasRule: true}},
		{`{"exp":5,"guilds":{"607637793107345431":0}}`, `{"kind":"nonsense","payload":1}`, logs, true,
			permissions.Explanation{Reason: permissions.ReasonExpired, Held: permissions.Default}},
	} {
		f := permissions.NewFilter[int](permissions.DefaultPolicy())
		v := permissions.View{Guild: guild, Logs: c.logs, Claims: mustClaims(t, c.claims)}
		if got := f.Explain(v, mustParse(t, c.topic, c.event), at(100)); got != c.want {
			t.Errorf("%s for %s: %+v, want %+v", c.event, c.claims, got, c.want)
		}
	}
	var nobody *permissions.Policy
	v := permissions.View{Guild: guild, Claims: mustClaims(t, `{"architus_admin":true}`)}
	e := mustParse(t, event.Topic{Guild: guild}, `{"kind":"member","payload":1}`)
	if x := permissions.DefaultPolicy().Explain(permissions.View{Guild: guild}, e, at(100)); x.Sees() {
		t.Errorf("without claims: %+v", x)
	}
	if x := nobody.Explain(v, e, at(100)); x.Reason != permissions.ReasonUnknownKind {
		t.Errorf("without a policy: %+v", x)
	}
}
