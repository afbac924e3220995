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

	// RevocationsUnavailable means that the node does not know which tokens are revoked: it has not read the
	// revocations yet, or there are too many.
	RevocationsUnavailable = botwire.WordRevocationsUnavailable
)

// Error is the reason for refusing a token.
type Error struct {
	Word string
	Err  error // for the log; may be nil; never holds the token or its claims
}

func (e *Error) Error() string {
	if e.Err == nil {
		return e.Word
	}
	return e.Word + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Code returns the word's HTTP status code: 401, or 503 if the token is not at fault.
func (e *Error) Code() int { return botwire.Code(e.Word) }

// errorFrom returns the parser's error as an Error. A token that is both expired and otherwise wrong is token_invalid.
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
