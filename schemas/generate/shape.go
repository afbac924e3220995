package main

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// shape is what a type system can say of a schema.
type shape struct {
	kind     kind
	name     string     // of the definition, for a reference
	literals []literal  // of a kindLiteral
	parts    []shape    // of a union; the one of an array; the values of a map
	fields   []field    // of an object
	open     bool       // an object may have further members, which somebody may want to read
	count    int        // an array has exactly so many elements, if it is not 0
	schema   *yaml.Node // where it comes from
}

type kind int

const (
	kindAny kind = iota
	kindNever
	kindRef
	kindLiteral
	kindString
	kindNumber
	kindInteger
	kindBoolean
	kindNull
	kindArray
	kindMap
	kindObject
	kindUnion
)

// literal is a constant.
type literal struct {
	text     string
	isString bool
}

type field struct {
	name, description string
	shape             shape
	required          bool
}

// shapeOf returns the shape of a schema. What it does not know (patterns, bounds) narrows no type.
func shapeOf(schema *yaml.Node) shape {
	s := shape{schema: schema}
	switch {
	case schema.Tag == "!!bool" && schema.Value == "false":
		s.kind = kindNever
	case schema.Kind != yaml.MappingNode:
	case refOf(schema) != "":
		s.kind, s.name = kindRef, refOf(schema)
	case get(schema, "const") != nil:
		s.kind, s.literals = kindLiteral, []literal{literalOf(get(schema, "const"))}
	case get(schema, "enum") != nil:
		return shapeOfEnum(schema)
	case get(schema, "properties") != nil || get(schema, "additionalProperties") != nil:
		return shapeOfObject(schema)
	case get(schema, "oneOf") != nil:
		return shapeOfUnion(schema, get(schema, "oneOf").Content)
	case get(schema, "anyOf") != nil:
		return shapeOfUnion(schema, get(schema, "anyOf").Content)
	default:
		return shapeOfType(schema)
	}
	return s
}

func shapeOfEnum(schema *yaml.Node) shape {
	s := shape{kind: kindLiteral, schema: schema}
	for _, v := range get(schema, "enum").Content {
		s.literals = append(s.literals, literalOf(v))
	}
	return s
}

func literalOf(n *yaml.Node) literal { return literal{n.Value, n.Tag == "!!str"} }

func shapeOfUnion(schema *yaml.Node, alternatives []*yaml.Node) shape {
	s := shape{kind: kindUnion, schema: schema}
	for _, a := range alternatives {
		s.parts = append(s.parts, shapeOf(a))
	}
	return s
}

func shapeOfObject(schema *yaml.Node) shape {
	s := shape{kind: kindObject, schema: schema}
	rest := get(schema, "additionalProperties")
	if get(schema, "properties") == nil {
		s.kind, s.parts = kindMap, []shape{shapeOf(rest)}
		return s
	}
	s.open = rest != nil && rest.Value == "true"
	required := list(get(schema, "required"))
	for name, body := range members(get(schema, "properties")) {
		f := field{name: name, description: oneLine(text(body, "description")), shape: shapeOf(body)}
		for _, r := range required {
			f.required = f.required || r == name
		}
		s.fields = append(s.fields, f)
	}
	return s
}

func shapeOfType(schema *yaml.Node) shape {
	t := get(schema, "type")
	switch {
	case t == nil:
		return shape{schema: schema}
	case t.Kind == yaml.SequenceNode:
		s := shape{kind: kindUnion, schema: schema}
		for _, name := range list(t) {
			s.parts = append(s.parts, shapeNamed(name, schema))
		}
		return s
	}
	return shapeNamed(t.Value, schema)
}

func shapeNamed(name string, schema *yaml.Node) shape {
	s := shape{schema: schema}
	switch name {
	case "string":
		s.kind = kindString
	case "number":
		s.kind = kindNumber
	case "integer":
		s.kind = kindInteger
	case "boolean":
		s.kind = kindBoolean
	case "null":
		s.kind = kindNull
	case "array":
		s.kind, s.parts = kindArray, []shape{{}}
		if items := get(schema, "items"); items != nil {
			s.parts[0] = shapeOf(items)
		}
		if most := text(schema, "maxItems"); most == text(schema, "minItems") {
			s.count, _ = strconv.Atoi(most) // "" is 0
		}
	}
	return s
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
