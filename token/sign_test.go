package token_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/architus/guildcast/token"
)

// TestSign checks that a Verifier reads the claims that Sign was given, from a map as from a struct.
func TestSign(t *testing.T) {
	secrets := []token.Secret{
		{KeyID: "a", Key: []byte("first")}, {KeyID: "b", Key: []byte("second")}, {Key: []byte("third")},
	}
	v := newVerifier(t, token.VerifierOptions{Secrets: secrets, Issuer: "api"})
	exp := now.Add(time.Minute).Unix()
	type claims struct {
		Subject string            `json:"sub"`
		Issuer  string            `json:"iss"`
		Expires int64             `json:"exp"`
		Guilds  map[string]uint64 `json:"guilds"`
	}
	guilds := map[string]uint64{"1": 1<<63 + 2}
	for _, secret := range secrets {
		for name, given := range map[string]any{
			"map":     map[string]any{"sub": "7", "iss": "api", "exp": exp, "guilds": guilds},
			"struct":  claims{"7", "api", exp, guilds},
			"pointer": &claims{"7", "api", exp, guilds},
		} {
			signed, err := token.Sign(secret, given)
			if err != nil {
				t.Fatal(err)
			}
			c, err := v.Verify(context.Background(), signed)
			if err != nil {
				t.Fatalf("%s signed with %q: %v", name, secret.KeyID, err)
			}
			bits, member := c.In("1")
			if c.Subject != "7" || c.ExpiresAt.Unix() != exp || !member || !bits.Has(1<<63+2) {
				t.Errorf("%s signed with %q gives %+v", name, secret.KeyID, c)
			}
			head, err := base64.RawURLEncoding.DecodeString(strings.SplitN(signed, ".", 2)[0])
			if err != nil {
				t.Fatal(err)
			}
			var header map[string]any
			if err := json.Unmarshal(head, &header); err != nil {
				t.Fatal(err)
			}
			kid, named := header["kid"]
			if header["alg"] != "HS256" || named != (secret.KeyID != "") || named && kid != secret.KeyID {
				t.Errorf("the header is %s", head)
			}
		}
	}
}

func TestSignRefuses(t *testing.T) {
	good := token.Secret{Key: secret}
	for name, c := range map[string]struct {
		secret token.Secret
		claims any
	}{
		"empty secret": {token.Secret{KeyID: "a"}, map[string]any{"sub": "1"}},
		"nil":          {good, nil},
		"nil map":      {good, map[string]any(nil)},
		"array":        {good, []string{"sub"}},
		"string":       {good, `{"sub":"1"}`},
		"function":     {good, map[string]any{"sub": func() {}}},
	} {
		if signed, err := token.Sign(c.secret, c.claims); err == nil || signed != "" {
			t.Errorf("%s: %q, %v", name, signed, err)
		}
	}
}
