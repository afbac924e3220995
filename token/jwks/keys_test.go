package jwks

import (
	"strings"
	"testing"
)

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","alg":"ES256","use":"sig","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"},{"kty":"oct","k":"AQ"},null]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, _, err := parse(data)
		for _, k := range keys {
			if k.public == nil || k.alg != "RS256" && k.alg != "ES256" && k.alg != "EdDSA" ||
				algorithm(k.public) != k.alg || err != nil {
				t.Fatalf("key %+v, %v", k, err)
			}
		}
	})
}

// TestCertificatesDoNotCount: what Auth0 publishes as x5t, and certificates that do not parse, left the key out.
func TestCertificatesDoNotCount(t *testing.T) {
	const key = `"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"`
	for _, more := range []string{
		`"x5t":"NEVEOUI1RkZFQTU1QzZEMUE2NTk4QkY2QzJGQjE5NEM2M0Y4QjRFNA"`, `"x5c":["bm8gY2VydGlmaWNhdGU="]`, `"x5c":[]`,
		`"x5t#S256":"short"`, `"x5c":"no list"`, `"x5t":7`, `"oth":{}`, `"k":[]`,
		`"key_ops":["verify"]`, `"key_ops":["sign","verify"]`, `"key_ops":null`, `"X":"other"`,
		`"x5u":"http://unreachable.example"`,
	} {
		keys, _, err := parse([]byte("\ufeff" + `{"keys":[{` + key + `,` + more + `}]}`))
		if err != nil || len(keys) != 1 || keys[0].id != "a" {
			t.Errorf("%s: %v, %v", more, keys, err)
		}
	}
}

// TestOmissions: whoever reads the log learns which key serves for nothing, and why.
func TestOmissions(t *testing.T) {
	const ed = `"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"`
	for entry, want := range map[string][2]string{
		`{` + ed + `,"kid":"a","use":"enc"}`:                 {"a", "use"},
		`{` + ed + `,"kid":"a","key_ops":["encrypt"]}`:       {"a", "key_ops"},
		`{` + ed + `,"kid":"a","key_ops":[]}`:                {"a", "key_ops"},
		`{` + ed + `,"kid":"a","key_ops":"verify"}`:          {"a", "key_ops"},
		`{` + ed + `,"kid":"a","alg":"ES256"}`:               {"a", "alg"},
		`{` + ed + `,"kid":7}`:                               {"number 1", "kid"},
		`{` + ed + `,"alg":1}`:                               {"number 1", "alg"},
		`{"kty":"oct","kid":"s","k":"c2VjcmV0"}`:             {"s", "kty"},
		`{"kty":"RSA","kid":"small","n":"AQAB","e":"AQAB"}`:  {"small", "2048"},
		`{"kty":"RSA","kid":"half","n":"AQAB"}`:              {"half", `"e"`},
		`{"kty":"EC","kid":"c","crv":"P-1","x":"A","y":"A"}`: {"c", ""},
		`7`: {"number 1", "object"},
	} {
		keys, omitted, err := parse([]byte(`{"keys":[` + entry + `,{` + ed + `,"kid":"good"}]}`))
		if err != nil || len(keys) != 1 || keys[0].id != "good" || len(omitted) != 1 {
			t.Errorf("%s: %v, %v, %v", entry, keys, omitted, err)
			continue
		}
		if o := omitted[0]; o.name != want[0] || !strings.Contains(o.reason, want[1]) ||
			strings.Contains(o.reason, "c2VjcmV0") {
			t.Errorf("%s: %q", entry, o)
		}
	}
}
