package main

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/architus/guildcast/node"
)

// option is one option of a command, as it is in effect.
type option struct {
	flag   *kong.Flag
	source string // --flag, $VARIABLE, file:line, or default
}

// fromDefault is the source of an option that nobody has set.
const fromDefault = "default"

// optionsOf returns the options of the command that was selected, in the order of the help.
func optionsOf(ctx *kong.Context, from *sources) []option {
	given := map[*kong.Flag]bool{}
	for _, p := range ctx.Path {
		if p.Flag != nil && !p.Resolved {
			given[p.Flag] = true
		}
	}
	var options []option
	for _, group := range ctx.Selected().AllFlags(false) {
		for _, flag := range group {
			if ends(flag.Name) {
				continue
			}
			o := option{flag, fromDefault}
			if _, source, ok := from.find(flag.Name); given[flag] {
				o.source = "--" + flag.Name
			} else if ok {
				o.source = source
			}
			options = append(options, o)
		}
	}
	return options
}

func (o option) name() string { return o.flag.Name }

// group returns the title under which the help lists the option, or "".
func (o option) group() string {
	if o.flag.Group == nil {
		return ""
	}
	return strings.TrimSuffix(o.flag.Group.Title, ":")
}

// inFile reports whether the option comes from the configuration file.
func (o option) inFile() bool {
	return o.source != fromDefault && !strings.HasPrefix(o.source, "$") && !strings.HasPrefix(o.source, "--")
}

// value returns what is in effect, as it may stand in a configuration file: a string, a number, a bool or a list of
// strings. Secrets and the passwords in URLs are masked.
func (o option) value() any {
	switch v := o.flag.Target.Interface().(type) {
	case time.Duration:
		return shortDuration(v)
	case slog.Level:
		return strings.ToLower(v.String())
	case []string:
		masked := make([]string, len(v))
		for i, item := range v {
			masked[i] = maskURL(item)
		}
		return masked
	case string:
		if v != "" && secret(o.flag.Name) {
			return mask
		}
		return maskURL(v)
	}
	return o.flag.Target.Interface()
}

// mask stands in place of a secret.
const mask = "********"

// secret reports whether the value of an option is one, which its name says.
func secret(name string) bool {
	return !strings.HasSuffix(name, "-file") && (strings.Contains(name, "secret") || strings.Contains(name, "password"))
}

// The passwords of a URL: one before the last @, since an @ may stand in a password that should be encoded, and those
// of its query.
var (
	userPassword  = regexp.MustCompile(`(://[^:@/]*:).*@`)
	queryPassword = regexp.MustCompile(`([?&][a-z_]*password=)[^&#]*`)
)

// maskURL masks the passwords of a URL, and leaves what is none.
func maskURL(text string) string {
	return queryPassword.ReplaceAllString(userPassword.ReplaceAllString(text, "${1}"+mask+"@"), "${1}"+mask)
}

// shortDuration writes 2m instead of 2m0s.
func shortDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// locate adds to a mistake in an option where the configuration file sets it, if it does.
func (i invocation) locate(err error) error {
	if _, ok := errors.AsType[usageError](err); !ok {
		return err
	}
	name := ""
	text := err.Error()
	if wrong, ok := errors.AsType[*node.OptionError](err); ok {
		name = wrong.Option
	} else if m := flagInError.FindStringSubmatch(text); m != nil {
		name, text = m[1], text[len(m[0]):]
	}
	for _, o := range i.options {
		if o.name() == name && o.inFile() {
			return usagef("%s: %s: %s", o.source, name, text)
		}
	}
	return err
}

// flagInError matches the flag at the beginning of a mistake.
var flagInError = regexp.MustCompile(`^--([a-z0-9-]+):? `)

// typeName returns the type of a flag's values in the words of JSON Schema.
func typeName(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Duration](), t == reflect.TypeFor[slog.Level](), t.Kind() == reflect.String:
		return "string"
	case t.Kind() == reflect.Bool:
		return "boolean"
	case t.Kind() == reflect.Slice:
		return "array"
	case t.Kind() == reflect.Float64:
		return "number"
	case t.Kind() == reflect.Int, t.Kind() == reflect.Int64:
		return "integer"
	}
	panic(fmt.Sprintf("options have no type %s", t))
}
