package main

import (
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/architus/guildcast/node"
)

// TestFlagsAndFieldsHaveOneName compares the flags of serve with the fields of node.Config.
func TestFlagsAndFieldsHaveOneName(t *testing.T) {
	// What a flag is in node.Config, if it is not a field of its own name.
	elsewhere := map[string]string{
		"jwt-secret": "JWTSecrets", "jwt-secret-file": "JWTSecrets",
		"demo": "Demo", "demo-members": "Demo", "demo-interval": "Demo",
		"log": "Logger", "memory-share": "", "cluster-secret-file": "ClusterSecret", "help": "", "config": "",
		"admin-ui": "AdminUI", "admin-ui-user": "AdminUI", "admin-ui-password": "AdminUI",
		"admin-ui-password-file": "AdminUI", "admin-ui-write": "AdminUI", "admin-ui-mode": "AdminUI",
	}
	unused := map[string]bool{}
	for name := range fieldNames(reflect.TypeFor[node.Config](), "") {
		unused[name] = true
	}
	for _, name := range []string{
		"version", "revision", "listening", "logger", "jwt-secrets", "load", "locate", "files", "shown",
	} {
		delete(unused, name) // set by cmd, or under the names above
	}
	fields := fieldNames(reflect.TypeFor[node.Config](), "")
	k, err := newParser(&sources{}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range k.Model.Leaves(false) {
		if command.Name != "serve" {
			continue
		}
		for _, group := range command.AllFlags(false) {
			for _, flag := range group {
				delete(unused, flag.Name)
				if _, ok := elsewhere[flag.Name]; !ok && !fields[flag.Name] && !ends(flag.Name) {
					t.Errorf("--%s is no field of node.Config", flag.Name)
				}
			}
		}
	}
	for name := range unused {
		t.Errorf("node.Config has a field for --%s, which does not exist", name)
	}
}

// fieldNames are the names that the flags of a struct's fields have.
func fieldNames(typ reflect.Type, prefix string) map[string]bool {
	names := map[string]bool{}
	for field := range typ.Fields() {
		if field.Type.Kind() == reflect.Struct {
			for name := range fieldNames(field.Type, "limit-") {
				names[name] = true
			}
			continue
		}
		names[prefix+strings.ReplaceAll(snakeCase(field.Name), "_", "-")] = true
	}
	return names
}

// TestEveryFieldReachesTheNode sets each flag of serve to what is not its default, and finds it in node.Config.
func TestEveryFieldReachesTheNode(t *testing.T) {
	args := []string{"serve", "--jwt-secret", strings.Repeat("s", 32)}
	k, err := newParser(&sources{}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	set := map[string]bool{"help": true, "config": true, "version": true, "jwt-secret": true, "jwt-secret-file": true,
		"cluster-secret-file": true, "admin-ui-password-file": true}
	for _, command := range k.Model.Leaves(false) {
		for _, group := range command.AllFlags(false) {
			for _, flag := range group {
				if command.Name != "serve" || set[flag.Name] || strings.HasPrefix(flag.Name, "demo") ||
					strings.HasPrefix(flag.Name, "log") {
					continue
				}
				value := "7"
				switch {
				case flag.IsBool():
					value = "true"
				case flag.Name == "compression":
					value = "shared"
				case flag.Enum != "":
					value = flag.Enum[strings.LastIndex(flag.Enum, ",")+1:]
				case flag.Target.Type() == reflect.TypeFor[[]string]():
					value = "10.7.7.7"
				case strings.HasSuffix(flag.Name, "-leeway"):
					value = "1s"
				case strings.HasSuffix(flag.Name, "-share"):
					value = "0.7"
				case strings.Contains(flag.Target.Type().String(), "Duration"):
					value = "7s"
				}
				args = append(args, "--"+flag.Name+"="+value)
			}
		}
	}
	parsed, err := parse(args, nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	config, err := parsed.command.(*serve).config()
	if err != nil {
		t.Fatal(err)
	}
	differs(t, "", reflect.ValueOf(config), reflect.ValueOf(node.DefaultConfig()))
}

// differs reports the fields of two structs that are equal.
func differs(t *testing.T, prefix string, a, b reflect.Value) {
	t.Helper()
	for field, value := range a.Fields() {
		switch other := b.FieldByIndex(field.Index); {
		case field.Name == "Logger" || field.Name == "Version" || field.Name == "Revision" ||
			field.Name == "Listening" || field.Name == "Demo" || field.Name == "Load" || field.Name == "Locate" ||
			field.Name == "Files" || field.Name == "Shown" || field.Name == "LogLevel":
		case value.Kind() == reflect.Struct:
			differs(t, field.Name+".", value, other)
		case reflect.DeepEqual(value.Interface(), other.Interface()):
			t.Errorf("%s%s is the default still", prefix, field.Name)
		}
	}
}
