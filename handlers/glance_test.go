package handlers

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/architus/guildcast/permissions"
)

func TestGlance(t *testing.T) {
	far := strings.Repeat("x", maxIDScan)
	for _, tt := range []struct{ name, object, id string }{
		{"first", `{"_id":7,"a":1}`, `7`},
		{"last", `{"a":{"_id":1},"b":["_id",2],"_id":"x\"y"}`, `"x\"y"`},
		{"twice", `{"_id":1,"_id":2}`, `2`},
		{"none", `{"a":{"_id":1}}`, ``},
		{"null", `{"_id":null}`, ``},
		{"no id", `{"_id":{"a":1}}`, ``},
		{"long", `{"_id":"` + strings.Repeat("x", maxIDBytes+1) + `"}`, ``},
		{"before much", `{"_id":7,"a":"` + far + `"}`, `7`},
		{"behind much", `{"a":"` + far + `","_id":7}`, ``},
		{"cut off", `{"a":"` + far[:maxIDScan-len(`{"a":"","_id":12`)] + `","_id":12345}`, ``},
		{"no object", `[{"_id":7}]`, ``},
		{"word", `x`, ``},
		{"broken", `{"_id":`, ``},
		{"broken name", `{"_id`, ``},
	} {
		text, err := json.Marshal(tt.object)
		if err != nil {
			t.Fatal(err)
		}
		forms := map[permissions.Form]string{permissions.FormObject: tt.object, permissions.FormString: string(text)}
		for form, arg := range forms {
			if got, id := glance([]byte(arg + "]")); got != form || string(id) != tt.id {
				t.Errorf("%s: got %v, %s; want %v, %s", tt.name, got, id, form, tt.id)
			}
		}
	}
	if form, id := glance(nil); form != permissions.FormObject || id != nil {
		t.Error("an event without arguments")
	}
}

// For any payload, glance must agree with decoding if that works, and must not panic if it does not.
func FuzzGlance(f *testing.F) {
	for _, s := range []string{
		`{"_id":7}]`, `"{\"_id\":\"\\u00e9\"}"]`, `"{\"_id\":7`, `"\`, `{"a":[{}],"_id":1e3}`, `null]`,
		`"\ud83d\ude00"`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, arg []byte) {
		_, id := glance(arg)
		if id != nil && !json.Valid(id) {
			t.Fatalf("%q: %q is no JSON", arg, id)
		}
	})
}
