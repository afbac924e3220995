package event

import (
	"encoding/json"
	"testing"
)

func TestStringIDs(t *testing.T) {
	for in, want := range map[string]string{
		`{"id":607637793107345431}`:                     `{"id":"607637793107345431"}`,
		`{"name":"id", "id": 5 ,"n":5}`:                 `{"name":"id", "id": "5" ,"n":5}`,
		`{"a":{"id":5},"n":1.50,"id":"5"}`:              `{"a":{"id":5},"n":1.50,"id":"5"}`,
		`{"id":[5],"x":5}`:                              `{"id":[5],"x":5}`,
		`[9007199254740991,9007199254740992]`:           `[9007199254740991,"9007199254740992"]`,
		`{"roles":[99999999999999999999,1e300]}`:        `{"roles":["99999999999999999999",1e300]}`,
		`[-9007199254740992,9007199254740992.5]`:        `[-9007199254740992,9007199254740992.5]`,
		`{"s":"\"id\":607637793107345431,","id":-5}`:    `{"s":"\"id\":607637793107345431,","id":-5}`,
		`{"b":999999999999999999999}`:                   `{"b":999999999999999999999}`, // 21 digits are no id
		`{"a":{"b":[{"c":607637793107345431}]},"id":1}`: `{"a":{"b":[{"c":"607637793107345431"}]},"id":"1"}`,
		`607637793107345431`:                            `"607637793107345431"`, `7`: `7`, `null`: `null`, `""`: `""`,
	} {
		if got := string(StringIDs([]byte(in))); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func FuzzStringIDs(f *testing.F) {
	f.Add([]byte(`{"id":607637793107345431,"roles":[1,9007199254740992],"s":"\\\"5"}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		if !json.Valid(in) {
			return
		}
		once := StringIDs(in)
		if !json.Valid(once) {
			t.Fatalf("%s became %s", in, once)
		}
		if twice := StringIDs(once); string(twice) != string(once) {
			t.Fatalf("%s became %s", once, twice)
		}
	})
}
