package permissions_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/architus/guildcast/permissions"
)

func TestPolicyWith(t *testing.T) {
	p, err := permissions.DefaultPolicy().With([]byte(`{"kinds": {
		"ticket": ["VIEW_SETTINGS", 4], "purge": {"public": "EXEC_PURGE_CMD", "private": 8}, "wide": {"public": []},
		"same": {"public": 2}, "chatter": "membership", "ops": "architus_admin", "message": "nobody", "member": 256 }}`))
	if err != nil {
		t.Fatal(err)
	}
	for kind, want := range map[string]permissions.Rule{
		"ticket": {Public: 0x104, Private: 0x104}, "purge": {Public: 0x400, Private: 8}, "wide": {},
		"same":    {Public: 2, Private: 2},
		"chatter": {}, "ops": {ArchitusAdmin: true}, "member": {Public: 256, Private: 256}, "guild": {},
	} {
		if got, ok := p.Rule(kind); !ok || got != want {
			t.Errorf("%s: %+v, %v; want %+v", kind, got, ok, want)
		}
	}
	if _, ok := p.Rule("message"); ok {
		t.Error("a kind for nobody has a rule")
	}
	if _, ok := permissions.DefaultPolicy().Rule("ticket"); ok {
		t.Error("With changed the policy that it started from")
	}
}

func TestPolicyWithRefuses(t *testing.T) {
	for file, want := range map[string]string{
		``:                                    "unexpected end of JSON input",
		`[]`:                                  "not a JSON object",
		`{`:                                   "unexpected end of JSON input",
		`{} {}`:                               "after top-level value",
		`{"kind":{}}`:                         `unknown field "kind"`,
		`{"Kinds":{}}`:                        `unknown field "Kinds"`,
		`{"kinds":{},"kinds":{}}`:             "twice",
		`{"kinds":[]}`:                        "not a JSON object",
		`{"kinds":{"a":[],"a":1}}`:            `"a" is there twice`,
		`{"kinds":{"":[]}}`:                   "empty name",
		`{"kinds":{"a":"VIEW_SETTING"}}`:      `kind "a": there is no permission "VIEW_SETTING"`,
		`{"kinds":{"a":"Membership"}}`:        `there is no permission "Membership"`,
		`{"kinds":{"a":null}}`:                "",
		`{"kinds":{"a":true}}`:                "neither",
		`{"kinds":{"a":-1}}`:                  "neither",
		`{"kinds":{"a":1.5}}`:                 "neither",
		`{"kinds":{"a":[["VIEW_SETTINGS"]]}}`: "neither",
		`{"kinds":{"a":{}}}`:                  `no "public"`,
		`{"kinds":{"a":{"private":1}}}`:       `no "public"`,
		`{"kinds":{"a":{"public":1,"x":1}}}`:  `unknown field "x"`,
		`{"kinds":{"a":{"public":{}}}}`:       "neither",
		`{"kinds":{"a":{"public":1,"public":2}}}`: "twice",
	} {
		p, err := permissions.DefaultPolicy().With([]byte(file))
		if err == nil || p != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", file, err, want)
		}
	}
}

func FuzzPolicyWith(f *testing.F) {
	f.Add([]byte(`{"kinds":{"ticket":["VIEW_SETTINGS",4],"purge":{"public":"EXEC_PURGE_CMD","private":8},"x":"nobody"}}`))
	f.Fuzz(func(t *testing.T, file []byte) {
		p, err := permissions.DefaultPolicy().With(file)
		if (p == nil) == (err == nil) {
			t.Fatalf("policy %v with error %v", p, err)
		}
		if err != nil {
			return
		}
		var content struct{ Kinds map[string]any }
		if err := json.Unmarshal(file, &content); err != nil {
			t.Fatal(err)
		}
		for kind, value := range content.Kinds {
			rule, exists := p.Rule(kind)
			if exists == (value == "nobody") || rule.ArchitusAdmin != (value == "architus_admin") {
				t.Fatalf("%s: %v became %+v, %v", kind, value, rule, exists)
			}
			if _, named := permissions.BitNamed(fmt.Sprint(value)); named && rule.Public == 0 {
				t.Fatalf("%s: %v requires nothing", kind, value)
			}
		}
		for _, kind := range []string{
			"guild", "setting", "message", "moderation", "administrator", "internal", "unheard of",
		} {
			if _, changed := content.Kinds[kind]; changed {
				continue
			}
			got, exists := p.Rule(kind)
			if want, existed := permissions.DefaultPolicy().Rule(kind); got != want || exists != existed {
				t.Fatalf("%s, which is not in the file, became %+v, %v", kind, got, exists)
			}
		}
	})
}
