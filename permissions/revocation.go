package permissions

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/architus/guildcast/internal/js"
)

// Revocation takes back tokens. All of its conditions that are set must hold for a token; the zero value matches none.
type Revocation struct {
	Subject      string    // tokens of this user
	TokenID      string    // the token with this jti
	IssuedBefore time.Time // only tokens issued before, and those that don't say when

	// Expires is when every token that this matches has expired by itself, so that it may be forgotten.
	Expires time.Time
}

// ParseRevocation reads {"sub"}, {"jti"} or {"sub", "iat_before"}. An optional "exp" says how long the tokens concerned
// would have lived; without it, retention from now does.
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
		default:
			err = fmt.Errorf("unknown field %q", name)
		}
		return err
	})
	if err == nil && r.Subject == "" && r.TokenID == "" {
		err = errors.New("neither sub nor jti")
	}
	if err != nil {
		return Revocation{}, fmt.Errorf("parse revocation: %w", err)
	}
	if r.Expires.IsZero() {
		r.Expires = now.Add(retention)
	}
	return r, nil
}

// MarshalJSON gives what ParseRevocation reads, always with "exp".
func (r Revocation) MarshalJSON() ([]byte, error) {
	m := map[string]any{"exp": float64(r.Expires.UnixMilli()) / 1000}
	if r.Subject != "" {
		m["sub"] = r.Subject
	}
	if r.TokenID != "" {
		m["jti"] = r.TokenID
	}
	if !r.IssuedBefore.IsZero() {
		m["iat_before"] = float64(r.IssuedBefore.UnixMilli()) / 1000
	}
	return json.Marshal(m)
}

// Matches tells whether r takes back the token of c.
func (r Revocation) Matches(c *Claims) bool {
	if c == nil || r.Subject == "" && r.TokenID == "" {
		return false
	}
	return (r.Subject == "" || r.Subject == c.Subject) &&
		(r.TokenID == "" || r.TokenID == c.TokenID) &&
		(r.IssuedBefore.IsZero() || c.IssuedAt.IsZero() || c.IssuedAt.Before(r.IssuedBefore))
}

// Revocations remembers revocations until they expire. The zero value holds none and is ready to use. All methods may
// be called concurrently.
type Revocations struct {
	// Max bounds the revocations held; 0 means 100,000. Where one more comes, the one that would be forgotten first is
	// forgotten now.
	Max int

	mu        sync.RWMutex
	bySubject map[string][]Revocation // guarded by mu; those that name no token
	byToken   map[string][]Revocation // guarded by mu
	len       int                     // guarded by mu
}

// Add remembers r. Of two that match the same tokens the later expiry counts.
func (s *Revocations) Add(r Revocation, now time.Time) {
	if !now.Before(r.Expires) || r.Subject == "" && r.TokenID == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bySubject == nil {
		s.bySubject, s.byToken = map[string][]Revocation{}, map[string][]Revocation{}
	}
	index, key := s.index(r)
	for i, old := range index[key] {
		if old.Subject == r.Subject && old.IssuedBefore.Equal(r.IssuedBefore) {
			if r.Expires.After(old.Expires) {
				index[key][i].Expires = r.Expires
			}
			return
		}
	}
	limit := s.Max
	if limit <= 0 {
		limit = 100_000
	}
	if s.len >= limit {
		s.makeRoom(now)
	}
	index[key] = append(index[key], r)
	s.len++
}

// Revoked tells whether the token of c was taken back.
func (s *Revocations) Revoked(c *Claims, now time.Time) bool {
	if s == nil {
		return false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return anyMatches(s.bySubject[c.Subject], c, now) || c.TokenID != "" && anyMatches(s.byToken[c.TokenID], c, now)
}

// Len is the number of revocations held, expired ones included.
func (s *Revocations) Len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.len
}

func anyMatches(list []Revocation, c *Claims, now time.Time) bool {
	for _, r := range list {
		if now.Before(r.Expires) && r.Matches(c) {
			return true
		}
	}
	return false
}

func (s *Revocations) index(r Revocation) (map[string][]Revocation, string) {
	if r.TokenID != "" {
		return s.byToken, r.TokenID
	}
	return s.bySubject, r.Subject
}

// makeRoom forgets what has expired, or else what would expire first. s.mu is held.
func (s *Revocations) makeRoom(now time.Time) {
	var first Revocation
	for _, index := range [...]map[string][]Revocation{s.bySubject, s.byToken} {
		for _, list := range index {
			for _, r := range list {
				if first.Expires.IsZero() || r.Expires.Before(first.Expires) {
					first = r
				}
			}
		}
	}
	until := now
	if first.Expires.After(now) {
		until = first.Expires
	}
	for _, index := range [...]map[string][]Revocation{s.bySubject, s.byToken} {
		for key, list := range index {
			kept := list[:0]
			for _, r := range list {
				if r.Expires.After(until) {
					kept = append(kept, r)
				}
			}
			s.len -= len(list) - len(kept)
			if len(kept) == 0 {
				delete(index, key)
				continue
			}
			index[key] = kept
		}
	}
}
