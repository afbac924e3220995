package main

import (
	"fmt"
	"strconv"
	"strings"
)

// python returns the types of definitions as TypedDicts and aliases, for Python 3.9 and later without dependencies.
func (p *protocol) python(defs []definition) []byte {
	w := &python{}
	w.line(`"""Types of what guildcast's nodes, clients and workers say to each other.`)
	w.line("")
	w.line("%s", generatedNotice)
	w.line(`"""`)
	w.line("")
	w.line("from __future__ import annotations")
	w.line("")
	w.line("from typing import Any, Dict, List, Literal, Mapping, Tuple, TypedDict, Union")
	var aliases []definition
	for _, d := range defs {
		if s := shapeOf(d.schema); s.kind == kindObject && !s.open {
			w.class(d.name, oneLine(text(d.schema, "description")), s)
		} else {
			aliases = append(aliases, d)
		}
	}
	// Their right sides are evaluated, so each comes after those that it names.
	for done := map[string]bool{}; len(aliases) > 0; {
		var later []definition
		for _, d := range aliases {
			if w.waits(d, aliases, done) {
				later = append(later, d)
				continue
			}
			done[d.name] = true
			w.alias(d)
		}
		aliases = later
	}
	w.line("")
	w.line("__all__ = [")
	for _, d := range defs {
		w.line("    %q,", d.name)
	}
	w.line("]")
	return []byte(w.b.String())
}

// python writes Python.
type python struct {
	b      strings.Builder
	nested strings.Builder // classes of nested objects, which stand before the class that is being written
}

func (w *python) line(format string, args ...any) { fmt.Fprintf(&w.b, format+"\n", args...) }

// waits reports whether an alias names another one that is not written yet.
func (w *python) waits(d definition, aliases []definition, done map[string]bool) bool {
	for _, name := range refs(d.schema) {
		for _, a := range aliases {
			if a.name == name && name != d.name && !done[name] {
				return true
			}
		}
	}
	return false
}

// class writes a TypedDict. The members that must be there stand in a base class, because typing has NotRequired from
// Python 3.11 on only.
func (w *python) class(name, description string, s shape) {
	var required, optional []field
	for _, f := range s.fields {
		switch {
		case f.shape.kind == kindNever:
		case f.required:
			required = append(required, f)
		default:
			optional = append(optional, f)
		}
	}
	body := &python{}
	switch {
	case len(optional) == 0:
		body.head(name+"(TypedDict)", description)
		body.fields(name, required)
	case len(required) == 0:
		body.head(name+"(TypedDict, total=False)", description)
		body.fields(name, optional)
	default:
		body.head("_"+name+"(TypedDict)", "")
		body.fields(name, required)
		body.head(name+"(_"+name+", total=False)", description)
		body.fields(name, optional)
	}
	w.b.WriteString(body.nested.String())
	w.b.WriteString(body.b.String())
}

func (w *python) head(class, description string) {
	w.line("\n\nclass %s:", class)
	if description == "" {
		return
	}
	if lines := wrap(description, 80); len(lines) == 1 {
		w.line(`    """%s"""`, lines[0])
	} else {
		w.line(`    """%s`, lines[0])
		for _, l := range lines[1:] {
			w.line("    %s", l)
		}
		w.line(`    """`)
	}
	w.line("")
}

func (w *python) fields(class string, fields []field) {
	for _, f := range fields {
		if f.description != "" {
			for _, l := range wrap(f.description, 80) {
				w.line("    # %s", l)
			}
		}
		w.line("    %s: %s", f.name, w.typeOf(f.shape, class+title(f.name)))
	}
}

func (w *python) alias(d definition) {
	w.line("")
	if description := oneLine(text(d.schema, "description")); description != "" {
		for _, l := range wrap(description, 84) {
			w.line("# %s", l)
		}
	}
	s := shapeOf(d.schema)
	body := &python{}
	right := body.typeOf(s, d.name)
	w.b.WriteString(body.nested.String())
	if line := d.name + " = " + right; len(line) <= 88 {
		w.line("%s", line)
		return
	}
	open := strings.IndexByte(right, '[')
	w.line("%s = %s[", d.name, right[:open])
	for _, part := range splitTop(right[open+1 : len(right)-1]) {
		w.line("    %s,", part)
	}
	w.line("]")
}

// splitTop splits at the commas that stand in no brackets and no quotes.
func splitTop(s string) (parts []string) {
	depth, begin, quotes := 0, 0, false
	for i, c := range s {
		switch {
		case c == '"':
			quotes = !quotes
		case quotes:
		case c == '[':
			depth++
		case c == ']':
			depth--
		case c == ',' && depth == 0:
			parts = append(parts, strings.TrimSpace(s[begin:i]))
			begin = i + 1
		}
	}
	return append(parts, strings.TrimSpace(s[begin:]))
}

// typeOf returns the type of a shape. Name is for the class of an object that has none.
func (w *python) typeOf(s shape, name string) string {
	switch s.kind {
	case kindRef:
		return s.name
	case kindLiteral:
		return pyLiteral(s.literals)
	case kindString:
		return "str"
	case kindNumber:
		return "float"
	case kindInteger:
		return "int"
	case kindBoolean:
		return "bool"
	case kindNull:
		return "None"
	case kindArray:
		item := w.typeOf(s.parts[0], name)
		if s.count > 0 {
			return "Tuple[" + strings.Repeat(", "+item, s.count)[2:] + "]"
		}
		return "List[" + item + "]"
	case kindMap:
		return "Dict[str, " + w.typeOf(s.parts[0], name) + "]"
	case kindObject:
		if s.open {
			return "Mapping[str, object]"
		}
		inner := &python{}
		inner.class(name, oneLine(text(s.schema, "description")), s)
		w.nested.WriteString(inner.b.String())
		return name
	case kindUnion:
		var types []string
		for i, part := range s.parts {
			types = append(types, w.typeOf(part, name+strconv.Itoa(i+1)))
		}
		return "Union[" + strings.Join(types, ", ") + "]"
	}
	return "Any"
}

// pyLiteral returns a Literal. PEP 586 has no numbers with a fraction, and the protocol neither.
func pyLiteral(literals []literal) string {
	return "Literal[" + joined(literals, func(l literal) string {
		switch {
		case l.isString:
			return quoted(l.text)
		case l.text == "null":
			return "None"
		case l.text == "true":
			return "True"
		case l.text == "false":
			return "False"
		}
		return l.text
	}, ", ") + "]"
}

// title returns a member's name as a part of a class's name.
func title(name string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(name, "_") {
		if part != "" {
			b.WriteString(strings.ToUpper(part[:1]) + part[1:])
		}
	}
	return b.String()
}
