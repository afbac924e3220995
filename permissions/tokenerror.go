package permissions

import (
	"errors"

	"github.com/golang-jwt/jwt/v5"
)

// Words of a TokenError. They are stable: clients branch on them.
const (
	TokenMissing     = "token_missing"
	TokenInvalid     = "token_invalid"
	TokenExpired     = "token_expired"
	TokenNotYetValid = "token_not_yet_valid"
	TokenRevoked     = "token_revoked"
	KeysUnavailable  = "keys_unavailable"

	// RevocationsUnavailable: a node does not know yet which tokens were taken back.
	RevocationsUnavailable = "revocations_unavailable"
)

// TokenError says why a token gives no claims.
type TokenError struct {
	Word string
	Err  error // for a log line; may be nil. It never holds the token or its claims
}

func (e *TokenError) Error() string {
	if e.Err == nil {
		return e.Word
	}
	return e.Word + ": " + e.Err.Error()
}

func (e *TokenError) Unwrap() error { return e.Err }

// Code is the status by the rules of HTTP: 401, or 503 where it is not the token's fault.
func (e *TokenError) Code() int {
	switch e.Word {
	case KeysUnavailable, RevocationsUnavailable:
		return 503
	}
	return 401
}

// tokenError finds the word for an error of the parser. One that is not about time alone is token_invalid: a token that
// is expired and wrong otherwise is wrong.
func tokenError(err error) *TokenError {
	invalid := errors.Is(err, jwt.ErrTokenMalformed) || errors.Is(err, jwt.ErrTokenSignatureInvalid) ||
		errors.Is(err, jwt.ErrTokenInvalidIssuer) || errors.Is(err, jwt.ErrTokenInvalidAudience)
	switch {
	case errors.Is(err, ErrKeysUnavailable):
		return &TokenError{KeysUnavailable, err}
	case invalid:
		return &TokenError{TokenInvalid, err}
	case errors.Is(err, jwt.ErrTokenExpired):
		return &TokenError{TokenExpired, err}
	case errors.Is(err, jwt.ErrTokenNotValidYet), errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return &TokenError{TokenNotYetValid, err}
	}
	return &TokenError{TokenInvalid, err}
}
