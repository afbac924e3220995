package permissions

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/internal/js"
)

// Claims are what a verified token says about its bearer. They are immutable and may be shared. The zero value and nil
// are a member of nothing, and expired.
type Claims struct {
	Subject       string    // the user's id; never empty in parsed claims
	TokenID       string    // jti; empty if the token has none
	IssuedAt      time.Time // iat; zero if the token has none
	ExpiresAt     time.Time // exp; the claims deny from this moment on
	ArchitusAdmin bool      // a member of every guild, with every bit

	guilds map[string]Bits // what the bearer holds in each of its guilds
}

// ParseClaims reads the payload of a token. It verifies nothing: see token.Verifier.
//
// `sub` (or `id`) and `exp` are required, and what identifies the token (`sub`, `id`, `jti`, `iat`, `exp`) must be of
// the right type, since a revocation could not match it otherwise. What grants something and can't be understood grants
// nothing: a guild with an odd value is left out, odd `permissions` count as 0, `architus_admin` is on only when true.
func ParseClaims(payload []byte) (*Claims, error) {
	if !json.Valid(payload) {
		return nil, errors.New("parse claims: not JSON")
	}
	return fieldsOf(payload).parse()
}

// claimFields are the claims that count, as raw JSON; nil if one is absent. They are parts of the payload.
type claimFields struct {
	sub, id, jti, iat, exp             json.RawMessage
	permissions, guilds, architusAdmin json.RawMessage
}

// fieldsOf finds the claims in a payload that is valid JSON. Of those that are there twice the last counts, and names
// count exactly as written.
func fieldsOf(payload []byte) *claimFields {
	f := &claimFields{}
	for name, value := range js.Members(payload) {
		switch name {
		case "sub":
			f.sub = value
		case "id":
			f.id = value
		case "jti":
			f.jti = value
		case "iat":
			f.iat = value
		case "exp":
			f.exp = value
		case "permissions":
			f.permissions = value
		case "guilds":
			f.guilds = value
		case "architus_admin":
			f.architusAdmin = value
		}
	}
	return f
}

func (f *claimFields) parse() (*Claims, error) {
	c := &Claims{ArchitusAdmin: string(f.architusAdmin) == "true"}
	var errs [4]error
	subject := f.sub
	if subject == nil {
		subject = f.id
	}
	c.Subject, errs[0] = parseSubject(subject)
	c.TokenID, errs[1] = parseTokenID(f.jti)
	c.IssuedAt, errs[2] = ParseDate(f.iat)
	c.ExpiresAt, errs[3] = ParseDate(f.exp)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("parse claims: %w", err)
	}
	if c.ExpiresAt.IsZero() {
		return nil, errors.New("parse claims: no exp")
	}
	base := Default
	if f.permissions != nil {
		base, _ = parseBits(f.permissions)
	}
	c.guilds = parseGuilds(f.guilds, base)
	return c, nil
}

// In returns what the bearer holds in a guild, and whether it is a member at all. It does not look at the time.
func (c *Claims) In(guild string) (Bits, bool) {
	if c == nil {
		return 0, false
	}
	if c.ArchitusAdmin {
		return All, true
	}
	bits, member := c.guilds[guild]
	return bits, member
}

// Guilds returns the guilds that the claims name, sorted. For an architus_admin these are not all that it may see.
func (c *Claims) Guilds() []string {
	if c == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(c.guilds))
}

// GuildBits returns the bits that hold in each guild that the claims name, as In returns them. The map is the caller's.
func (c *Claims) GuildBits() map[string]Bits {
	if c == nil {
		return nil
	}
	bits := maps.Clone(c.guilds)
	if c.ArchitusAdmin {
		for guild := range bits {
			bits[guild] = All
		}
	}
	return bits
}

// GuildCount returns the number of guilds that the claims name.
func (c *Claims) GuildCount() int {
	if c == nil {
		return 0
	}
	return len(c.guilds)
}

// Within returns c as far as it concerns some guilds: a member of no others, and no architus_admin.
func (c *Claims) Within(guilds []string) *Claims {
	narrow := *c
	narrow.ArchitusAdmin = false
	narrow.guilds = map[string]Bits{}
	for _, guild := range guilds {
		if bits, member := c.guilds[guild]; member {
			narrow.guilds[guild] = bits
		}
	}
	return &narrow
}

// Expired reports whether the claims deny at this moment.
func (c *Claims) Expired(now time.Time) bool { return c == nil || !now.Before(c.ExpiresAt) }

// parseGuilds reads the map of guild ids to bits and adds what holds in every guild.
func parseGuilds(raw json.RawMessage, base Bits) map[string]Bits {
	guilds := map[string]Bits{}
	for guild, value := range js.Members(raw) {
		if !event.ValidID(guild) {
			continue
		}
		own, ok := parseBits(value)
		if !ok {
			delete(guilds, guild) // of two values the last counts
			continue
		}
		if own |= base; own.Has(Administrator) {
			own = All
		}
		guilds[guild] = own
	}
	return guilds
}

// parseBits reads a whole number, or a string that holds one in decimal or, after 0x, in hexadecimal.
func parseBits(raw json.RawMessage) (Bits, bool) {
	text, base := string(raw), 10
	if s, ok := js.Unquote(raw); ok {
		text = s
		if hex, ok := strings.CutPrefix(strings.ToLower(text), "0x"); ok {
			text, base = hex, 16
		}
	}
	bits, err := strconv.ParseUint(text, base, 64)
	if err != nil {
		return 0, false
	}
	return Bits(bits), true
}

// maxIDBytes bounds a subject and a token's id, which are kept and compared.
const maxIDBytes = 256

// parseSubject reads a user's id: a string, or a whole number taken digit by digit so that it stays exact.
func parseSubject(raw json.RawMessage) (string, error) {
	id, err := parseTokenID(raw)
	if err != nil || id == "" {
		return "", errors.New("sub is not an id")
	}
	return id, nil
}

// parseTokenID reads an optional id.
func parseTokenID(raw json.RawMessage) (string, error) {
	if raw == nil {
		return "", nil
	}
	if event.ValidID(string(raw)) {
		return string(raw), nil
	}
	id, ok := js.Unquote(raw)
	if !ok || id == "" || len(id) > maxIDBytes {
		return "", errors.New("jti is not an id")
	}
	return id, nil
}

// ParseDate reads an optional NumericDate (RFC 7519, section 2), in whole milliseconds; a date after the year 9999 is
// taken for its end. The zero time stands for an absent date.
func ParseDate(raw json.RawMessage) (time.Time, error) {
	if raw == nil {
		return time.Time{}, nil
	}
	seconds, err := strconv.ParseFloat(string(raw), 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) || seconds < 0 || math.IsNaN(seconds) {
		return time.Time{}, errors.New("a date is not a number of seconds")
	}
	const endOf9999 = 253402300799
	// Rounded, since the nearest float64 may be just below: 1.001 s times 1000 is 1000.9999999999999.
	return time.UnixMilli(int64(math.Round(min(seconds, endOf9999) * 1000))), nil
}
