package js

import (
	"bytes"
	"encoding/json"
	"maps"
	"testing"
)

// FuzzMembers compares what members finds with encoding/json.
func FuzzMembers(f *testing.F) {
	for _, seed := range []string{
		`{"sub":"1","exp":1790000000,"permissions":274,"guilds":{"6":6,"7":"0x1"},"architus_admin":false}`,
		" {\t\"a\" : [1, {\"b\":\"]}\"}] ,\r\n\"c\":null , \"d\\\"\\u00e9\" :{ } }\n", `{}`, `{"a":1,"a":{"b":"\\"}}`, `{"":-1.5e3,"é":""}`,
		"{\"\xff\":true}", `null`, `[{"a":1}]`, `"{\"a\":1}"`, `{"a":[[],[[]]],"b":"\\\\\""}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !json.Valid(data) {
			for range Members(data) { // must end, and not panic
			}
			return
		}
		var want map[string]json.RawMessage
		if json.Unmarshal(data, &want) != nil {
			want = nil // no object
		}
		got := map[string]json.RawMessage{}
		for name, value := range Members(data) {
			got[name] = value
		}
		if !maps.EqualFunc(got, want, func(a, b json.RawMessage) bool { return bytes.Equal(a, b) }) {
			t.Fatalf("%s: %s, want %s", data, got, want)
		}
		for _, raw := range got {
			var s string
			isString := raw[0] == '"' && json.Unmarshal(raw, &s) == nil
			if text, ok := Unquote(raw); ok != isString || text != s {
				t.Fatalf("Unquote(%s): %q, %v; want %q, %v", raw, text, ok, s, isString)
			}
		}
	})
}
