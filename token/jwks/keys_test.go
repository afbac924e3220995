package jwks

import "testing"

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","alg":"ES256","use":"sig","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"},{"kty":"oct","k":"AQ"},null]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := parse(data)
		for _, k := range keys {
			if k.public == nil || k.alg != "RS256" && k.alg != "ES256" && k.alg != "EdDSA" || algorithm(k.public) != k.alg || err != nil {
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
		`"x5t#S256":"short"`, `"x5u":"http://unreachable.example"`,
	} {
		keys, err := parse([]byte("\ufeff" + `{"keys":[{` + key + `,` + more + `}]}`))
		if err != nil || len(keys) != 1 || keys[0].id != "a" {
			t.Errorf("%s: %v, %v", more, keys, err)
		}
	}
}
