package main

import (
	"fmt"
	"regexp"
	"strings"
)

const generatedNotice = "Code generated from schemas/source by `go generate ./schemas`. DO NOT EDIT."

// typeScript returns the types of definitions. With events it adds the maps of events that socket.io-client takes.
func (p *protocol) typeScript(defs []definition, events bool) []byte {
	w := &typeScript{}
	w.line("// %s", generatedNotice)
	for _, d := range defs {
		w.definition(d)
	}
	w.doc("", "Entities by their types.")
	w.line("export interface Entities {")
	for _, e := range p.entities {
		w.line("  %s: %s;", e.name, e.value)
	}
	w.line("}")
	if events {
		p.eventMaps(w)
	}
	return []byte(w.b.String())
}

// typeScript writes TypeScript.
type typeScript struct{ b strings.Builder }

func (w *typeScript) line(format string, args ...any) { fmt.Fprintf(&w.b, format+"\n", args...) }

// doc writes a comment, wrapped at 120 columns.
func (w *typeScript) doc(indent, comment string) {
	if indent == "" {
		w.line("")
	}
	if comment == "" {
		return
	}
	lines := wrap(comment, 112-len(indent))
	if len(lines) == 1 {
		w.line("%s/** %s */", indent, lines[0])
		return
	}
	w.line("%s/**", indent)
	for _, l := range lines {
		w.line("%s * %s", indent, l)
	}
	w.line("%s */", indent)
}

func (w *typeScript) definition(d definition) {
	w.doc("", oneLine(text(d.schema, "description")))
	s := shapeOf(d.schema)
	switch {
	case text(d.schema, "x-entities") == "true":
		// Distributes over T, so that the type of all entities is a union that `type` tells apart.
		w.line("export type %s<T extends EntityType = EntityType> = T extends EntityType", d.name)
		w.line("  ? %s", w.object(s, "    ", func(f field) string {
			switch f.name {
			case "type":
				return "T"
			case "data":
				return "Entities[T][]"
			}
			return ""
		}))
		w.line("  : never;")
	case s.kind == kindObject:
		w.line("export interface %s %s", d.name, w.object(s, "", nil))
	case s.kind == kindLiteral:
		w.alternatives(d.name, strings.Split(w.typeOf(s, ""), " | "))
	case s.kind == kindUnion:
		w.alternatives(d.name, w.alternativesOf(s, "    "))
	default:
		w.line("export type %s = %s;", d.name, w.typeOf(s, ""))
	}
}

// alternatives writes a union, in lines of its own if it is long.
func (w *typeScript) alternatives(name string, types []string) {
	line := fmt.Sprintf("export type %s = %s;", name, strings.Join(types, " | "))
	if len(line) <= 100 && !strings.Contains(line, "\n") {
		w.line("%s", line)
		return
	}
	w.line("export type %s =\n  | %s;", name, strings.Join(types, "\n  | "))
}

// object returns the body of an object type. Of may name the types of some fields.
func (w *typeScript) object(s shape, indent string, of func(field) string) string {
	inner := &typeScript{}
	for _, f := range s.fields {
		inner.doc(indent+"  ", f.description)
		t := ""
		if of != nil {
			t = of(f)
		}
		if t == "" {
			t = w.typeOf(f.shape, indent+"  ")
		}
		mark := "?"
		if f.required {
			mark = ""
		}
		inner.line("%s  %s%s: %s;", indent, f.name, mark, t)
	}
	if s.open {
		inner.line("%s  [member: string]: unknown;", indent)
	}
	return "{\n" + inner.b.String() + indent + "}"
}

func (w *typeScript) typeOf(s shape, indent string) string {
	switch s.kind {
	case kindNever:
		return "never"
	case kindRef:
		return s.name
	case kindLiteral:
		return joined(s.literals, tsLiteral, " | ")
	case kindString:
		return "string"
	case kindNumber, kindInteger:
		return "number"
	case kindBoolean:
		return "boolean"
	case kindNull:
		return "null"
	case kindArray:
		item := w.typeOf(s.parts[0], indent)
		if s.count > 0 {
			return "[" + strings.Repeat(", "+item, s.count)[2:] + "]"
		}
		if strings.ContainsAny(item, "|&") {
			item = "(" + item + ")"
		}
		return item + "[]"
	case kindMap:
		return "Record<string, " + w.typeOf(s.parts[0], indent) + ">"
	case kindObject:
		return w.object(s, indent, nil)
	case kindUnion:
		return strings.Join(w.alternativesOf(s, indent), " | ")
	}
	return "unknown"
}

// alternativesOf returns the types of a union. A string beside literals would swallow them, and editors could not offer
// them.
func (w *typeScript) alternativesOf(s shape, indent string) (types []string) {
	literals := false
	for _, part := range s.parts {
		literals = literals || part.kind == kindRef && openEnums[part.name] || part.kind == kindLiteral
	}
	for _, part := range s.parts {
		t := w.typeOf(part, indent)
		if t == "string" && literals {
			t = "(string & {})"
		}
		types = append(types, t)
	}
	return types
}

// openEnums are enums beside which a union has any string.
var openEnums = map[string]bool{"ErrorWord": true, "EventKind": true, "ResyncReason": true}

func tsLiteral(l literal) string {
	if l.isString {
		return quoted(l.text)
	}
	return l.text
}

func joined[T any](list []T, text func(T) string, separator string) string {
	parts := make([]string, len(list))
	for i, v := range list {
		parts[i] = text(v)
	}
	return strings.Join(parts, separator)
}

// eventMaps writes the maps of events that Socket<ServerToClientEvents, ClientToServerEvents> takes.
func (p *protocol) eventMaps(w *typeScript) {
	var sent, heard []message
	for _, m := range p.channels[0].messages {
		if m.From == "client" {
			sent = append(sent, m)
		} else {
			heard = append(heard, m)
		}
	}
	w.doc("", "A listener for a guild event. The position comes if it was asked for; it is null for an event that is not durable.")
	w.line("export type GuildEventListener = (payload: GuildEventPayload, position?: Position | null) => void;")
	w.doc("", "What a node sends, as socket.io-client types it. Guild events may have further names. "+
		"Payloads are objects, unless the client sends strings.")
	w.line("export interface ServerToClientEvents {")
	for _, m := range heard {
		w.doc("  ", m.Summary)
		if m.Position {
			w.line("  %s: GuildEventListener;", m.name)
		} else {
			w.line("  %s: (payload: %s) => void;", m.name, m.Payload)
		}
	}
	w.line("}")
	w.doc("", "What a client sends, as socket.io-client types it. The acknowledgement gets the last answer, even an error.")
	w.line("export interface ClientToServerEvents {")
	for _, m := range sent {
		w.doc("  ", m.Summary)
		payload := m.Payload
		if m.Bare {
			payload += " | string"
		}
		w.line("  %s: (payload: %s, acknowledge?: (answer: %s) => void) => void;", m.name, payload, p.answerOf(m))
	}
	w.line("}")
}

// answerOf returns the union of the payloads that answer a message.
func (p *protocol) answerOf(m message) string {
	return joined(m.Answers, func(name string) string {
		for _, a := range p.channels[0].messages {
			if a.name == name {
				return a.Payload
			}
		}
		return "unknown"
	}, " | ")
}

var space = regexp.MustCompile(`\s+`)

// wrap breaks a text into lines of at most width bytes.
func wrap(s string, width int) (lines []string) {
	line := ""
	for _, word := range space.Split(strings.TrimSpace(s), -1) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	return append(lines, line)
}
