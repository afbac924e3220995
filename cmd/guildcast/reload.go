package main

import (
	"context"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strings"

	"golang.org/x/term"

	"github.com/architus/guildcast/node"
)

// reloadable are the options that a reload puts into effect, beside the limits.
var reloadable = []string{
	"jwt-secret", "jwt-secret-file", "jwt-jwks", "jwt-jwks-refresh", "jwt-issuer", "jwt-audience", "jwt-leeway",
	"cluster-secret", "cluster-secret-file", "policy", "tls-cert", "tls-key", "origins", "log-level",
}

// reloads reports whether a reload puts the option into effect.
func (o option) reloads() bool {
	if slices.Contains(reloadable, o.name()) {
		return true
	}
	for field := range reflect.TypeFor[node.Config]().FieldByIndex(limitsField).Type.Fields() {
		if o.name() == "limit-"+strings.ReplaceAll(snakeCase(field.Name), "_", "-") {
			return true
		}
	}
	return false
}

// limitsField is the index of node.Config.Limits.
var limitsField = func() []int {
	field, _ := reflect.TypeFor[node.Config]().FieldByName("Limits")
	return field.Index
}()

// shownOption is an option as GET /config of the admin listener answers it.
type shownOption struct {
	Name   string `json:"name"`
	Value  any    `json:"value"`
	Source string `json:"source"`
}

func shown(options []option) []shownOption {
	var list []shownOption
	for _, o := range options {
		if o.name() != configFlag {
			list = append(list, shownOption{o.name(), o.value(), o.source})
		}
	}
	return list
}

// files returns the files that the options come from, and which the node does not read itself.
func (i invocation) files() (files []string) {
	for _, o := range i.options {
		name, ok := o.flag.Target.Interface().(string)
		if ok && name != "" && slices.Contains([]string{configFlag, "jwt-secret-file", "cluster-secret-file"},
			o.name()) {
			files = append(files, name)
		}
	}
	return files
}

// loader returns a function that reads the configuration of a node again: the same flags and variables over the file as
// it is now. running is what the node was started with.
func (s *serve) loader(t terminal, running *node.Config) func() (node.Config, []string, error) {
	started := map[string]option{}
	for _, o := range t.options {
		started[o.name()] = o
	}
	return func() (c node.Config, restart []string, err error) {
		parsed, err := t.again()
		if err != nil {
			return c, nil, err
		}
		again, ok := parsed.command.(*serve)
		if !ok { // the same flags as before
			return c, nil, usagef("%T is no longer the command", parsed.command)
		}
		if c, err = again.config(); err != nil {
			return c, nil, parsed.locate(err)
		}
		var effective []option
		for _, o := range parsed.options {
			before := started[o.name()]
			if !o.reloads() && !reflect.DeepEqual(o.flag.Target.Interface(), before.flag.Target.Interface()) {
				restart = append(restart, o.name())
				o = before
			}
			effective = append(effective, o)
		}
		c.Logger, c.LogLevel = running.Logger, new(slog.LevelVar)
		c.LogLevel.Set(again.LogLevel)
		c.Shown, c.Files = shown(effective), parsed.files()
		c.Locate = func(err error) error { return parsed.locate(usageError{err}) }
		warnOfWeak(&c)
		if running.Demo != nil {
			c.JWTSecrets = append(c.JWTSecrets, running.JWTSecrets[len(running.JWTSecrets)-1]) // the demo's own
		}
		return c, restart, nil
	}
}

// follow reloads n at each SIGHUP until ctx ends. If the process had a terminal and has lost it, the node has lost
// whoever started it there, and ends.
func (t terminal) follow(ctx context.Context, end func(), n *node.Node, had bool) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.hangups:
		}
		if had && !t.onTerminal() {
			end()
			return
		}
		_, _ = n.Reload(ctx) // logs how it went
	}
}

// onTerminal reports whether the process reads from a terminal, or writes to one.
func (t terminal) onTerminal() bool {
	for _, stream := range []any{t.in, t.out, t.err} {
		if file, ok := stream.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
			return true
		}
	}
	return false
}
