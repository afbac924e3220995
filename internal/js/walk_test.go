package js

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"testing"
)

// FuzzMembers compares what Members finds with encoding/json.
func FuzzMembers(f *testing.F) {
	for _, seed := range []string{
		`{"sub":"1","exp":1790000000,"permissions":274,"guilds":{"6":6,"7":"0x1"},"architus_admin":false}`,
		" {\t\"a\" : [1, {\"b\":\"]}\"}] ,\r\n\"c\":null , \"d\\\"\\u00e9\" :{ } }\n", `{}`, `{"a":1,"a":{"b":"\\"}}`,
		`{"":-1.5e3,"é":""}`,
		"{\"\xff\":true}", `null`, `[{"a":1}]`, `"{\"a\":1}"`, `{"a":[[],[[]]],"b":"\\\\\""}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !json.Valid(data) {
			for name, value := range Members(data) { // must end, and not panic
				_ = name + string(value)
			}
			for range Fields(data) {
			}
			for range Elements(data) {
			}
			if Depth(data); Each(data, func(string, json.RawMessage) error { return nil }) == nil {
				t.Fatalf("%q is taken for an object", data)
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

// FuzzElements compares what Elements finds with encoding/json.
func FuzzElements(f *testing.F) {
	for _, seed := range []string{
		`[]`, ` [ 1 , "]" ,[[],{}], {"a":[1,2]},null ] `, `[-0.5e1,"\\\"",true]`, `{"a":[1]}`, `7`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !json.Valid(data) {
			return
		}
		var want []json.RawMessage
		if json.Unmarshal(data, &want) != nil {
			want = nil // no array
		}
		var got []json.RawMessage
		for value := range Elements(data) {
			got = append(got, value)
		}
		if !slices.EqualFunc(got, want, func(a, b json.RawMessage) bool { return bytes.Equal(a, b) }) {
			t.Fatalf("%s: %s, want %s", data, got, want)
		}
	})
}

// FuzzEach compares Each with the token reader of encoding/json.
func FuzzEach(f *testing.F) {
	for _, seed := range []string{
		`{}`, ` {"a":1,"b":{"a":[2]}} `, `{"a":1,"\u0061":2}`, `{"a":1}{}`, `{"a":1`, `[1]`, "{\"\xff\":1,\"\xfe\":2}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var got []string
		err := Each(data, func(name string, value json.RawMessage) error {
			got = append(got, name, string(value))
			return nil
		})
		want, wantErr := membersByTokens(data)
		if (err == nil) != (wantErr == nil) || err == nil && !slices.Equal(got, want) {
			t.Fatalf("%q: %q, %v; want %q, %v", data, got, err, want, wantErr)
		}
	})
}

func membersByTokens(data []byte) (list []string, err error) {
	d := json.NewDecoder(bytes.NewReader(data))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("not an object")
	}
	for seen := map[string]bool{}; d.More(); {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		name := t.(string)
		if seen[name] {
			return nil, errors.New("twice")
		}
		seen[name] = true
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		list = append(list, name, string(value))
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more")
	}
	return list, nil
}

func TestEachSaysWhatIsWrong(t *testing.T) {
	for data, want := range map[string]string{
		`{"a":1,"a":2}`: `"a" is there twice`,
		`[1]`:           "not a JSON object",
		`{"a":x}`:       "not JSON: invalid character 'x' looking for beginning of value",
		``:              "not JSON: unexpected end of JSON input",
	} {
		err := Each([]byte(data), func(string, json.RawMessage) error { return nil })
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", data, err, want)
		}
	}
	if err := Each([]byte(`{"a":1,"b":2}`), func(name string, _ json.RawMessage) error {
		return errors.New(name)
	}); err == nil || err.Error() != "a" {
		t.Errorf("an error of visit: %v", err)
	}
}

func TestDepth(t *testing.T) {
	for data, want := range map[string]int{
		`1`: 0, `"[["`: 0, `[]`: 1, `[{"a":[]},[]]`: 3, `{"[":"{\"["}`: 1, `[[[`: 3, `]]]`: 0,
	} {
		if got := Depth([]byte(data)); got != want {
			t.Errorf("%s: %d, want %d", data, got, want)
		}
	}
}
