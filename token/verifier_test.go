package token_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/architus/guildcast/permissions"
	"github.com/architus/guildcast/token"
)

var (
	secret = []byte("a secret of the API, 32 bytes long")
	now    = time.Unix(1_790_000_000, 0)
)

func sign(t testing.TB, method jwt.SigningMethod, key any, header, claims map[string]any) string {
	t.Helper()
	token := jwt.NewWithClaims(method, jwt.MapClaims(claims))
	for name, value := range header {
		token.Header[name] = value
	}
	signed, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func hs256(t testing.TB, key []byte, claims map[string]any) string {
	return sign(t, jwt.SigningMethodHS256, key, nil, claims)
}

// good returns claims that pass, changed by the given names and values.
func good(changes ...any) map[string]any {
	claims := map[string]any{"sub": "214037134477230080", "exp": now.Unix() + 60}
	for i := 0; i < len(changes); i += 2 {
		claims[changes[i].(string)] = changes[i+1]
	}
	return claims
}

func newVerifier(t testing.TB, o token.VerifierOptions) *token.Verifier {
	t.Helper()
	if o.Secrets == nil && o.Keys == nil {
		o.Secrets = []token.Secret{{Key: secret}}
	}
	if o.Now == nil {
		o.Now = func() time.Time { return now }
	}
	v, err := token.NewVerifier(o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// word returns the word of the error that refuses a token, or "".
func word(t testing.TB, v *token.Verifier, text string) string {
	t.Helper()
	c, err := v.Verify(context.Background(), text)
	if err == nil {
		if c == nil {
			t.Fatal("neither claims nor an error")
		}
		return ""
	}
	var te *token.Error
	if c != nil || !errors.As(err, &te) {
		t.Fatalf("claims %v with error %v", c, err)
	}
	return te.Word
}

func segment(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func TestVerify(t *testing.T) {
	v := newVerifier(t, token.VerifierOptions{
		Issuer: "api", Audience: []string{"dash", "board"}, Leeway: 5 * time.Second,
	})
	ours := func(changes ...any) map[string]any {
		return good(append([]any{"iss", "api", "aud", "dash"}, changes...)...)
	}
	ok := hs256(t, secret, ours())
	parts := strings.Split(ok, ".")
	unix := now.Unix()
	unsigned := sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil, ours())
	headed := func(header string, value any) string { // ours, with one more member in the header
		return sign(t, jwt.SigningMethodHS256, secret, map[string]any{header: value}, ours())
	}
	lacking := func(claim string) string {
		claims := ours()
		delete(claims, claim)
		return hs256(t, secret, claims)
	}
	for name, c := range map[string]struct{ token, want string }{
		"good":          {ok, ""},
		"sub is a name": {hs256(t, secret, ours("sub", "an operator")), ""},
		"integer sub":   {hs256(t, secret, ours("sub", 214037134477230080)), ""},
		"id for sub": {hs256(t, secret, map[string]any{
			"id": 7, "exp": unix + 1, "iss": "api", "aud": []string{"x", "board"},
		}), ""},
		"nbf within leeway": {hs256(t, secret, ours("nbf", unix+4)), ""},
		"iat within leeway": {hs256(t, secret, ours("iat", unix+4)), ""},
		"empty":             {"", "token_missing"},
		"garbage":           {"garbage", "token_invalid"},
		"dots":              {"..", "token_invalid"},
		"huge":              {strings.Repeat("x", 70_000), "token_invalid"},
		"space around":      {" " + ok, "token_invalid"},
		"wrong secret":      {hs256(t, []byte("another"), ours()), "token_invalid"},
		"empty secret":      {hs256(t, []byte{}, ours()), "token_invalid"},
		"no signature":      {parts[0] + "." + parts[1] + ".", "token_invalid"},
		"other payload": {strings.Join([]string{
			parts[0], segment(`{"sub":"1","exp":9999999999,"iss":"api","aud":"dash"}`), parts[2],
		}, "."), "token_invalid"},
		"alg none":             {unsigned, "token_invalid"},
		"alg NONE":             {segment(`{"alg":"NONE"}`) + "." + parts[1] + ".", "token_invalid"},
		"alg none, signature":  {segment(`{"alg":"none"}`) + "." + parts[1] + "." + parts[2], "token_invalid"},
		"no alg":               {segment(`{}`) + "." + parts[1] + "." + parts[2], "token_invalid"},
		"HS512":                {sign(t, jwt.SigningMethodHS512, secret, nil, ours()), "token_invalid"},
		"critical header":      {headed("crit", []string{"b64"}), "token_invalid"},
		"kid is a number":      {headed("kid", 1), "token_invalid"},
		"any kid":              {headed("kid", "x"), ""},
		"expired":              {hs256(t, secret, ours("exp", unix-1)), "token_expired"},
		"expires now":          {hs256(t, secret, ours("exp", unix)), "token_expired"},
		"expired, bad sig":     {hs256(t, []byte("another"), ours("exp", unix-1)), "token_invalid"},
		"no exp":               {lacking("exp"), "token_invalid"},
		"exp is a string":      {hs256(t, secret, ours("exp", fmt.Sprint(unix+60))), "token_invalid"},
		"exp is null":          {hs256(t, secret, ours("exp", nil)), "token_invalid"},
		"exp is huge":          {hs256(t, secret, ours("exp", 1e300)), ""},
		"exp is negative":      {hs256(t, secret, ours("exp", -1)), "token_invalid"},
		"not yet":              {hs256(t, secret, ours("nbf", unix+6)), "token_not_yet_valid"},
		"nbf is a string":      {hs256(t, secret, ours("nbf", "0")), "token_invalid"},
		"from the future":      {hs256(t, secret, ours("iat", unix+6)), "token_not_yet_valid"},
		"no sub":               {lacking("sub"), "token_invalid"},
		"sub is empty":         {hs256(t, secret, ours("sub", "")), "token_invalid"},
		"sub is null":          {hs256(t, secret, ours("sub", nil, "id", "1")), "token_invalid"},
		"sub is a fraction":    {hs256(t, secret, ours("sub", 1.5)), "token_invalid"},
		"sub is an object":     {hs256(t, secret, ours("sub", map[string]any{})), "token_invalid"},
		"jti is an object":     {hs256(t, secret, ours("jti", map[string]any{})), "token_invalid"},
		"wrong issuer":         {hs256(t, secret, ours("iss", "evil")), "token_invalid"},
		"wrong issuer, old":    {hs256(t, secret, ours("iss", "evil", "exp", unix-1)), "token_invalid"},
		"no issuer":            {hs256(t, secret, good("aud", "dash")), "token_invalid"},
		"issuer under ISS":     {hs256(t, secret, good("aud", "dash", "ISS", "api")), "token_invalid"},
		"wrong audience":       {hs256(t, secret, ours("aud", []string{"x"})), "token_invalid"},
		"audience is a number": {hs256(t, secret, ours("aud", 1)), "token_invalid"},
		"no audience":          {hs256(t, secret, good("iss", "api")), "token_invalid"},
	} {
		if got := word(t, v, c.token); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	for _, payload := range []string{`null`, `[]`, `1`, `"x"`, ``, `{`} {
		method := jwt.SigningMethodHS256
		text := segment(`{"alg":"HS256"}`) + "." + segment(payload)
		signature, err := method.Sign(text, secret)
		if err != nil {
			t.Fatal(err)
		}
		if got := word(t, v, text+"."+base64.RawURLEncoding.EncodeToString(signature)); got != "token_invalid" {
			t.Errorf("payload %s: %q", payload, got)
		}
	}
}

func TestVerifierSecrets(t *testing.T) {
	v := newVerifier(t, token.VerifierOptions{Secrets: []token.Secret{
		{Key: []byte("new")}, {Key: []byte("old")}, {KeyID: "named", Key: []byte("named secret")}}})
	kid := func(id string) map[string]any { return map[string]any{"kid": id} }
	named := func(id string) string {
		return sign(t, jwt.SigningMethodHS256, []byte("named secret"), kid(id), good())
	}
	for name, c := range map[string]struct{ token, want string }{
		"new":               {hs256(t, []byte("new"), good()), ""},
		"old":               {hs256(t, []byte("old"), good()), ""},
		"named":             {named("named"), ""},
		"named, no kid":     {hs256(t, []byte("named secret"), good()), ""},
		"empty kid":         {named(""), ""},
		"none of them":      {hs256(t, []byte("another"), good()), "token_invalid"},
		"named, other kid":  {named("x"), "token_invalid"},
		"kid picks its own": {sign(t, jwt.SigningMethodHS256, []byte("new"), kid("named"), good()), "token_invalid"},
	} {
		if got := word(t, v, c.token); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	allNamed := newVerifier(t, token.VerifierOptions{Secrets: []token.Secret{{KeyID: "a", Key: []byte("x")}}})
	if got := word(t, allNamed, hs256(t, []byte("x"), good())); got != "" {
		t.Errorf("a token without kid where all secrets are named: %q", got)
	}
	unknown := sign(t, jwt.SigningMethodHS256, []byte("x"), kid("b"), good())
	if got := word(t, allNamed, unknown); got != "token_invalid" {
		t.Errorf("a token with an unknown kid where all secrets are named: %q", got)
	}
	for name, o := range map[string]token.VerifierOptions{
		"nothing":      {},
		"empty secret": {Secrets: []token.Secret{{}}},
		"one kid, two": {Secrets: []token.Secret{{KeyID: "a", Key: []byte("x")}, {KeyID: "a", Key: []byte("y")}}},
	} {
		if _, err := token.NewVerifier(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// fixedKeys is a KeySource that knows one key.
type fixedKeys struct {
	alg string
	key crypto.PublicKey
	err error
}

func (k fixedKeys) PublicKeys(_ context.Context, _, alg string) ([]crypto.PublicKey, error) {
	if k.err == nil && alg != k.alg {
		return nil, errors.New("no such key")
	}
	return []crypto.PublicKey{k.key}, k.err
}

func TestVerifierPublicKeys(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edPublic, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method jwt.SigningMethod
		key    any
		public crypto.PublicKey
	}{
		{jwt.SigningMethodRS256, rsaKey, &rsaKey.PublicKey},
		{jwt.SigningMethodES256, ecKey, &ecKey.PublicKey},
		{jwt.SigningMethodEdDSA, edKey, edPublic},
	} {
		v := newVerifier(t, token.VerifierOptions{Keys: fixedKeys{alg: c.method.Alg(), key: c.public}})
		if got := word(t, v, sign(t, c.method, c.key, nil, good())); got != "" {
			t.Errorf("%s: %q", c.method.Alg(), got)
		}
		// The classic confusion: the public key, in any form that an attacker may guess, as an HMAC secret.
		der, err := x509.MarshalPKIXPublicKey(c.public)
		if err != nil {
			t.Fatal(err)
		}
		both := newVerifier(t, token.VerifierOptions{
			Secrets: []token.Secret{{Key: secret}}, Keys: fixedKeys{alg: c.method.Alg(), key: c.public},
		})
		for _, form := range [][]byte{der, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})} {
			for _, verifier := range []*token.Verifier{v, both} {
				if got := word(t, verifier, hs256(t, form, good())); got != "token_invalid" {
					t.Errorf("an HMAC made with the public key of %s: %q", c.method.Alg(), got)
				}
			}
		}
	}
	v := newVerifier(t, token.VerifierOptions{Keys: fixedKeys{alg: "RS256", key: &rsaKey.PublicKey}})
	for _, method := range []jwt.SigningMethod{jwt.SigningMethodRS512, jwt.SigningMethodPS256} {
		if got := word(t, v, sign(t, method, rsaKey, nil, good())); got != "token_invalid" {
			t.Errorf("%s: %q", method.Alg(), got)
		}
	}
	v = newVerifier(t, token.VerifierOptions{Keys: fixedKeys{err: fmt.Errorf("%w: down", token.ErrKeysUnavailable)}})
	_, err = v.Verify(context.Background(), sign(t, jwt.SigningMethodRS256, rsaKey, nil, good()))
	var te *token.Error
	if !errors.As(err, &te) || te.Word != token.KeysUnavailable || te.Code() != 503 {
		t.Errorf("without keys: %v", err)
	}
}

func TestVerifierRemembers(t *testing.T) {
	clock, calls := now, 0
	edPublic, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	revocations := &permissions.Revocations{}
	v := newVerifier(t, token.VerifierOptions{Remember: 1000, Revocations: revocations,
		Keys: countingKeys{fixedKeys{alg: "EdDSA", key: edPublic}, &calls}, Now: func() time.Time { return clock }})
	token := func(id string) string { return sign(t, jwt.SigningMethodEdDSA, edKey, nil, good("jti", id)) }
	first := token("0")
	for range 3 {
		if got := word(t, v, first); got != "" || calls != 1 {
			t.Fatalf("%q after %d look-ups", got, calls)
		}
	}
	for i := range 10 {
		word(t, v, token(fmt.Sprint(i+1)))
	}
	if word(t, v, first); calls != 12 {
		t.Errorf("%d look-ups: what is remembered is not bounded", calls)
	}
	revocations.Add(permissions.Revocation{TokenID: "0", Expires: now.Add(time.Hour)}, now)
	if got := word(t, v, first); got != "token_revoked" {
		t.Errorf("a remembered token that was revoked: %q", got)
	}
	other := token("x")
	word(t, v, other)
	clock = now.Add(time.Minute)
	if got := word(t, v, other); got != "token_expired" {
		t.Errorf("a remembered token that expired: %q", got)
	}
}

// The demo's own secret signs tokens for anybody who asks: they must open no guild but the demo's.
func TestSecretForSomeGuilds(t *testing.T) {
	some := []byte("a secret of the demo, 32 bytes long")
	v := newVerifier(t, token.VerifierOptions{
		Secrets: []token.Secret{{Key: secret}, {KeyID: "demo", Key: some, Guilds: []string{"7", "8"}}},
		Now:     func() time.Time { return now },
	})
	claims := good("architus_admin", true, "permissions", 4, "guilds", map[string]int{"7": 1, "9": 1})
	for _, verification := range []string{"first", "remembered"} {
		c, err := v.Verify(t.Context(), sign(t, jwt.SigningMethodHS256, some, map[string]any{"kid": "demo"}, claims))
		if err != nil {
			t.Fatal(err)
		}
		bits, member := c.In("7")
		_, unnamed := c.In("8")
		_, other := c.In("9")
		if bits != permissions.All || !member || unnamed || other ||
			c.ArchitusAdmin || c.GuildCount() != 1 || c.Subject == "" {
			t.Errorf("%s: %v in 7; in 8: %v, in 9: %v; %+v", verification, bits, unnamed, other, c)
		}
	}
	for name, header := range map[string]map[string]any{
		"no kid": nil, "empty kid": {"kid": ""}, "another kid": {"kid": "x"},
	} {
		if got := word(t, v, sign(t, jwt.SigningMethodHS256, some, header, claims)); got != "token_invalid" {
			t.Errorf("%s: %q", name, got)
		}
	}
	c, err := v.Verify(t.Context(), hs256(t, secret, claims))
	if _, other := c.In("9"); err != nil || !other || !c.ArchitusAdmin {
		t.Errorf("a token of the other secret: %+v, %v", c, err)
	}
	unnamed := token.VerifierOptions{Secrets: []token.Secret{{Key: some, Guilds: []string{"7"}}}}
	if _, err := token.NewVerifier(unnamed); err == nil {
		t.Error("a secret for some guilds without a kid is taken")
	}
}

// A verifier that can't know whether a token is revoked refuses it, even one that it remembers.
func TestVerifierWithTooManyRevocations(t *testing.T) {
	revocations := &permissions.Revocations{Max: 1}
	v := newVerifier(t, token.VerifierOptions{Secrets: []token.Secret{{Key: secret}}, Revocations: revocations,
		Now: func() time.Time { return now }})
	banned := sign(t, jwt.SigningMethodHS256, secret, nil, good("jti", "0"))
	other := sign(t, jwt.SigningMethodHS256, secret, nil, good("jti", "x"))
	revocations.Add(permissions.Revocation{TokenID: "0", Expires: now.Add(time.Hour)}, now)
	if got := word(t, v, other); got != "" {
		t.Errorf("at the bound: %q", got)
	}
	revocations.Add(permissions.Revocation{TokenID: "1", Expires: now.Add(time.Hour)}, now)
	if got := word(t, v, other); got != "revocations_unavailable" {
		t.Errorf("beyond the bound: %q", got)
	}
	if got := word(t, v, banned); got != "token_revoked" {
		t.Errorf("one that is held, beyond the bound: %q", got)
	}
}

type countingKeys struct {
	fixedKeys
	calls *int
}

func (k countingKeys) PublicKeys(ctx context.Context, kid, alg string) ([]crypto.PublicKey, error) {
	*k.calls++
	return k.fixedKeys.PublicKeys(ctx, kid, alg)
}

func BenchmarkVerify(b *testing.B) {
	text := hs256(b, secret, good("guilds", map[string]any{"607637793107345431": 6, "1": 1, "2": "0x4"}))
	for name, remember := range map[string]int{"distinct": -1, "remembered": 0} {
		b.Run(name, func(b *testing.B) {
			v := newVerifier(b, token.VerifierOptions{Remember: remember})
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(context.Background(), text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// FuzzVerify signs any header and any payload with the right secret. If Verify accepts the token, its claims must be
// those that ParseClaims reads from the payload, and must be valid now. It must refuse the same token under another
// signature.
func FuzzVerify(f *testing.F) {
	const exp = `"exp":1790000060`
	f.Add(`{"alg":"HS256","typ":"JWT"}`, `{"sub":"214037134477230080","permissions":274,"guilds":{"1":6},`+exp+`}`)
	f.Add(`{"alg":"HS256","kid":"old"}`, `{"id":7,"iat":1790000004,"nbf":1790000000.5,`+exp+`}`)
	f.Add(`{"alg":"none","crit":["b64"],"kid":1}`, `{"sub":"1","iss":"api","aud":["dash"],`+exp+`}`)
	f.Add(`{"alg":"HS256"}`, `null`)
	v := newVerifier(f, token.VerifierOptions{Remember: -1})
	f.Fuzz(func(t *testing.T, header, payload string) {
		signed := segment(header) + "." + segment(payload)
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(signed))
		text := signed + "." + segment(string(mac.Sum(nil)))
		if len(text) > 60<<10 {
			return
		}
		want, parseErr := permissions.ParseClaims([]byte(payload))
		refusal := word(t, v, text)
		if refusal != "" {
			plain := header == `{"alg":"HS256"}` && !strings.ContainsAny(payload, `\\`) && // a name may be escaped
				!strings.Contains(payload, `"nbf"`) && !strings.Contains(payload, `"iss"`) &&
				!strings.Contains(payload, `"aud"`)
			if plain && parseErr == nil && !want.Expired(now) && !want.IssuedAt.After(now) {
				t.Fatalf("%s is refused: %s", payload, refusal)
			}
			return
		}
		got, err := v.Verify(context.Background(), text)
		var h map[string]any
		if err != nil || parseErr != nil ||
			json.Unmarshal([]byte(header), &h) != nil || h["alg"] != "HS256" || h["crit"] != nil ||
			!reflect.DeepEqual(got, want) || got.Expired(now) || got.IssuedAt.After(now.Add(5*time.Second)) {
			t.Fatalf("%s %s is taken as %+v, %v; want %+v, %v", header, payload, got, err, want, parseErr)
		}
		mac.Write([]byte{1})
		if w := word(t, v, signed+"."+segment(string(mac.Sum(nil)))); w != token.Invalid {
			t.Fatalf("%s under another signature: %q", payload, w)
		}
	})
}

// TestNoLeeway checks that 0 means no leeway, and not the default of the command line.
func TestNoLeeway(t *testing.T) {
	v := newVerifier(t, token.VerifierOptions{})
	for _, claim := range []string{"nbf", "iat"} {
		if _, err := v.Verify(context.Background(), hs256(t, secret, good(claim, now.Unix()+1))); err == nil {
			t.Errorf("%s is a second ahead, and the token was taken", claim)
		}
	}
}
