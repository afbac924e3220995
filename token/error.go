package token

import (
	"errors"

	"github.com/golang-jwt/jwt/v5"

	"github.com/architus/guildcast/internal/botwire"
)

// Words of an Error. They are stable: clients branch on them.
const (
	Missing         = botwire.WordTokenMissing
	Invalid         = botwire.WordTokenInvalid
	Expired         = botwire.WordTokenExpired
	NotYetValid     = botwire.WordTokenNotYetValid
	Revoked         = botwire.WordTokenRevoked
	KeysUnavailable = botwire.WordKeysUnavailable

	// RevocationsUnavailable: a node does not know which tokens were taken back: not yet, or there are too many.
	RevocationsUnavailable = botwire.WordRevocationsUnavailable
)

// Error says why a token was refused.
type Error struct {
	Word string
	Err  error // for a log line; may be nil. It never holds the token or its claims
}

func (e *Error) Error() string {
	if e.Err == nil {
		return e.Word
	}
	return e.Word + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Code returns the code of the word, as HTTP has it: 401, or 503 if it is not the token's fault.
func (e *Error) Code() int { return botwire.Code(e.Word) }

// errorFrom finds the word for an error of the parser. One that is not about time alone is token_invalid: a token that
// is expired and wrong otherwise is wrong.
func errorFrom(err error) *Error {
	invalid := errors.Is(err, jwt.ErrTokenMalformed) || errors.Is(err, jwt.ErrTokenSignatureInvalid) ||
		errors.Is(err, jwt.ErrTokenInvalidIssuer) || errors.Is(err, jwt.ErrTokenInvalidAudience)
	switch {
	case errors.Is(err, ErrKeysUnavailable):
		return &Error{KeysUnavailable, err}
	case invalid:
		return &Error{Invalid, err}
	case errors.Is(err, jwt.ErrTokenExpired):
		return &Error{Expired, err}
	case errors.Is(err, jwt.ErrTokenNotValidYet), errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return &Error{NotYetValid, err}
	}
	return &Error{Invalid, err}
}
