package token

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/golang-jwt/jwt/v5"

	"github.com/architus/guildcast/internal/js"
)

// Sign returns a JSON Web Token (HS256) that holds claims: a map or a struct that encoding/json encodes as an object.
// If the secret has a KeyID, the token's header names it. Sign does not check the claims; a Verifier requires `sub` and
// `exp`.
func Sign(secret Secret, claims any) (string, error) {
	if len(secret.Key) == 0 {
		return "", errors.New("sign a token: the secret is empty")
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	if !js.IsObject(payload) {
		return "", errors.New("sign a token: the claims are not a JSON object")
	}
	t := jwt.NewWithClaims(jwt.SigningMethodHS256, rawClaims{RawMessage: payload})
	if secret.KeyID != "" {
		t.Header["kid"] = secret.KeyID
	}
	signed, err := t.SignedString(secret.Key)
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	return signed, nil
}

// rawClaims are claims in JSON. Signing only marshals them: it never calls a method of jwt.Claims.
type rawClaims struct {
	json.RawMessage
	jwt.Claims
}
