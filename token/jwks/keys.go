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

	"github.com/MicahParks/jwkset"
)

// key is one public key that serves exactly one algorithm.
type key struct {
	id, alg string
	public  crypto.PublicKey
}

// find gives the keys that may have signed a token: those with its kid, or any where it has none.
func find(keys []key, kid, alg string) (found []crypto.PublicKey) {
	for _, k := range keys {
		if k.alg == alg && (kid == "" || k.id == kid) {
			found = append(found, k.public)
		}
	}
	return found
}

// parse reads a key set. Keys that are not for signatures or of another kind than we verify with are left out, as RFC
// 7517, section 5, asks; shared secrets have no place in a set that anybody may read and are left out with them.
func parse(data []byte) ([]key, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff")) // some editors begin a file with a byte order mark
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, fmt.Errorf("parse key set: %w", err)
	}
	if set.Keys == nil {
		return nil, errors.New("parse key set: no keys")
	}
	var keys []key
	for _, raw := range set.Keys {
		var m jwkset.JWKMarshal
		if json.Unmarshal(raw, &m) != nil || m.USE != "" && m.USE != jwkset.UseSig {
			continue
		}
		// Certificates take no part in verification, and issuers publish some that the library refuses: Auth0's x5t is
		// the hexadecimal text, encoded, and serial numbers may be negative.
		m.X5C, m.X5T, m.X5TS256, m.X5U = nil, "", "", ""
		jwk, err := jwkset.NewJWKFromMarshal(m, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
		if err != nil {
			continue
		}
		if alg := algorithm(jwk.Key()); alg != "" && (m.ALG == "" || string(m.ALG) == alg) {
			keys = append(keys, key{m.KID, alg, jwk.Key()})
		}
	}
	return keys, nil
}

// algorithm is the one algorithm that a key serves, or "".
func algorithm(public crypto.PublicKey) string {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() >= 2048 { // RFC 7518, section 3.3
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
