package main

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"unicode"

	"github.com/alecthomas/kong"

	"github.com/architus/guildcast/node"
)

// defaults are the defaults of the options of serve, as variables for the tags of its flags: those of node.Config by
// the names of its fields, such as ping_interval, and those of its Limits with limit_ before them.
var defaults = sync.OnceValue(func() kong.Vars {
	vars := kong.Vars{}
	var add func(prefix string, v reflect.Value)
	add = func(prefix string, v reflect.Value) {
		for field, value := range v.Fields() {
			name := prefix + snakeCase(field.Name)
			switch value.Kind() {
			case reflect.String, reflect.Int, reflect.Int64, reflect.Float64:
				vars[name] = fmt.Sprint(value.Interface())
			case reflect.Struct:
				add("limit_", value)
			}
		}
	}
	add("", reflect.ValueOf(node.DefaultConfig()))
	return vars
})

// initialisms are the words in the names of fields that are written in capitals.
var initialisms = strings.NewReplacer("JWTJWKS", "JwtJwks", "TLS", "Tls", "JWT", "Jwt", "EIO", "Eio", "JSON", "Json",
	"IDs", "Ids", "AdminUI", "AdminUi")

// snakeCase writes the name of a field in small letters, with underscores between its words.
func snakeCase(field string) string {
	var b strings.Builder
	for i, r := range initialisms.Replace(field) {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
