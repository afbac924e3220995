package handlers

import (
	"encoding/json"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/internal/js"
	"github.com/architus/guildcast/permissions"
)

const (
	// maxSafeInteger is the largest number of which JavaScript, and a JSON decoder that uses float64, can tell that
	// nothing was lost: 2^53 and 2^53+1 decode to the same value, so that both are refused.
	maxSafeInteger = 1<<53 - 1

	// maxIDBytes bounds a request's _id where it is a string.
	maxIDBytes = 256
)

// payload is the decoded first argument of an event. The zero value has no members.
type payload struct {
	form   permissions.Form
	fields map[string]any // as encoding/json decodes; numbers are float64, or json.Number where the client sent a string
	bare   string         // the text of a payload that is not an object, where the event takes one (a token)
	id     []byte         // the request's _id as JSON; nil where there is none
}

// decodePayload reads the first argument of an event. With bare, a string that holds no JSON object is taken as it is.
// The form is known even where there is an error.
func decodePayload(arg any, maxBytes int, bare bool) (payload, *Error) {
	switch v := arg.(type) {
	case map[string]any:
		p := payload{form: permissions.FormObject, fields: v}
		err := p.takeID() // a statement of its own: "return p, p.takeID()" may copy p before
		return p, err
	case string:
		p := payload{form: permissions.FormString}
		if !within(len(v), maxBytes) {
			return p, errPayload(maxBytes)
		}
		err := p.parse(v, bare)
		return p, err
	case nil:
		return payload{}, nil
	}
	return payload{}, malformed("The payload must be an object, or a string of JSON.")
}

// forget drops the members that were read: a request that waits keeps its form and its _id only.
func (p *payload) forget() { p.fields, p.bare = nil, "" }

func errPayload(maxBytes int) *Error {
	return tooLarge("The payload is longer than %d bytes.", maxBytes)
}

// parse reads the string form.
func (p *payload) parse(text string, bare bool) *Error {
	trimmed := strings.TrimSpace(text)
	if bare && !strings.HasPrefix(trimmed, "{") {
		// JSON.stringify(token) puts quotes around it.
		if strings.HasPrefix(trimmed, `"`) && json.Unmarshal([]byte(trimmed), &p.bare) == nil {
			return nil
		}
		p.bare = trimmed
		return nil
	}
	d := json.NewDecoder(strings.NewReader(trimmed))
	d.UseNumber() // float64 would lose the digits of an id before it could be refused
	if err := d.Decode(&p.fields); err != nil {
		return malformed("The payload is not a JSON object.")
	}
	if _, err := d.Token(); err != io.EOF {
		return malformed("There is something after the payload's JSON object.")
	}
	return p.takeID()
}

// takeID keeps the request's _id for the answers.
func (p *payload) takeID() *Error {
	switch v := p.fields["_id"].(type) {
	case nil:
	case string:
		if len(v) > maxIDBytes {
			return malformed("_id is longer than %d bytes.", maxIDBytes)
		}
		p.id = js.Quote(v)
	case json.Number:
		if len(v) > maxIDBytes {
			return malformed("_id is longer than %d bytes.", maxIDBytes)
		}
		p.id = []byte(v)
	case float64:
		p.id, _ = json.Marshal(v)
	default:
		return malformed("_id must be a number or a string.")
	}
	return nil
}

// has tells whether the member is there and not null.
func (p *payload) has(name string) bool { return p.fields[name] != nil }

// text is a string member; "" where it is absent or null.
func (p *payload) text(name string) (string, *Error) {
	switch v := p.fields[name].(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	}
	return "", malformed("%s must be a string.", name)
}

// flag is a boolean member; false where it is absent or null.
func (p *payload) flag(name string) (bool, *Error) {
	switch v := p.fields[name].(type) {
	case nil:
		return false, nil
	case bool:
		return v, nil
	}
	return false, malformed("%s must be true or false.", name)
}

// snowflake is an id member as a string of digits; "" where it is absent or null.
func (p *payload) snowflake(name string) (string, *Error) {
	if !p.has(name) {
		return "", nil
	}
	return snowflake(name, p.fields[name])
}

// integer is a whole, safe number that isn't negative; absent and null give otherwise.
func (p *payload) integer(name string, otherwise int64) (int64, *Error) {
	if !p.has(name) {
		return otherwise, nil
	}
	switch p.fields[name].(type) {
	case float64, json.Number:
		n, ok := wholeNumber(p.fields[name])
		if ok && n <= maxSafeInteger {
			return int64(n), nil
		}
	}
	return 0, malformed("%s must be a whole number from 0 to 2^53-1.", name)
}

// snowflake makes an id of v: a string of 1 to 20 digits, or a number that JavaScript holds exactly.
func snowflake(name string, v any) (string, *Error) {
	switch v := v.(type) {
	case string:
		if event.ValidID(v) {
			return v, nil
		}
		return "", malformed("%s must be 1 to 20 digits.", name)
	case float64, json.Number:
		n, ok := wholeNumber(v)
		if !ok {
			return "", malformed("%s must be a whole number, or better a string of digits.", name)
		}
		if n > maxSafeInteger {
			return "", malformed("%s is a number of 2^53 or more, which JavaScript rounds: send it as a string.", name)
		}
		return strconv.FormatUint(n, 10), nil
	}
	return "", malformed("%s must be a string of 1 to 20 digits.", name)
}

// wholeNumber is v as an integer; values beyond 2^53 come out as such, without being exact.
func wholeNumber(v any) (uint64, bool) {
	f, isFloat := v.(float64)
	if n, ok := v.(json.Number); ok {
		if u, err := strconv.ParseUint(n.String(), 10, 64); err == nil {
			return u, true
		}
		var err error
		if f, err = n.Float64(); err != nil && !math.IsInf(f, 0) {
			return 0, false
		}
	} else if !isFloat {
		return 0, false
	}
	switch {
	case f < 0 || f != math.Trunc(f) && !math.IsInf(f, 0): // NaN can't come out of JSON
		return 0, false
	case f >= 1<<63:
		return math.MaxUint64, true
	}
	return uint64(f), true
}

// validText tells whether s can be passed on to Redis and to other clients as it is.
func validText(s string, maxBytes int) bool { return len(s) <= maxBytes && utf8.ValidString(s) }
