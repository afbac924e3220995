package handlers

import (
	"bytes"
	"encoding/json"
	"math/big"
	"reflect"
	"strings"
	"testing"

	"github.com/architus/guildcast/internal/botwire"
	"github.com/architus/guildcast/permissions"
)

func TestSnowflake(t *testing.T) {
	const maxBytes = 1 << 10
	for _, tt := range []struct {
		json string // of the id
		want string // "" is a refusal
	}{
		{`"607637793107345431"`, "607637793107345431"},
		{`"1"`, "1"},
		{`"18446744073709551615"`, "18446744073709551615"},
		{`4211`, "4211"},
		{`9007199254740991`, "9007199254740991"},
		{`9007199254740992`, ""}, // 2^53: may have been 2^53+1
		{`9007199254740993`, ""},
		{`607637793107345431`, ""},
		{`1e300`, ""},
		{`-1`, ""},
		{`1.5`, ""},
		{`0.1e1`, "1"},
		{`""`, ""},
		{`"12a"`, ""},
		{`"123456789012345678901"`, ""},
		{`"１"`, ""},
		{`true`, ""},
		{`[]`, ""},
		{`{}`, ""},
	} {
		body := `{"id":` + tt.json + `}`
		var object any
		if err := json.Unmarshal([]byte(body), &object); err != nil {
			t.Fatal(err)
		}
		for _, arg := range []any{object, body} {
			p, bad := decodePayload(arg, maxBytes, false)
			if bad != nil {
				t.Fatal(bad)
			}
			got, bad := p.snowflake("id")
			if got != tt.want || (bad == nil) != (tt.want != "") {
				t.Errorf("%s as %T: got %q, %v; want %q", tt.json, arg, got, bad, tt.want)
			}
			if bad != nil && (bad.Code != 400 || bad.Word != botwire.WordMalformed ||
				!strings.Contains(bad.Human, "id ")) {
				t.Errorf("%s: refused with %+v", tt.json, bad)
			}
		}
	}
	// Far beyond what float64 holds, and in a string, where nothing has rounded it yet.
	p, _ := decodePayload(`{"id":1e400}`, maxBytes, false)
	if _, bad := p.snowflake("id"); bad == nil {
		t.Error("1e400 is taken for an id")
	}
}

func TestRequestID(t *testing.T) {
	for _, tt := range []struct{ json, want, wantString string }{
		{`7`, `7`, `7`},
		{`"x<\"y"`, `"x<\"y"`, `"x<\"y"`},
		{`1.5`, `1.5`, `1.5`},
		// A number is what JavaScript makes of it.
		{`12345678901234567890`, `12345678901234567000`, `12345678901234567890`},
		{`null`, ``, ``},
		{`true`, `!`, `!`},
		{`{}`, `!`, `!`},
		{`"` + strings.Repeat("x", maxIDBytes+1) + `"`, `!`, `!`},
	} {
		body := `{"_id":` + tt.json + `}`
		var object any
		if err := json.Unmarshal([]byte(body), &object); err != nil {
			t.Fatal(err)
		}
		for arg, want := range map[*any]string{&object: tt.want, ptr(body): tt.wantString} {
			p, bad := decodePayload(*arg, 1<<20, false)
			if (bad != nil) != (want == "!") || bad == nil && string(p.id) != want {
				t.Errorf("%s as %T: got %s, %v; want %s", tt.json, *arg, p.id, bad, want)
			}
		}
	}
}

func ptr(v any) *any { return &v }

func TestPayloadForms(t *testing.T) {
	for _, tt := range []struct {
		name string
		arg  any
		bare bool
		form permissions.Form
		text string // of the bare payload
		code int
	}{
		{"object", map[string]any{}, false, permissions.FormObject, "", 0},
		{"nothing", nil, false, permissions.FormObject, "", 0},
		{"string", `{"a":1}`, false, permissions.FormString, "", 0},
		{"string with space", " \n{\"a\":1} ", false, permissions.FormString, "", 0},
		{"bare", "abc.def.ghi", true, permissions.FormString, "abc.def.ghi", 0},
		{"bare and quoted", `"abc.def.ghi"`, true, permissions.FormString, "abc.def.ghi", 0},
		{"an object where bare is possible", `{"a":1}`, true, permissions.FormString, "", 0},
		{"a broken object where bare is possible", `{"a":1`, true, permissions.FormString, "", 400},
		{"bare where it isn't", "abc", false, permissions.FormString, "", 400},
		{"null in a string", "null", false, permissions.FormString, "", 0},
		{"two objects", `{}{}`, false, permissions.FormString, "", 400},
		{"array in a string", `[]`, false, permissions.FormString, "", 400},
		{"array", []any{}, false, permissions.FormObject, "", 400},
		{"number", 1.0, false, permissions.FormObject, "", 400},
		{"deep", strings.Repeat(`{"a":`, 20_000), false, permissions.FormString, "", 400},
		{"long", `{"a":"` + strings.Repeat("x", 200_000) + `"}`, false, permissions.FormString, "", 413},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, bad := decodePayload(tt.arg, 150_000, tt.bare)
			code := 0
			if bad != nil {
				code = bad.Code
			}
			if p.form != tt.form || p.bare != tt.text || code != tt.code {
				t.Errorf("got form %d, bare %q, error %v", p.form, p.bare, bad)
			}
		})
	}
}

func FuzzPayload(f *testing.F) {
	f.Add(`{"_id":1,"guild_id":"1","ids":["1",2],"limit":3,"include_logs":true}`, true)
	f.Add(`"token"`, true)
	f.Add(`{"_id":1e999,"guild_id":-0,"ids":{}}`, false)
	f.Fuzz(func(t *testing.T, text string, bare bool) {
		parts := Parts{Verifier: &tokens{}, Revocations: &tokens{}, Topics: &feeds{}, Filter: newFilter()}
		g, err := newGateway(parts, Config{})
		if err != nil {
			t.Fatal(err)
		}
		r := &request{session: &session{gateway: g}}
		var bad *Error
		if r.payload, bad = decodePayload(text, 1<<16, bare); bad != nil {
			return
		}
		if r.id != nil && !json.Valid(r.id) {
			t.Fatalf("_id %s is no JSON", r.id)
		}
		if v, bad := r.view(); bad == nil && v.guild != "" && len(v.guild) > 20 {
			t.Fatalf("guild %q", v.guild)
		}
		if q, bad := r.poolQuery(); bad == nil && (q.kind == "" || q.request == "") {
			t.Fatalf("query %+v", q)
		}
		if !json.Valid(withID([]byte(`{"a":1}`), r.id)) {
			t.Fatal("no JSON")
		}
		object := &request{session: r.session}
		var fields map[string]any
		if json.Unmarshal([]byte(text), &fields) != nil {
			return // a bare token, or a number that no object can hold
		}
		if object.payload, bad = decodePayload(fields, 1<<16, bare); bad != nil {
			t.Fatalf("%q as an object: %v", text, bad)
		}
		sameRequest(t, r, object)
	})
}

// sameRequest holds that a payload says the same in both forms.
func sameRequest(t *testing.T, text, object *request) {
	t.Helper()
	v, bad := text.view()
	if w, worse := object.view(); v != w || (bad == nil) != (worse == nil) {
		t.Fatalf("view %+v, %v; as an object %+v, %v", v, bad, w, worse)
	}
	q, bad := text.poolQuery()
	if p, worse := object.poolQuery(); bad == nil && !reflect.DeepEqual(q, p) || (bad == nil) != (worse == nil) {
		t.Fatalf("query %+v, %v; as an object %+v, %v", q, bad, p, worse)
	}
}

// FuzzIdentify: an entity of a backend goes out with its id as a string and the numbers that JavaScript would round as
// strings, and is the same otherwise.
func FuzzIdentify(f *testing.F) {
	for _, raw := range []string{
		`{"id":"1","name":"x"}`, `{"name":"<x>","id":607637793107345431}`, `{"id":1e3}`, `{"id":-0}`, `{"id":null}`,
		`[]`, `{"ID":5}`, `{"ID":"5"}`,
		`{"id":"1","Id":"2"}`, `{"id":"1","roles":[9007199254740991,607637793107345431,-9007199254740993]}`, `"0`, ``,
		`{"id":"1"`, `{"id":"1\`,
	} {
		f.Add([]byte(raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		id, body, ok := identify(raw)
		if !ok {
			return
		}
		before, after := numbers(t, raw), numbers(t, body)
		if id == "" || after["id"] != id {
			t.Fatalf("%s has the id %q and goes out as %s", raw, id, body)
		}
		delete(before, "id")
		delete(after, "id")
		if !reflect.DeepEqual(exact(before), any(after)) {
			t.Fatalf("%s goes out as %s", raw, body)
		}
	})
}

// numbers decodes an object, its numbers as they are written.
func numbers(t *testing.T, raw []byte) (object map[string]any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&object); err != nil {
		t.Fatal(err)
	}
	return object
}

// exact puts strings in the place of the numbers that can be nothing but ids.
func exact(value any) any {
	switch v := value.(type) {
	case json.Number:
		if n, ok := new(big.Int).SetString(v.String(), 10); ok && n.Cmp(big.NewInt(1<<53)) >= 0 && len(v) <= 20 {
			return v.String()
		}
	case []any:
		for i := range v {
			v[i] = exact(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = exact(v[name])
		}
	}
	return value
}

func TestWithID(t *testing.T) {
	for _, c := range [][3]string{
		{` {} `, `7`, `{"_id":7} `},
		{`{"a":1}`, `"x"`, `{"_id":"x","a":1}`},
		{` { "a":1}`, ``, ` { "a":1}`},
	} {
		var id []byte
		if c[1] != "" {
			id = []byte(c[1])
		}
		if got := string(withID([]byte(c[0]), id)); got != c[2] {
			t.Errorf("withID(%s, %s) = %s, want %s", c[0], c[1], got, c[2])
		}
	}
}
