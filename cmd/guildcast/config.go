package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/architus/guildcast/node"
)

// configCommand is the command that shows and checks what serve would run with.
type configCommand struct {
	Show   configShow   `cmd:"" default:"withargs" help:"Print the options in effect and where each comes from, with secrets masked (the default)."`
	Check  configCheck  `cmd:"" help:"Check the options, and the files that they name, as a node would at its start."`
	Schema configSchema `cmd:"" help:"Print the JSON schema of the configuration file."`
}

// configShow takes the options of serve and prints them.
type configShow struct{ serve }

// Run prints a configuration file with all options that a node with these flags, variables and file would have.
func (c *configShow) Run(_ context.Context, t terminal) error { return printOptions(t.out, t.options) }

// printOptions writes options as a configuration file, with a comment behind each that says where it comes from.
func printOptions(w io.Writer, options []option) error {
	root := &yaml.Node{Kind: yaml.MappingNode}
	group := ""
	for _, o := range options {
		if o.name() == configFlag {
			continue
		}
		key, value := &yaml.Node{}, &yaml.Node{}
		key.SetString(o.name())
		if title := o.group(); title != group {
			group, key.HeadComment = title, title
		}
		if err := value.Encode(o.value()); err != nil {
			return fmt.Errorf("print --%s: %w", o.name(), err)
		}
		value.Style = yaml.FlowStyle // lists in one line
		value.LineComment = o.source
		root.Content = append(root.Content, key, value)
	}
	text, err := yaml.Marshal(root)
	if err != nil {
		return fmt.Errorf("print the options: %w", err)
	}
	_, err = w.Write(text)
	return err
}

// configCheck takes the options of serve and checks them.
type configCheck struct{ serve }

// Run fails with what would keep a node from starting.
func (c *configCheck) Run(_ context.Context, t terminal) error {
	config, err := c.nodeConfig(t)
	if err != nil {
		return err
	}
	if err := node.Check(config); err != nil {
		return usageError{err}
	}
	for _, name := range t.unknown {
		fmt.Fprintf(t.err, "guildcast: environment variable %s is no option and ignored\n", name)
	}
	_, err = fmt.Fprintln(t.out, "ok")
	return err
}

// configSchema prints the schema of the configuration file.
type configSchema struct{}

// Run prints it.
func (configSchema) Run(_ context.Context, t terminal) error {
	text, err := schema()
	if err == nil {
		_, err = t.out.Write(text)
	}
	return err
}

// schema returns the JSON schema of a node's configuration file.
func schema() ([]byte, error) {
	k, err := newParser(&sources{}, io.Discard)
	if err != nil {
		return nil, err
	}
	properties := map[string]any{}
	for _, command := range k.Model.Leaves(false) {
		if command.Name != "serve" {
			continue
		}
		for _, group := range command.AllFlags(false) {
			for _, flag := range group {
				if ends(flag.Name) || flag.Name == configFlag {
					continue
				}
				if properties[flag.Name], err = (option{flag: flag}).schema(); err != nil {
					return nil, err
				}
			}
		}
	}
	text, err := json.MarshalIndent(map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "guildcast serve",
		"description": "Options of a guildcast node: guildcast serve --config FILE.",
		"type":        "object", "additionalProperties": false, "properties": properties,
	}, "", "  ")
	return append(text, '\n'), err
}

// durations matches what time.ParseDuration reads.
const durations = `^[+-]?(0|([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))+$`

// schema returns the schema of the option's values.
func (o option) schema() (map[string]any, error) {
	typ := o.flag.Target.Type()
	s := map[string]any{"type": typeName(typ), "description": o.flag.Help}
	switch {
	case typ == reflect.TypeFor[time.Duration]():
		s["pattern"] = durations
	case s["type"] == "array":
		s["items"] = map[string]any{"type": "string"}
	case typ == reflect.TypeFor[node.CompressionMode]():
		delete(s, "type")
		s["enum"] = []any{node.CompressionOff, node.CompressionMessage, node.CompressionShared, true, false}
	case o.flag.Enum != "":
		s["enum"] = o.flag.EnumSlice()
	}
	if !o.flag.HasDefault {
		return s, nil
	}
	s["default"] = o.flag.Default
	if s["type"] == "integer" || s["type"] == "number" {
		if _, err := strconv.ParseFloat(o.flag.Default, 64); err != nil {
			return nil, fmt.Errorf("default of --%s: %w", o.name(), err)
		}
		s["default"] = json.Number(o.flag.Default)
	}
	return s, nil
}
