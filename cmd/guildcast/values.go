package main

import (
	"fmt"
	"log/slog"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/architus/guildcast/node"
)

// valueMappers read texts, numbers, durations and levels. Their errors say what is wanted in the words of the help, and
// not in those of Go's packages.
func valueMappers() kong.Option {
	return kong.OptionFunc(func(k *kong.Kong) error {
		for _, option := range []kong.Option{
			mapper("a text", func(s string) (string, error) { return s, nil }),
			mapper("a duration such as 250ms, 10s, 15m or 720h", time.ParseDuration),
			mapper("a whole number", strconv.Atoi),
			mapper("a whole number", func(s string) (int64, error) { return strconv.ParseInt(s, 10, 64) }),
			mapper("a number", func(s string) (float64, error) { return strconv.ParseFloat(s, 64) }),
			kong.TypeMapper(reflect.TypeFor[node.CompressionMode](), compressionMapper{}),
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
	return kong.TypeMapper(reflect.TypeFor[T](), typeMapper[T]{wanted: wanted, parse: parse})
}

type typeMapper[T any] struct {
	ownDefault
	wanted string
	parse  func(string) (T, error)
}

// Decode implements kong.Mapper.
func (m typeMapper[T]) Decode(ctx *kong.DecodeContext, target reflect.Value) error {
	var text string
	if err := ctx.Scan.PopValueInto(m.wanted, &text); err != nil {
		return err
	}
	value, err := m.parse(text)
	if err != nil {
		return fmt.Errorf("%q is not %s", text, m.wanted)
	}
	target.Set(reflect.ValueOf(value).Convert(target.Type()))
	return nil
}

// ownDefault is a part of every mapper.
type ownDefault struct{}

// Vars implements kong.VarsContributor. It gives a flag the one default that it refers to: kong goes through all that
// there are for each flag.
func (ownDefault) Vars(flag *kong.Value) kong.Vars {
	name, ok := strings.CutPrefix(flag.Default, "${")
	if !ok {
		return nil
	}
	name = strings.TrimSuffix(name, "}")
	return kong.Vars{name: defaults()[name]}
}

// compressionModes are the values of --compression. It was a switch once, and may still be one.
var compressionModes = map[string]node.CompressionMode{
	"off": node.CompressionOff, "message": node.CompressionMessage, "shared": node.CompressionShared,
	"true": node.CompressionMessage, "yes": node.CompressionMessage, "1": node.CompressionMessage,
	"false": node.CompressionOff, "no": node.CompressionOff, "0": node.CompressionOff,
}

// compressionMapper reads a mode, or a switch, which needs no value.
type compressionMapper struct{ ownDefault }

// Decode implements kong.Mapper.
func (compressionMapper) Decode(ctx *kong.DecodeContext, target reflect.Value) error {
	next := ctx.Scan.Peek()
	text, _ := next.Value.(string)
	mode, known := compressionModes[strings.ToLower(text)]
	switch {
	case known:
		ctx.Scan.Pop()
	case next.Type == kong.FlagValueToken:
		return fmt.Errorf("%q is not one of off, message, shared", text)
	default:
		mode = node.CompressionMessage
	}
	target.Set(reflect.ValueOf(mode))
	return nil
}
