package token_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/architus/guildcast/token"
)

// FuzzParseSecrets checks that no parsed secret is empty, and that a list parses as the JSON array of its elements.
func FuzzParseSecrets(f *testing.F) {
	for _, text := range []string{"one", " new, old\n", `{"a":"x,y","b":"z"}`, `["x,y","z"]`, "a,,b"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		secrets, err := token.ParseSecrets(text)
		if err != nil {
			if secrets != nil {
				t.Fatalf("%q gives %q and %v", text, secrets, err)
			}
			return
		}
		var keys []string
		for _, s := range secrets {
			if len(s.Key) == 0 {
				t.Fatalf("%q gives an empty secret", text)
			}
			keys = append(keys, string(s.Key))
			if s.KeyID != "" || !utf8.Valid(s.Key) {
				return
			}
		}
		if len(keys) == 0 {
			return
		}
		array, err := json.Marshal(keys)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := token.ParseSecrets(string(array)); err != nil || !reflect.DeepEqual(again, secrets) {
			t.Fatalf("%q is %q, and as an array %q, %v", text, secrets, again, err)
		}
	})
}

func TestParseSecrets(t *testing.T) {
	for text, want := range map[string]string{
		"":                    "",
		"one":                 "=one",
		" one\n":              "=one",
		"\ufeffone\r\n":       "=one",
		"\ufeff{\"a\":\"x\"}": "a=x",
		"new,old":             "=new =old",
		`{"a":"x,y","b":"z"}`: "a=x,y b=z",
		`{"":"x"}`:            "=x",
		`["x,y","z"]`:         "=x,y =z",
		"a,,b":                "error",
		",":                   "error",
		`{"a":""}`:            "error",
		`{"a":1}`:             "error",
		`{"a":"x","a":"y"}`:   "error",
		`{broken`:             "error",
		`[1]`:                 "error",
		`[""]`:                "error",
	} {
		secrets, err := token.ParseSecrets(text)
		var list []string
		for _, s := range secrets {
			list = append(list, s.KeyID+"="+string(s.Key))
		}
		got := strings.Join(list, " ")
		if err != nil {
			got = "error"
			if strings.Contains(err.Error(), "x,y") {
				t.Errorf("%s: the error tells the secret: %v", text, err)
			}
		}
		if got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}
