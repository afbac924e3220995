// Package token verifies and signs the JSON Web Tokens with which clients say who they are.
package token

import (
	"cmp"
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/architus/guildcast/internal/defaults"
	"github.com/architus/guildcast/internal/js"
	"github.com/architus/guildcast/permissions"
)

// Secret is an HS256 key that is shared with a token issuer.
type Secret struct {
	// KeyID is the `kid` of the tokens that only this secret verifies. A secret without KeyID is tried for tokens whose
	// kid names no other secret. All secrets are tried for a token without kid.
	KeyID string

	Key []byte

	// Guilds limit the secret's tokens to these guilds: they make nobody a member of another guild, or an
	// architus_admin. Nil means no limit. A secret with Guilds needs a KeyID, and verifies no token without kid.
	Guilds []string
}

// KeySource provides the public keys of a token issuer.
type KeySource interface {
	// PublicKeys returns the keys, at least one, that may have signed a token with this kid ("" if it has none) and
	// algorithm. It may wait for the network until ctx ends. If the key may exist but could not be fetched, the error
	// wraps ErrKeysUnavailable.
	PublicKeys(ctx context.Context, kid, alg string) ([]crypto.PublicKey, error)
}

// keysTimeout bounds how long one verification waits for the issuer's keys.
const keysTimeout = 4 * time.Second

// ErrKeysUnavailable reports that the issuer's keys could not be fetched, so that a token could be neither verified nor
// refused.
var ErrKeysUnavailable = errors.New("the issuer's keys are unavailable")

// MaxLeeway bounds VerifierOptions.Leeway.
const MaxLeeway = 5 * time.Second

// VerifierOptions configure a Verifier. Secrets or Keys is required.
type VerifierOptions struct {
	Secrets []Secret  // HS256
	Keys    KeySource // RS256, ES256 and EdDSA; nil refuses them

	Issuer   string   // required `iss`; "" accepts any
	Audience []string // `aud` must hold one of these; none accepts any

	// Leeway is how far nbf and iat may lie in the future, for clocks that differ: MaxLeeway at most, 0 means none.
	// There is none on exp.
	Leeway time.Duration

	// Remember bounds the verified tokens that are remembered, in bytes; their claims take a few times as much. If it
	// is exceeded, the older half is forgotten, and verified again at its next use. 0 means 16 MiB; negative remembers
	// none.
	Remember int

	// MaxBytes bounds a token; 0 means 64 KiB.
	MaxBytes int

	// Revocations are the revoked tokens. While they are incomplete, every token is refused. Nil revokes none.
	Revocations *permissions.Revocations

	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Verifier turns tokens into claims. All methods may be called concurrently.
type Verifier struct {
	o       VerifierOptions
	parser  *jwt.Parser
	byKeyID map[string]Secret
	unnamed jwt.VerificationKeySet // for tokens whose kid names none of byKeyID
	secrets jwt.VerificationKeySet // all of them, for tokens without kid
	memory  *memory
}

// NewVerifier returns a verifier. It fails if there is neither a secret nor a KeySource, if a secret is empty, if two
// have one KeyID, or if one has Guilds and no KeyID.
func NewVerifier(o VerifierOptions) (*Verifier, error) {
	v := &Verifier{o: o, byKeyID: map[string]Secret{}}
	if v.o.Now == nil {
		v.o.Now = time.Now
	}
	v.o.Leeway = min(max(o.Leeway, 0), MaxLeeway)
	v.o.MaxBytes = defaults.Positive(o.MaxBytes, 64<<10)
	v.memory = newMemory(cmp.Or(o.Remember, 16<<20))
	var methods []string
	for _, s := range o.Secrets {
		methods = []string{"HS256"}
		if s.Guilds == nil {
			v.secrets.Keys = append(v.secrets.Keys, s.Key)
		}
		switch _, known := v.byKeyID[s.KeyID]; {
		case len(s.Key) == 0:
			return nil, errors.New("a token secret is empty")
		case s.KeyID == "" && s.Guilds != nil:
			return nil, errors.New("a token secret for some guilds only has no kid")
		case s.KeyID == "":
			v.unnamed.Keys = append(v.unnamed.Keys, s.Key)
		case known:
			return nil, fmt.Errorf("two token secrets have the kid %q", s.KeyID)
		default:
			v.byKeyID[s.KeyID] = s
		}
	}
	if o.Keys != nil {
		methods = append(methods, "RS256", "ES256", "EdDSA")
	}
	if len(methods) == 0 {
		return nil, errors.New("there is neither a token secret nor a source of public keys")
	}
	options := []jwt.ParserOption{jwt.WithValidMethods(methods), jwt.WithTimeFunc(v.o.Now), jwt.WithLeeway(v.o.Leeway),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt()}
	if o.Issuer != "" {
		options = append(options, jwt.WithIssuer(o.Issuer))
	}
	if len(o.Audience) > 0 {
		options = append(options, jwt.WithAudience(o.Audience...))
	}
	v.parser = jwt.NewParser(options...)
	return v, nil
}

// Verify returns the claims of a token that is valid now. Any error is an *Error.
func (v *Verifier) Verify(ctx context.Context, token string) (*permissions.Claims, error) {
	switch {
	case token == "":
		return nil, &Error{Word: Missing}
	case len(token) > v.o.MaxBytes:
		return nil, &Error{Invalid, errors.New("too long")}
	}
	key := sha256.Sum256([]byte(token))
	claims := v.memory.recall(key)
	if claims == nil {
		parsed := jwtClaims{claims: &permissions.Claims{}} // a payload of null leaves them so, without exp
		pick := func(t *jwt.Token) (any, error) { return v.key(ctx, t) }
		verified, err := v.parser.ParseWithClaims(token, &parsed, pick)
		if err != nil {
			return nil, errorFrom(err)
		}
		claims = parsed.claims
		if s, named := v.secretOf(verified); named && s.Guilds != nil {
			claims = claims.Within(s.Guilds)
		}
	}
	now := v.o.Now()
	if claims.Expired(now) {
		return nil, &Error{Word: Expired}
	}
	if revoked, sure := v.o.Revocations.Look(claims, now); revoked {
		return nil, &Error{Word: Revoked}
	} else if !sure {
		return nil, &Error{RevocationsUnavailable, errors.New("more revocations are in force than fit")}
	}
	v.memory.store(key, claims, len(token))
	return claims, nil
}

// key returns the keys to try for a token. The token's algorithm, which the parser has checked, decides the kind of
// key, so that a public key never serves as an HMAC secret.
func (v *Verifier) key(ctx context.Context, t *jwt.Token) (any, error) {
	if _, ok := t.Header["crit"]; ok { // RFC 7515, section 4.1.11: refuse critical headers that are not understood
		return nil, errors.New("critical header")
	}
	kid, isString := t.Header["kid"].(string)
	if _, ok := t.Header["kid"]; ok && !isString {
		return nil, errors.New("kid is not a string")
	}
	if t.Method != jwt.SigningMethodHS256 {
		ctx, cancel := context.WithTimeout(ctx, keysTimeout)
		defer cancel()
		keys, err := v.o.Keys.PublicKeys(ctx, kid, t.Method.Alg())
		if err != nil {
			return nil, err
		}
		set := jwt.VerificationKeySet{}
		for _, key := range keys {
			set.Keys = append(set.Keys, key)
		}
		return set, nil
	}
	if secret, named := v.secretOf(t); named {
		return secret.Key, nil
	}
	keys := v.unnamed
	if kid == "" {
		keys = v.secrets
	}
	if len(keys.Keys) == 0 {
		return nil, errors.New("unknown kid")
	}
	return keys, nil
}

// secretOf returns the secret that a token's kid names, if there is one.
func (v *Verifier) secretOf(t *jwt.Token) (s Secret, named bool) {
	kid, _ := t.Header["kid"].(string)
	if kid == "" || t.Method != jwt.SigningMethodHS256 {
		return Secret{}, false
	}
	s, named = v.byKeyID[kid]
	return s, named
}

// jwtClaims adds to permissions.Claims the claims that only verification needs.
type jwtClaims struct {
	claims    *permissions.Claims
	notBefore time.Time
	issuer    string
	audience  jwt.ClaimStrings
}

// UnmarshalJSON implements json.Unmarshaler; the parser calls it with the token's payload.
func (c *jwtClaims) UnmarshalJSON(payload []byte) (err error) {
	if c.claims, err = permissions.ParseClaims(payload); err != nil {
		return err
	}
	var nbf, iss, aud json.RawMessage
	for name, value := range js.Members(payload) { // the last of two with one name counts
		switch name {
		case "nbf":
			nbf = value
		case "iss":
			iss = value
		case "aud":
			aud = value
		}
	}
	if c.notBefore, err = permissions.ParseDate(nbf); err != nil {
		return err
	}
	if iss != nil {
		if err = json.Unmarshal(iss, &c.issuer); err != nil {
			return err
		}
	}
	if aud != nil {
		return json.Unmarshal(aud, &c.audience)
	}
	return nil
}

// The methods of jwt.Claims.

func (c *jwtClaims) GetExpirationTime() (*jwt.NumericDate, error) { return date(c.claims.ExpiresAt) }
func (c *jwtClaims) GetIssuedAt() (*jwt.NumericDate, error)       { return date(c.claims.IssuedAt) }
func (c *jwtClaims) GetNotBefore() (*jwt.NumericDate, error)      { return date(c.notBefore) }
func (c *jwtClaims) GetIssuer() (string, error)                   { return c.issuer, nil }
func (c *jwtClaims) GetSubject() (string, error)                  { return c.claims.Subject, nil }
func (c *jwtClaims) GetAudience() (jwt.ClaimStrings, error)       { return c.audience, nil }

func date(t time.Time) (*jwt.NumericDate, error) {
	if t.IsZero() {
		return nil, nil
	}
	return &jwt.NumericDate{Time: t}, nil
}
