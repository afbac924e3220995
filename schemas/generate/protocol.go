package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// protocol is what the files of schemas/source say.
type protocol struct {
	version  string
	defs     []definition // in the order of the files
	byName   map[string]*yaml.Node
	channels []channel
	entities []pair // types of entities, and the definitions' names
}

// definition is a named schema.
type definition struct {
	name   string
	schema *yaml.Node
}

type channel struct {
	name, address, title, description string

	parameters []pair
	messages   []message
}

type pair struct{ name, value string }

// message is one kind of message of a channel, in one direction.
type message struct {
	name     string
	From     string
	Summary  string
	Payload  string
	Strings  bool
	Bare     bool
	Position bool
	Durable  bool
	Answers  []string
}

// sources are the files with definitions, in the order in which they are written out.
var sources = []string{"types", "entities", "events", "redis"}

func readProtocol(dir string) (*protocol, error) {
	p := &protocol{byName: map[string]*yaml.Node{}}
	for _, name := range sources {
		doc, err := readYAML(filepath.Join(dir, name+".yaml"))
		if err != nil {
			return nil, err
		}
		for name, schema := range members(get(doc, "$defs")) {
			if p.byName[name] != nil {
				return nil, fmt.Errorf("%s is defined twice", name)
			}
			p.byName[name] = schema
			p.defs = append(p.defs, definition{name, schema})
		}
	}
	if err := p.readMessages(filepath.Join(dir, "messages.yaml")); err != nil {
		return nil, err
	}
	for _, d := range p.defs {
		for _, name := range refs(d.schema) {
			if p.byName[name] == nil {
				return nil, fmt.Errorf("%s refers to %s, which is not defined", d.name, name)
			}
		}
	}
	return p, nil
}

func (p *protocol) readMessages(path string) error {
	doc, err := readYAML(path)
	if err != nil {
		return err
	}
	p.version = text(doc, "version")
	for name, body := range members(get(doc, "channels")) {
		c := channel{
			name: name, address: text(body, "address"), title: text(body, "title"),
			description: text(body, "description"), parameters: pairs(get(body, "parameters")),
		}
		for name, body := range members(get(body, "messages")) {
			m := message{name: name}
			if err := body.Decode(&m); err != nil {
				return fmt.Errorf("message %s: %w", name, err)
			}
			if p.byName[m.Payload] == nil {
				return fmt.Errorf("message %s: there is no type %q", name, m.Payload)
			}
			c.messages = append(c.messages, m)
		}
		p.channels = append(p.channels, c)
	}
	p.entities = pairs(get(doc, "entities"))
	return nil
}

// channelOf returns the channel of a message.
func (p *protocol) channelOf(name string) channel {
	i := slices.IndexFunc(p.channels, func(c channel) bool {
		return slices.ContainsFunc(c.messages, func(m message) bool { return m.name == name })
	})
	return p.channels[i]
}

// browserRoots returns the definitions that a browser needs.
func (p *protocol) browserRoots() []string {
	return p.roots(func(c channel) bool { return c.name == "socket" })
}

// allRoots returns the definitions that anybody needs.
func (p *protocol) allRoots() []string {
	return append(p.roots(func(channel) bool { return true }), "FetchArgs", "AllArgs", "SearchArgs", "PoolResult")
}

// roots returns the definitions that the messages of some channels name, with those of the entities.
func (p *protocol) roots(of func(channel) bool) (names []string) {
	for _, c := range p.channels {
		for _, m := range c.messages {
			if of(c) {
				names = append(names, m.Payload)
			}
		}
	}
	for _, e := range p.entities {
		names = append(names, e.value)
	}
	return append(names, "Position", "EntityUpdate", "LogAction", "PermissionName")
}

// reachable returns the definitions that roots need, in the order of the files.
func (p *protocol) reachable(roots []string) (list []definition) {
	needed := map[string]bool{}
	for len(roots) > 0 {
		name := roots[len(roots)-1]
		roots = roots[:len(roots)-1]
		if needed[name] {
			continue
		}
		needed[name] = true
		roots = append(roots, refs(p.byName[name])...)
	}
	for _, d := range p.defs {
		if needed[d.name] {
			list = append(list, d)
		}
	}
	return list
}

// refs returns the names of the definitions that a schema refers to.
func refs(schema *yaml.Node) (names []string) {
	if schema.Kind == yaml.MappingNode {
		if name := refOf(schema); name != "" {
			names = append(names, name)
		}
	}
	for _, n := range schema.Content {
		names = append(names, refs(n)...)
	}
	return names
}

// refOf returns the name of the definition that a schema refers to, or "".
func refOf(schema *yaml.Node) string {
	_, name, _ := strings.Cut(text(schema, "$ref"), "#/$defs/")
	return name
}

func readYAML(path string) (*yaml.Node, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var doc yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(data)).Decode(&doc); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return doc.Content[0], nil
}

// members yields the members of a mapping in their order.
func members(n *yaml.Node) func(yield func(string, *yaml.Node) bool) {
	return func(yield func(string, *yaml.Node) bool) {
		if n == nil || n.Kind != yaml.MappingNode {
			return
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if !yield(n.Content[i].Value, n.Content[i+1]) {
				return
			}
		}
	}
}

// get returns a member of a mapping, or nil.
func get(n *yaml.Node, name string) *yaml.Node {
	for key, value := range members(n) {
		if key == name {
			return value
		}
	}
	return nil
}

// text returns a scalar member of a mapping, or "".
func text(n *yaml.Node, name string) string {
	if v := get(n, name); v != nil {
		return v.Value
	}
	return ""
}

// list returns the scalars of a sequence.
func list(n *yaml.Node) (values []string) {
	if n != nil {
		for _, v := range n.Content {
			values = append(values, v.Value)
		}
	}
	return values
}

func pairs(n *yaml.Node) (list []pair) {
	for name, value := range members(n) {
		list = append(list, pair{name, value.Value})
	}
	return list
}
