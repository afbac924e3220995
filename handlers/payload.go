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
	// maxSafeInteger is the largest integer that JavaScript, and a JSON decoder that uses float64, certainly reads
	// without loss. 2^53 and 2^53+1 decode to the same value, so both are refused.
	maxSafeInteger = 1<<53 - 1

	// maxIDBytes bounds an _id that is a string.
	maxIDBytes = 256
)

// payload is the decoded first argument of an event. The zero value has no members.
type payload struct {
	form   permissions.Form
	fields map[string]any // numbers are float64 or, in the string form, json.Number
	bare   string         // the payload itself if it is no object, for handlers that take one (a token)
	id     []byte         // the request's _id as JSON; nil if there is none
}

// decodePayload reads the first argument of an event. With bare, a string that holds no JSON object is taken as it is.
// The payload has its form even if there is an error.
func decodePayload(arg any, maxBytes int, bare bool) (payload, *Error) {
	switch v := arg.(type) {
	case map[string]any:
		p := payload{form: permissions.FormObject, fields: v}
		err := p.takeID() // a statement of its own: "return p, p.takeID()" may copy p first
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

// forget drops the members: a request that waits keeps only its form and its _id.
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

// takeID reads the request's _id, which its answers repeat.
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

// has reports whether there is such a member that is not null.
func (p *payload) has(name string) bool { return p.fields[name] != nil }

// text returns a string member, or "" if it is absent or null.
func (p *payload) text(name string) (string, *Error) {
	switch v := p.fields[name].(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	}
	return "", malformed("%s must be a string.", name)
}

// flag returns a boolean member, or false if it is absent or null.
func (p *payload) flag(name string) (bool, *Error) {
	switch v := p.fields[name].(type) {
	case nil:
		return false, nil
	case bool:
		return v, nil
	}
	return false, malformed("%s must be true or false.", name)
}

// snowflake returns an id member as a string of digits, or "" if it is absent or null.
func (p *payload) snowflake(name string) (string, *Error) {
	if !p.has(name) {
		return "", nil
	}
	return snowflake(name, p.fields[name])
}

// integer returns a member that is a whole number from 0 to maxSafeInteger, or otherwise if it is absent or null.
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

// snowflake returns v as an id. It must be a string of 1 to 20 digits, or a number that JavaScript holds exactly.
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

// wholeNumber returns v as an integer. Above 2^53 the result is above 2^53 too, and may be inexact.
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
	case f < 0 || f != math.Trunc(f) && !math.IsInf(f, 0): // JSON has no NaN
		return 0, false
	case f >= 1<<63:
		return math.MaxUint64, true
	}
	return uint64(f), true
}

// validText reports whether s can be passed on to Redis and to clients unchanged.
func validText(s string, maxBytes int) bool { return len(s) <= maxBytes && utf8.ValidString(s) }
