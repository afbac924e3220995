package handlers

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/architus/guildcast/event"
)

// compatField is a member of an entity as the first dashboard decodes it. If one that it requires does not fit, the
// dashboard drops the entity.
type compatField struct {
	name     string
	fits     func(any) bool
	optional bool // may be null or absent
}

// compatFields are the members by the types of entities. Others may be there as well.
var compatFields = map[string][]compatField{
	typeUser: {
		{"id", isCompatID, false}, {"username", isText, false}, {"discriminator", isText, false},
		{"avatar", isText, true}, {"bot", isFlag, true}, {"system", isFlag, true}, {"mfa_enabled", isFlag, true},
		{"locale", isText, true}, {"verified", isFlag, true}, {"email", isText, true}, {"flags", isNumber, true},
		{"premium_type", isOneOf("1", "2"), true},
	},
	typeGuild: {
		{"id", isCompatID, false}, {"name", isText, false}, {"architus_admin", isFlag, false},
		{"owner", isFlag, false}, {"permissions", isNumber, false}, {"features", isListOf(isText), false},
		{"has_architus", isFlag, false}, {"icon", isText, true}, {"splash", isText, true},
		{"region", isListOf(isText), true}, {"afk_timeout", isNumber, true}, {"max_members", isNumber, true},
		{"banner", isText, true}, {"description", isText, true}, {"mfa_level", isOneOf("0", "1"), true},
		{"premium_tier", isOneOf("0", "1", "2", "3"), true}, {"premium_subscription_count", isNumber, true},
		{"preferred_locale", isText, true}, {"member_count", isNumber, true},
	},
	typeMember: {
		{"id", isCompatID, false}, {"name", isText, false}, {"discriminator", isText, false},
		{"joined_at", isTime, false}, {"avatar", isText, true}, {"color", isText, true}, {"nick", isText, true},
		{"roles", isListOf(isCompatID), false},
	},
	typeChannel: {{"id", isCompatID, false}, {"name", isText, false}},
	typeCustomEmoji: {
		{"id", isCompatID, false}, {"name", isText, false}, {"discordId", isCompatID, true},
		{"authorId", isCompatID, false}, {"url", isText, false}, {"numUses", isNumber, false},
		{"priority", isNumber, false},
	},
	typeAutoResponse: {
		{"id", isCompatID, false}, {"trigger", isText, false}, {"response", isText, false},
		{"authorId", isCompatID, true}, {"guildId", isCompatID, false}, {"triggerRegex", isText, false},
		{"triggerPunctuation", isListOf(isText), false}, {"responseTokens", isListOf(isPairOfTexts), false},
		{"count", isNumber, false}, {"mode", isMode, false},
	},
}

// compatEntity returns an entity as the first dashboard decodes it: members that it need not have and can't decode are
// null. It returns false if one that it must have is wrong.
func compatEntity(kind string, body []byte) ([]byte, bool) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber() // for the digits of what is copied
	var members map[string]any
	if d.Decode(&members) != nil {
		return nil, false
	}
	changed := false
	for _, f := range compatFields[kind] {
		v := members[f.name]
		switch {
		case v == nil && f.optional, v != nil && f.fits(v):
		case f.optional:
			members[f.name], changed = nil, true
		default:
			return nil, false
		}
	}
	if changed {
		body = encode(members)
	}
	return body, true
}

func isText(v any) bool {
	_, ok := v.(string)
	return ok
}

func isFlag(v any) bool {
	_, ok := v.(bool)
	return ok
}

func isNumber(v any) bool {
	_, ok := v.(json.Number)
	return ok
}

func isCompatID(v any) bool {
	s, ok := v.(string)
	return ok && compatID(s)
}

// isTime reports whether v is a date that JavaScript reads: ISO 8601.
func isTime(v any) bool {
	s, _ := v.(string)
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02"} {
		if _, err := time.Parse(layout, s); err == nil {
			return true
		}
	}
	return false
}

func isMode(v any) bool { return v == "punctuated" || v == "naive" || v == "regex" }

func isPairOfTexts(v any) bool {
	pair, _ := v.([]any)
	return len(pair) == 2 && isText(pair[0]) && isText(pair[1])
}

func isListOf(fits func(any) bool) func(any) bool {
	return func(v any) bool {
		list, ok := v.([]any)
		for _, item := range list {
			ok = ok && fits(item)
		}
		return ok
	}
}

// isOneOf returns whether a value is one of these numbers.
func isOneOf(numbers ...json.Number) func(any) bool {
	return func(v any) bool {
		for _, n := range numbers {
			if v == n {
				return true
			}
		}
		return false
	}
}

// complainOfEntity logs that an entity did not reach the first dashboard.
func (g *Gateway) complainOfEntity(q poolQuery, id string) {
	if g.complaints.Allow(complaint{event.Topic{Guild: q.guild}, unfitEntity}) {
		g.log.Warn("entity is not as the first dashboard decodes it", "guild_id", q.guild, "kind", q.kind,
			"entity_id", shown(id))
	}
}
