package handlers

import (
	"errors"
	"strings"

	"github.com/architus/guildcast/internal/botwire"
	"github.com/architus/guildcast/permissions"
	"github.com/architus/guildcast/token"
)

func errTokenExpired() *Error {
	return newError(token.Expired, "The token has expired.")
}

func errTokenRevoked() *Error {
	return newError(token.Revoked, "The token was revoked.")
}

// verify returns the claims of a token that is valid now. The token may have the "Bearer " of HTTP before it, because
// many clients hold it in that form.
func (s *session) verify(text string) (*permissions.Claims, error) {
	claims, err := s.gateway.verifier.Verify(s.gateway.ctx, withoutScheme(text))
	var refused *token.Error
	switch {
	case err == nil:
		return claims, nil
	case errors.As(err, &refused):
		return nil, &Error{Code: refused.Code(), Word: refused.Word, Human: humanTokenError(refused.Word)}
	}
	return nil, err
}

// withoutScheme returns text without "Bearer ", in any case (RFC 9110, section 11.1), and the spaces after it.
func withoutScheme(text string) string {
	const scheme = "Bearer "
	if len(text) < len(scheme) || !strings.EqualFold(text[:len(scheme)], scheme) {
		return text
	}
	return strings.TrimLeft(text[len(scheme):], " ")
}

func humanTokenError(word string) string {
	switch word {
	case token.Missing:
		return "A token is needed."
	case token.Expired:
		return "The token has expired."
	case token.NotYetValid:
		return "The token is not valid yet."
	case token.Revoked:
		return "The token was revoked."
	case token.KeysUnavailable:
		return "The token can't be verified at the moment. Try again soon."
	}
	return "The token is invalid."
}

// authorize guards every request that needs an elevation. It verifies the request's token, refreshes the socket's
// claims if the token is newer, and returns the claims in force. It drops the request's members, so read the others
// before.
func (s *session) authorize(r *request) (claims *permissions.Claims, err error) {
	token, bad := r.text("token")
	if bad != nil {
		return nil, bad
	}
	r.forget() // the keys that verify the token may take seconds
	if token != "" || s.gateway.config.TokenPerRequest != TokenOptional && !r.compat() {
		if claims, err = s.verify(token); err != nil {
			return nil, err
		}
	}
	s.take()
	defer s.give()
	current := s.claims.Load()
	switch {
	case current == nil:
		return nil, errNotElevated()
	case claims == nil || claims == current:
	case claims.Subject != current.Subject:
		return nil, newError(botwire.WordTokenOfOtherUser,
			"The token is another user's. Request elevation with it first.")
	case newer(claims, current):
		if err := s.elevate(claims, s.form); err != nil {
			return nil, err
		}
	}
	return s.claims.Load(), nil
}

// newer reports whether a was issued after b. If they have no time of issue, or the same, the one that expires later is
// newer.
func newer(a, b *permissions.Claims) bool {
	if !a.IssuedAt.Equal(b.IssuedAt) {
		return a.IssuedAt.After(b.IssuedAt)
	}
	return a.ExpiresAt.After(b.ExpiresAt)
}
