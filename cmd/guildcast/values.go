package main

import (
	"fmt"
	"log/slog"
	"reflect"
	"strconv"
	"time"

	"github.com/alecthomas/kong"
)

// valueMappers read numbers, durations and levels. Their errors say what is wanted in the words of the help, and not in
// those of Go's packages.
func valueMappers() kong.Option {
	return kong.OptionFunc(func(k *kong.Kong) error {
		for _, option := range []kong.Option{
			mapper("a duration such as 250ms, 10s, 15m or 720h", time.ParseDuration),
			mapper("a whole number", strconv.Atoi),
			mapper("a whole number", func(s string) (int64, error) { return strconv.ParseInt(s, 10, 64) }),
			mapper("a number", func(s string) (float64, error) { return strconv.ParseFloat(s, 64) }),
			mapper("a level: debug, info, warn or error", func(s string) (l slog.Level, err error) {
				return l, l.UnmarshalText([]byte(s))
			}),
		} {
			if err := option.Apply(k); err != nil {
				return err
			}
		}
		return nil
	})
}

// mapper has the values of flags of type T read by parse.
func mapper[T any](wanted string, parse func(string) (T, error)) kong.Option {
	return kong.TypeMapper(reflect.TypeFor[T](),
		kong.MapperFunc(func(ctx *kong.DecodeContext, target reflect.Value) error {
			var text string
			if err := ctx.Scan.PopValueInto(wanted, &text); err != nil {
				return err
			}
			value, err := parse(text)
			if err != nil {
				return fmt.Errorf("%q is not %s", text, wanted)
			}
			target.Set(reflect.ValueOf(value))
			return nil
		}))
}
