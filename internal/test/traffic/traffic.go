// Package traffic checks what tests see on the wire against the schemas: events in both directions, acknowledgements,
// and messages on Redis.
package traffic

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// Event checks an event that a node has sent. Guild events may have any name: one that is not the protocol's passes.
func Event(name string, args []json.RawMessage) error {
	m, known := protocol().events[name]
	if !known {
		return nil
	}
	if m.fromClient {
		return fmt.Errorf("%s is an event of clients", name)
	}
	most := 1
	if m.position {
		most = 2
	}
	if len(args) == 0 || len(args) > most {
		return fmt.Errorf("%s has %d arguments", name, len(args))
	}
	if len(args) == 2 && string(args[1]) != "null" {
		if err := protocol().validate("entities/position", args[1]); err != nil {
			return fmt.Errorf("%s: position %s: %w", name, args[1], err)
		}
	}
	return m.check(args[0])
}

// Packet checks an event as Socket.IO has it after the type: the JSON array of its name and its arguments.
func Packet(p []byte) error {
	var args []json.RawMessage
	var name string
	if err := json.Unmarshal(p, &args); err != nil || len(args) == 0 || json.Unmarshal(args[0], &name) != nil {
		return fmt.Errorf("no event: %s", p)
	}
	return Event(name, args[1:])
}

// Request checks an event that a client sends. One that is not the protocol's passes: nodes ignore it.
func Request(name string, args []json.RawMessage) error {
	m := protocol().events[name]
	switch {
	case !m.fromClient:
		return nil
	case len(args) == 0:
		return fmt.Errorf("%s has no argument", name)
	}
	return m.check(args[0])
}

// Known reports whether clients of a node may send an event of that name.
func Known(name string) bool { return protocol().events[name].fromClient }

// Exchange checks a request with its acknowledgement. The request may be wrong if the node has refused it, and must be
// wrong if the node says so: the schema and the node agree.
func Exchange(name string, args, answer []json.RawMessage) error {
	m := protocol().events[name]
	if !m.fromClient {
		return protocol().events["error"].checkAny(answer)
	}
	var failures []error
	for _, event := range m.answers {
		err := protocol().events[event].checkAny(answer)
		if err == nil {
			return agree(name, Request(name, args), answer[0])
		}
		failures = append(failures, err)
	}
	return fmt.Errorf("acknowledgement of %s: %w", name, errors.Join(failures...))
}

// agree compares what the schema says of a request with what the node has answered.
func agree(name string, wrong error, answer json.RawMessage) error {
	var a struct {
		Code    int
		Message string
		Error   struct {
			Code    int
			Message string
		}
	}
	if err := json.Unmarshal(inner(answer), &a); err != nil {
		return err
	}
	refused, malformed := a.Code != 0 || a.Error.Code != 0, a.Message == "malformed" || a.Error.Message == "malformed"
	switch {
	case !refused && wrong != nil:
		return fmt.Errorf("the node accepts what the schema refuses: %w", wrong)
	case malformed && wrong == nil:
		return fmt.Errorf("the node refuses a %s that the schema allows: %s", name, answer)
	}
	return nil
}

// Message checks a message on Redis, by its name in the schemas.
func Message(name string, data []byte) error {
	if err := protocol().validate("redis/"+name, data); err != nil {
		return fmt.Errorf("%s %s: %w", name, data, err)
	}
	return nil
}

// Entity checks an entity by its type.
func Entity(kind string, data []byte) error {
	if err := protocol().validate("entities/"+kind, data); err != nil {
		return fmt.Errorf("%s %s: %w", kind, data, err)
	}
	return nil
}

// event is one of the protocol.
type event struct {
	name       string
	fromClient bool
	strings    bool // the payload may be a string of JSON
	bare       bool // or a string that is none
	position   bool // a second argument may follow
	answers    []string
}

func (e event) checkAny(args []json.RawMessage) error {
	if len(args) != 1 {
		return fmt.Errorf("%d arguments in place of a %s", len(args), e.name)
	}
	return e.check(args[0])
}

// check checks a payload in either form.
func (e event) check(payload json.RawMessage) error {
	if e.position {
		return nil // a guild event is passed on as it is
	}
	body := payload
	if e.strings {
		body = inner(payload)
	}
	if e.bare && payload[0] == '"' && !bytes.HasPrefix(body, []byte("{")) {
		return nil // the token itself
	}
	if e.fromClient {
		body = withoutNulls(body)
	}
	if err := protocol().validate("events/"+e.name, body); err != nil {
		return fmt.Errorf("%s %s: %w", e.name, payload, err)
	}
	return nil
}

// inner returns what a payload holds: itself, or the text of a string.
func inner(payload json.RawMessage) json.RawMessage {
	var text string
	if json.Unmarshal(payload, &text) != nil || text == "" {
		return payload
	}
	return bytes.TrimSpace([]byte(text))
}

// withoutNulls returns a request without the members that are null: they count as absent, except for the guild that is
// spectated. What is no object is returned as it is.
func withoutNulls(body json.RawMessage) json.RawMessage {
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil || fields == nil {
		return body
	}
	for name, value := range fields {
		if string(value) == "null" && name != "guild_id" {
			delete(fields, name)
		}
	}
	b, err := json.Marshal(fields)
	if err != nil {
		return body
	}
	return b
}

// definitions are the messages, and their schemas, compiled when they are needed first.
type definitions struct {
	events map[string]event

	mu       sync.Mutex // a schema is compiled once; compiled ones may be used by all
	compiler *jsonschema.Compiler
	schemas  map[string]*jsonschema.Schema
}

var protocol = sync.OnceValue(read)

// validate checks data against a schema. The error says where in data it is wrong.
func (d *definitions) validate(name string, data []byte) error {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("no JSON: %w", err)
	}
	var wrong *jsonschema.ValidationError
	switch err := d.schema(name).Validate(value); {
	case errors.As(err, &wrong):
		return errors.New(strings.Join(places(wrong), "; "))
	default:
		return err
	}
}

func (d *definitions) schema(name string) *jsonschema.Schema {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.schemas[name]
	if s == nil {
		s = d.compiler.MustCompile(urlOf(name))
		d.schemas[name] = s
	}
	return s
}

// places returns what is wrong, each with its place.
func places(e *jsonschema.ValidationError) (list []string) {
	switch e.ErrorKind.(type) {
	case *kind.AnyOf, *kind.OneOf: // the alternative that is nearest is the one that was meant
		for _, c := range e.Causes {
			if p := places(c); list == nil || len(p) < len(list) {
				list = p
			}
		}
	default:
		for _, c := range e.Causes {
			list = append(list, places(c)...)
		}
	}
	if list == nil {
		list = []string{"at " + pointer(e.InstanceLocation) + ": " + e.ErrorKind.LocalizedString(printer)}
	}
	return list
}

func pointer(path []string) string { return "/" + strings.Join(path, "/") }
