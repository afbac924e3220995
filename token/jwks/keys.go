package jwks

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/MicahParks/jwkset"

	"github.com/architus/guildcast/internal/js"
)

// key is one public key that serves exactly one algorithm.
type key struct {
	id, alg string
	public  crypto.PublicKey
}

// find returns the keys that may have signed a token: those with its kid, or all if it has none.
func find(keys []key, kid, alg string) (found []crypto.PublicKey) {
	for _, k := range keys {
		if k.alg == alg && (kid == "" || k.id == kid) {
			found = append(found, k.public)
		}
	}
	return found
}

// omission is a key of a set that is left out.
type omission struct {
	name   string // the kid, or the key's place in the set
	reason string // holds nothing of the key
}

// parse reads a key set. Keys that are not for signatures, or of another kind than we verify with, are left out, as RFC
// 7517, section 5, asks; so are shared secrets, which have no place in a set that anybody may read.
func parse(data []byte) (keys []key, omitted []omission, err error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff")) // some editors begin a file with a byte order mark
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, nil, fmt.Errorf("parse key set: %w", err)
	}
	if set.Keys == nil {
		return nil, nil, errors.New("parse key set: no keys")
	}
	for i, raw := range set.Keys {
		k, err := parseKey(raw)
		if err == nil {
			keys = append(keys, k)
			continue
		}
		name := fmt.Sprintf("%.100s", k.id)
		if k.id == "" {
			name = fmt.Sprintf("number %d", i+1)
		}
		omitted = append(omitted, omission{name, err.Error()})
	}
	return keys, omitted, nil
}

// parseKey reads one key. On an error the key holds its id, if that could be read, and nothing else.
//
// Only what takes part in verification is read. Issuers publish more, and some of it is odd: Auth0's x5t is the
// hexadecimal text, encoded, and certificates may have serial numbers that crypto/x509 refuses.
func parseKey(raw json.RawMessage) (key, error) {
	if !js.IsObject(raw) {
		return key{}, errors.New("it is not an object")
	}
	var m jwkset.JWKMarshal // holds what the key is made of
	var id, use, alg string
	var operations []string
	targets := map[string]any{
		"kty": &m.KTY, "n": &m.N, "e": &m.E, "crv": &m.CRV, "x": &m.X, "y": &m.Y,
		"kid": &id, "use": &use, "alg": &alg, "key_ops": &operations,
	}
	var wrong error
	for name, value := range js.Members(raw) {
		if target := targets[name]; target != nil && json.Unmarshal(value, target) != nil && wrong == nil {
			wrong = fmt.Errorf("%s is of the wrong type", name)
		}
	}
	omit := func(format string, args ...any) (key, error) { return key{id: id}, fmt.Errorf(format, args...) }
	switch {
	case wrong != nil:
		return key{id: id}, wrong
	case use != "" && use != "sig":
		return omit("use is %.40q, not sig", use)
	case operations != nil && !slices.Contains(operations, "verify"):
		return omit("key_ops do not hold verify")
	case m.KTY != jwkset.KtyRSA && m.KTY != jwkset.KtyEC && m.KTY != jwkset.KtyOKP:
		return omit("kty is %.40q; it must be RSA, EC or OKP", string(m.KTY))
	}
	jwk, err := jwkset.NewJWKFromMarshal(m, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
	if err != nil {
		return key{id: id}, err
	}
	serves := algorithm(jwk.Key())
	switch {
	case serves == "":
		return omit("it must be RSA of at least %d bits, P-256 or Ed25519", minRSABits)
	case alg != "" && alg != serves:
		return omit("alg is %.40q; the key serves %s only", alg, serves)
	}
	return key{id, serves, jwk.Key()}, nil
}

// minRSABits is the least size of an RSA key (RFC 7518, section 3.3).
const minRSABits = 2048

// algorithm is the one algorithm that a key serves, or "".
func algorithm(public crypto.PublicKey) string {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() >= minRSABits {
			return "RS256"
		}
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return "ES256"
		}
	case ed25519.PublicKey:
		return "EdDSA"
	}
	return ""
}
