package permissions

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/internal/js"
)

// Rule says what an event of one kind requires of a recipient in the event's guild, beyond membership.
type Rule struct {
	// Public is required if the event is not private, Private if it is; ViewPrivateLogs comes on top of the
	// latter in any case.
	Public, Private Bits

	// ArchitusAdmin keeps the kind to bearers of architus_admin.
	ArchitusAdmin bool
}

// Policy is a table of rules by kind of event. It is immutable. A kind that it does not hold reaches nobody, so the
// zero value and nil deny everything.
type Policy struct {
	rules   map[string]Rule
	changed map[string]bool // kinds that a file has replaced, added or taken away
}

// DefaultPolicy returns the policy that holds unless a file changes it.
func DefaultPolicy() *Policy {
	p := &Policy{rules: map[string]Rule{
		event.KindSetting:       {Public: ViewSettings, Private: ViewSettings},
		event.KindModeration:    {Public: ViewPrivateLogs, Private: ViewPrivateLogs},
		event.KindAdministrator: {Public: Administrator, Private: Administrator},
		event.KindInternal:      {ArchitusAdmin: true},
	}}
	for _, kind := range []string{event.KindGuild, event.KindChannel, event.KindRole, event.KindEmoji, event.KindMember,
		event.KindUser, event.KindAutoResponse} {
		p.rules[kind] = Rule{}
	}
	for _, kind := range []string{event.KindMessage, event.KindReaction, event.KindInvite, event.KindWebhook,
		event.KindIntegration, event.KindInteraction} {
		p.rules[kind] = Rule{Public: ViewPublicLogs, Private: ViewPrivateLogs}
	}
	return p
}

// Rule returns the rule of a kind; without one the kind reaches nobody.
func (p *Policy) Rule(kind string) (Rule, bool) {
	if p == nil {
		return Rule{}, false
	}
	r, ok := p.rules[kind]
	return r, ok
}

// need is what one event requires of a recipient in its guild.
type need struct {
	bits          Bits
	architusAdmin bool
}

// needOf combines the policy with what the event itself requires. The outcome is Routed, or why nobody may see it.
func (p *Policy) needOf(e *event.Event) (need, Outcome) {
	rule, ok := p.Rule(e.Kind)
	if !ok {
		return need{}, UnknownKind
	}
	n := need{bits: rule.Public, architusAdmin: rule.ArchitusAdmin}
	if e.Private {
		n.bits = rule.Private | ViewPrivateLogs
	}
	if e.Requires.Unclear {
		return need{}, UnclearRequires
	}
	n.bits |= Bits(e.Requires.Bits)
	for _, name := range e.Requires.Names {
		bit, ok := BitNamed(name)
		if !ok {
			return need{}, UnclearRequires
		}
		n.bits |= bit
	}
	return n, Routed
}

// With reads a policy file and returns a policy in which its kinds replace, or are added to, those of p:
//
//	{"kinds": {
//	  "ticket":   ["VIEW_SETTINGS"],
//	  "purge":    {"public": "EXEC_PURGE_CMD", "private": ["EXEC_PURGE_CMD", "VIEW_PRIVATE_LOGS"]},
//	  "chatter":  "membership",
//	  "internal": "architus_admin",
//	  "typing":   "nobody"
//	}}
//
// A requirement is a permission's name, a number, or an array of these; private events require what public ones do
// unless told, and always VIEW_PRIVATE_LOGS as well. Anything that is not understood is an error, and no policy.
func (p *Policy) With(file []byte) (*Policy, error) {
	var kinds []member
	err := js.Each(file, func(name string, value json.RawMessage) error {
		if name != "kinds" {
			return fmt.Errorf("unknown field %q", name)
		}
		return js.Each(value, func(kind string, value json.RawMessage) error {
			kinds = append(kinds, member{kind, value})
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	out := &Policy{rules: map[string]Rule{}, changed: map[string]bool{}}
	maps.Copy(out.rules, p.rules)
	maps.Copy(out.changed, p.changed)
	for _, k := range kinds {
		out.changed[k.name] = true
		rule, exists, err := parseRule(k.value)
		switch {
		case k.name == "":
			return nil, errors.New("read policy: a kind has an empty name")
		case err != nil:
			return nil, fmt.Errorf("read policy: kind %q: %w", k.name, err)
		case exists:
			out.rules[k.name] = rule
		default:
			delete(out.rules, k.name)
		}
	}
	return out, nil
}

// parseRule reads the value of a kind. It is false for "nobody".
func parseRule(raw json.RawMessage) (rule Rule, exists bool, err error) {
	switch string(raw) {
	case `"nobody"`:
		return Rule{}, false, nil
	case `"membership"`:
		return Rule{}, true, nil
	case `"architus_admin"`:
		return Rule{ArchitusAdmin: true}, true, nil
	}
	if raw[0] != '{' {
		rule.Public, err = parseRequired(raw)
		rule.Private = rule.Public
		return rule, true, err
	}
	var public, private bool
	err = js.Each(raw, func(name string, value json.RawMessage) (err error) {
		switch name {
		case "public":
			public = true
			rule.Public, err = parseRequired(value)
		case "private":
			private = true
			rule.Private, err = parseRequired(value)
		default:
			err = fmt.Errorf("unknown field %q", name)
		}
		return err
	})
	if err == nil && !public {
		err = errors.New(`no "public"`)
	}
	if !private {
		rule.Private = rule.Public
	}
	return rule, true, err
}

// parseRequired reads a permission's name, a number, or an array of these.
func parseRequired(raw json.RawMessage) (Bits, error) {
	if raw[0] != '[' {
		return parseBit(raw)
	}
	var all Bits
	for item := range js.Elements(raw) {
		bits, err := parseBit(item)
		if err != nil {
			return 0, err
		}
		all |= bits
	}
	return all, nil
}

// parseBit reads a permission's name or a number.
func parseBit(raw json.RawMessage) (Bits, error) {
	if n, err := strconv.ParseUint(string(raw), 10, 64); err == nil {
		return Bits(n), nil
	}
	name, ok := js.Unquote(raw)
	if !ok {
		return 0, fmt.Errorf("%.100s is neither a permission's name nor its number", raw)
	}
	bit, ok := BitNamed(name)
	if !ok {
		return 0, fmt.Errorf("there is no permission %.100q", name)
	}
	return bit, nil
}

type member struct {
	name  string
	value json.RawMessage
}
