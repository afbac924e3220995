package permissions

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/architus/guildcast/internal/js"
)

// Revocation revokes tokens. All of its conditions that are set must hold for a token; the zero value matches none.
type Revocation struct {
	Subject      string    // tokens of this user
	TokenID      string    // the token with this jti
	IssuedBefore time.Time // only tokens issued before, and those that don't say when

	// Expires is when every token that this matches has expired by itself, so that it may be forgotten.
	Expires time.Time
}

// ParseRevocation reads {"sub"}, {"jti"} or {"sub", "iat_before"}, and ignores other members. An optional "exp" says
// how long the tokens concerned would have lived. Without it, or if it is past, the revocation expires retention from
// now.
func ParseRevocation(data []byte, now time.Time, retention time.Duration) (Revocation, error) {
	var r Revocation
	err := js.Each(data, func(name string, value json.RawMessage) (err error) {
		switch name {
		case "sub":
			r.Subject, err = parseSubject(value)
		case "jti":
			r.TokenID, err = parseTokenID(value)
		case "iat_before":
			r.IssuedBefore, err = ParseDate(value)
		case "exp":
			r.Expires, err = ParseDate(value)
		}
		return err
	})
	if err == nil && r.Subject == "" && r.TokenID == "" {
		err = errors.New("neither sub nor jti")
	}
	if err != nil {
		return Revocation{}, fmt.Errorf("parse revocation: %w", err)
	}
	if !r.Expires.After(now) {
		r.Expires = time.UnixMilli(now.Add(retention).UnixMilli())
	}
	return r, nil
}

// MarshalJSON returns what ParseRevocation reads, always with "exp".
func (r Revocation) MarshalJSON() ([]byte, error) {
	fields := r.fields()
	fields["exp"] = float64(r.Expires.UnixMilli()) / 1000
	return json.Marshal(fields)
}

// Record returns r without its expiry: the same text for the same tokens.
func (r Revocation) Record() (string, error) {
	data, err := json.Marshal(r.fields())
	return string(data), err
}

func (r Revocation) fields() map[string]any {
	m := map[string]any{}
	if r.Subject != "" {
		m["sub"] = r.Subject
	}
	if r.TokenID != "" {
		m["jti"] = r.TokenID
	}
	if !r.IssuedBefore.IsZero() {
		m["iat_before"] = float64(r.IssuedBefore.UnixMilli()) / 1000
	}
	return m
}

// Matches reports whether r revokes the token of c.
func (r Revocation) Matches(c *Claims) bool {
	if c == nil || r.Subject == "" && r.TokenID == "" {
		return false
	}
	return (r.Subject == "" || r.Subject == c.Subject) &&
		(r.TokenID == "" || r.TokenID == c.TokenID) &&
		(r.IssuedBefore.IsZero() || c.IssuedAt.IsZero() || c.IssuedAt.Before(r.IssuedBefore))
}
