package guildcasttest

import (
	"context"
	"encoding/json"

	"github.com/architus/guildcast/internal/botwire"
)

// nothing is a worker that has no entities.
type nothing struct{}

func (nothing) Handle(_ context.Context, method string, args []byte, reply func([]byte, bool) error) error {
	if method == botwire.MethodInterpret {
		return botwire.NewError(botwire.WordNoInterpreter)
	}
	var asked struct{ IDs []string }
	if err := json.Unmarshal(args, &asked); err != nil {
		return botwire.NewError(botwire.WordBadArgs)
	}
	result, err := json.Marshal(map[string]any{"data": []any{}, "nonexistent": append([]string{}, asked.IDs...)})
	if err != nil {
		return err
	}
	return reply(result, false)
}
