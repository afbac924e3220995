package event

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/architus/guildcast/internal/js"
)

// Reason is why a message was dropped. Reasons are few and stable: they label a counter.
type Reason string

// Reasons of a ParseError.
const (
	TooLarge   Reason = "too_large"   // over MaxBytes
	NotJSON    Reason = "not_json"    // not one JSON object in valid UTF-8
	BadField   Reason = "bad_field"   // a steering field is missing, of the wrong type, doubled or misspelt
	BadName    Reason = "bad_name"    // AllowedName refuses the event's name
	WrongGuild Reason = "wrong_guild" // a log action is of another guild than the topic
)

// ParseError is the error of Parse.
type ParseError struct {
	Reason Reason
	Detail string // for a log line; names fields, never their values
}

func (e *ParseError) Error() string {
	return fmt.Sprintf("event message is malformed: %s: %s", e.Reason, e.Detail)
}

// MaxBytes bounds a message. Parse refuses a larger one.
const MaxBytes = 4 << 20

// fields are the steering members of a message: those that decide what the event is and who may see it. Values are raw
// JSON, nil if absent.
type fields struct {
	event, kind, private, requires, payload, actionNumber, guildID []byte

	published, traceparent []byte // steer nothing
}

// slot returns the field for a steering member, or nil for any other member.
func (f *fields) slot(name string) *[]byte {
	switch name {
	case "event":
		return &f.event
	case "kind":
		return &f.kind
	case "private":
		return &f.private
	case "requires":
		return &f.requires
	case "payload":
		return &f.payload
	case "action_number":
		return &f.actionNumber
	case "guild_id":
		return &f.guildID
	}
	return nil
}

// Parse parses a message of topic: an envelope with `payload`, or an Architus log action with `action_number`, which is
// its own payload. The event's Payload aliases data. Any error is a *ParseError.
//
// A mistake in a message must not widen who sees it. So Parse matches steering members exactly, and refuses a message
// if one of them is doubled, differs in case only, or has the wrong type (null is one). The exception is `requires`: if
// it can't be understood, it becomes a Requirement that nobody meets, so that the event counts as filtered and not as
// malformed.
func Parse(topic Topic, data []byte) (Event, error) {
	if len(data) > MaxBytes {
		return Event{}, &ParseError{TooLarge, strconv.Itoa(len(data)) + " bytes"}
	}
	f, err := collect(data)
	if err != nil {
		return Event{}, err
	}
	e := Event{Topic: topic, Name: LogPool, Requires: parseRequires(f.requires)}
	if f.published != nil {
		e.Published = parsePublished(f.published)
	}
	if n := len(f.traceparent); n > 2 && f.traceparent[0] == '"' {
		e.Traceparent = f.traceparent[1 : n-1] // what has an escape is no traceparent
	}
	if topic.Logs {
		e.Name = LogOther
	}
	if f.event != nil {
		name, ok := js.Unquote(f.event)
		if !ok || !AllowedName(name) {
			return Event{}, &ParseError{BadName, "event"}
		}
		e.Name = name
	}
	switch string(f.private) {
	case "true":
		e.Private = true
	case "false", "":
	default:
		return Event{}, &ParseError{BadField, "private is not a boolean"}
	}
	if f.actionNumber != nil {
		return logAction(e, f, data)
	}
	return envelope(e, f)
}

// collect returns the steering members of a message.
func collect(data []byte) (f fields, err error) {
	if !utf8.Valid(data) || !json.Valid(data) || !js.IsObject(data) {
		return f, &ParseError{NotJSON, "not one JSON object in UTF-8"}
	}
	for name, value := range js.Members(data) {
		slot := f.slot(name)
		switch {
		case slot == nil && foldsToField(name):
			return f, &ParseError{BadField, "a field differs from a known one in case only"}
		case slot == nil && name == "ts":
			f.published = value
		case slot == nil && name == "traceparent":
			f.traceparent = value
		case slot == nil:
		case *slot != nil:
			return f, &ParseError{BadField, name + " is there twice"}
		default:
			*slot = value
		}
	}
	return f, nil
}

// foldsToField reports whether a decoder that ignores case, as encoding/json does, would take name for a steering
// member.
func foldsToField(name string) bool {
	for _, field := range [...]string{"event", "kind", "private", "requires", "payload", "action_number", "guild_id"} {
		if strings.EqualFold(name, field) {
			return true
		}
	}
	return false
}

// envelope completes e from the explicit form.
func envelope(e Event, f fields) (Event, error) {
	if f.payload == nil {
		return Event{}, &ParseError{BadField, "neither payload nor action_number"}
	}
	if f.kind != nil {
		kind, ok := js.Unquote(f.kind)
		if !ok {
			return Event{}, &ParseError{BadField, "kind is not a string"}
		}
		e.Kind = kind
	}
	e.Payload = f.payload
	return e, nil
}

// logAction completes e from an Architus log action.
func logAction(e Event, f fields, data []byte) (Event, error) {
	if f.kind != nil || f.payload != nil {
		return Event{}, &ParseError{BadField, "both an envelope and a log action"}
	}
	number, err := strconv.ParseUint(string(f.actionNumber), 10, 64)
	if err != nil {
		return Event{}, &ParseError{BadField, "action_number is not a whole number"}
	}
	// An action without a guild has null. Any other guild than the topic's is a publisher's mistake that would show one
	// guild's log to another.
	if g := string(f.guildID); g != "" && g != "null" && strings.Trim(g, `"`) != e.Topic.Guild {
		return Event{}, &ParseError{WrongGuild, "guild_id is not the topic's"}
	}
	e.Kind = KindOfAction(number)
	e.Payload = data
	return e, nil
}

// parsePublished parses a time in Unix milliseconds. Anything else is 0: only a metric depends on it.
func parsePublished(raw []byte) int64 {
	ms, err := strconv.ParseUint(string(raw), 10, 63)
	if err != nil {
		return 0
	}
	return int64(ms)
}

// parseRequires parses a permission's name, a number, or an array of names and numbers. If it is absent, nothing is
// required.
func parseRequires(raw []byte) (r Requirement) {
	if raw == nil {
		return r
	}
	if raw[0] != '[' {
		r.add(raw)
		return r
	}
	for item := range js.Elements(raw) {
		r.add(item)
	}
	return r
}

// add adds one name or number. Anything else makes the requirement unclear.
func (r *Requirement) add(raw []byte) {
	if name, ok := js.Unquote(raw); ok {
		r.Names = append(r.Names, name)
		return
	}
	bits, err := strconv.ParseUint(string(raw), 10, 64)
	if err != nil {
		r.Unclear = true
	}
	r.Bits |= bits
}
