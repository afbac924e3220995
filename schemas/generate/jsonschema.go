package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"
)

const dialect = "https://json-schema.org/draft/2020-12/schema"

// jsonSchemas adds a file for each message and each type of entity, which needs no other file.
func (p *protocol) jsonSchemas(files map[string][]byte) error {
	for _, c := range p.channels {
		folder := "redis"
		if c.name == "socket" {
			folder = "events"
		}
		for _, m := range c.messages {
			if err := p.jsonSchema(files, folder, m.name, m.Payload); err != nil {
				return err
			}
		}
	}
	for _, e := range p.entities {
		if err := p.jsonSchema(files, "entities", e.name, e.value); err != nil {
			return err
		}
	}
	for name, def := range map[string]string{
		"position": "Position", "entity_update": "EntityUpdate", "log_action": "LogAction",
	} {
		if err := p.jsonSchema(files, "entities", name, def); err != nil {
			return err
		}
	}
	for name, def := range map[string]string{
		"fetch_args": "FetchArgs", "all_args": "AllArgs", "search_args": "SearchArgs", "pool_result": "PoolResult",
	} {
		if err := p.jsonSchema(files, "redis", name, def); err != nil {
			return err
		}
	}
	return nil
}

// jsonSchema adds the schema of one definition as <folder>/<name>.json.
func (p *protocol) jsonSchema(files map[string][]byte, folder, name, def string) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"$schema":%q,"$id":"urn:guildcast:%s:%s","title":%q,"$ref":"#/$defs/%s","$defs":{`,
		dialect, folder, name, name, def)
	for i, d := range p.reachable([]string{def}) {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%q:", d.name)
		if err := appendJSON(&b, d.schema); err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
	}
	b.WriteString("}}")
	var out bytes.Buffer
	if err := json.Indent(&out, b.Bytes(), "", "  "); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	out.WriteByte('\n')
	files["schemas/json/"+folder+"/"+name+".json"] = out.Bytes()
	return nil
}

// appendJSON writes YAML as JSON, with its members in order. References lose their file. It leaves out what is ours
// alone (x-).
func appendJSON(b *bytes.Buffer, n *yaml.Node) error {
	switch n.Kind {
	case yaml.MappingNode:
		b.WriteByte('{')
		first := true
		for name, value := range members(n) {
			if strings.HasPrefix(name, "x-") {
				continue
			}
			if !first {
				b.WriteByte(',')
			}
			first = false
			fmt.Fprintf(b, "%s:", quoted(name))
			if ref := refOf(n); name == "$ref" {
				b.WriteString(quoted("#/$defs/" + ref))
			} else if err := appendJSON(b, value); err != nil {
				return err
			}
		}
		b.WriteByte('}')
	case yaml.SequenceNode:
		b.WriteByte('[')
		for i, value := range n.Content {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := appendJSON(b, value); err != nil {
				return err
			}
		}
		b.WriteByte(']')
	case yaml.ScalarNode:
		if n.Tag == "!!str" {
			b.WriteString(quoted(n.Value))
		} else {
			b.WriteString(n.Value)
		}
	default:
		return fmt.Errorf("line %d: no value", n.Line)
	}
	return nil
}

// quoted returns a JSON string that leaves <, > and & as they are.
func quoted(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string can be encoded
	return strings.TrimSpace(b.String())
}
