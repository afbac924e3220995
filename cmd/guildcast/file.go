package main

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v4"
)

// settings are what a configuration file sets, by the names of flags. Nil sets nothing.
type settings struct {
	path string
	of   map[string]setting
}

// setting is the value of one option, as its variable would have it.
type setting struct {
	text string
	line int
}

// readSettings reads a configuration file: a YAML mapping from the names of flags to their values. An option without a
// value counts as not set, like an empty variable.
func readSettings(path string) (*settings, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--config: %w", err)
	}
	s := &settings{path: path, of: map[string]setting{}}
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(document.Content) == 0 { // empty, or comments
		return s, nil
	}
	root := document.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, s.wrong(root.Line, "there must be options here, such as `grace: 15s`")
	}
	for pair := range slices.Chunk(root.Content, 2) {
		key, value := pair[0], pair[1]
		name := key.Value
		if before, twice := s.of[name]; twice {
			return nil, s.wrong(key.Line, "%s: it is in line %d already", name, before.line)
		}
		text, err := textOf(value)
		if err != nil {
			return nil, s.wrong(value.Line, "%s: %w", name, err)
		}
		s.of[name] = setting{text, key.Line}
	}
	return s, nil
}

// textOf returns a value as a variable would have it: lists have commas between their items.
func textOf(value *yaml.Node) (string, error) {
	if value.Kind == yaml.AliasNode {
		value = value.Alias
	}
	switch value.Kind {
	case yaml.ScalarNode:
		if value.ShortTag() == "!!null" {
			return "", nil
		}
		return value.Value, nil
	case yaml.SequenceNode:
		var items []string
		for _, item := range value.Content {
			if item.Kind != yaml.ScalarNode {
				return "", errors.New("a list holds something that is not a text")
			}
			items = append(items, strings.ReplaceAll(item.Value, ",", `\,`))
		}
		return strings.Join(items, ","), nil
	}
	return "", errors.New("the value must be a text, a number, a switch or a list; write JSON in quotes")
}

// check returns an error that names the key and the line of an option that flags don't have, or of a wrong value.
func (s *settings) check(flags map[string]*kong.Flag) error {
	for _, name := range s.names() {
		flag, line := flags[name], s.of[name].line
		if flag == nil {
			return s.wrong(line, "there is no option %q", name)
		}
		if err := try(flag, s.of[name].text); err != nil {
			return s.wrong(line, "%s: %w", name, err)
		}
	}
	return nil
}

// names are the options that the file sets, in its order.
func (s *settings) names() []string {
	var names []string
	for name := range s.of {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return s.of[a].line - s.of[b].line })
	return names
}

// try returns why text is no value of a flag.
func try(flag *kong.Flag, text string) error {
	if text == "" {
		return nil
	}
	value := reflect.New(flag.Target.Type()).Elem()
	if err := flag.Parse(kong.Scan().PushTyped(text, kong.FlagValueToken), value); err != nil {
		return errors.Unwrap(err) // without the flag before it
	}
	if flag.Enum != "" && !flag.EnumMap()[text] {
		return fmt.Errorf("%q is not one of %s", text, strings.Join(flag.EnumSlice(), ", "))
	}
	return nil
}

// value returns the text of an option, and false if the file does not set it.
func (s *settings) value(name string) (string, bool) {
	if s == nil || s.of[name].text == "" {
		return "", false
	}
	return s.of[name].text, true
}

// place returns where the file sets an option: file:line.
func (s *settings) place(name string) string { return fmt.Sprintf("%s:%d", s.path, s.of[name].line) }

func (s *settings) wrong(line int, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %w", s.path, line, fmt.Errorf(format, args...))
}
