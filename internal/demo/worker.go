package demo

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/architus/guildcast/internal/botwire"
)

// maxPart is the most entities that one part of an answer holds.
const maxPart = 1000

// Interpreter answers the `interpret` method; args and result are the payloads of the events interpret and
// interpret_response.
type Interpreter interface {
	InterpretJSON(ctx context.Context, args []byte) ([]byte, error)
}

// Worker is the demo guilds' backend: it answers what a bot's worker would be asked through a request stream. All
// methods may be called concurrently.
type Worker struct {
	world *World
	bot   Interpreter
}

// NewWorker returns a Worker that answers from w, and `interpret` from bot. If bot is nil, it refuses `interpret`.
func NewWorker(w *World, bot Interpreter) *Worker { return &Worker{world: w, bot: bot} }

// poolArgs are the args of fetch, all and search.
type poolArgs struct {
	Type    string   `json:"type"`
	GuildID string   `json:"guild_id"`
	IDs     []string `json:"ids"`
	Query   string   `json:"query"`
	Limit   int      `json:"limit"`
}

// poolResult is one part of their results.
type poolResult struct {
	Data        []json.RawMessage `json:"data"`
	Nonexistent []string          `json:"nonexistent"`
}

// Handle answers one request. It calls reply once for each part, in order, and more is true for all but the last. An
// error with the methods Code and Word is meant for the client that asked.
//
//	fetch      {"type", "guild_id", "ids"}             -> {"data", "nonexistent"}
//	all        {"type", "guild_id"}                    -> {"data", "nonexistent": []}, in parts
//	search     {"type", "guild_id", "query", "limit"}  -> {"data", "nonexistent": []}, best first
//	interpret  payload of the event interpret          -> payload of interpret_response
//
// guild_id is empty or absent for the types that belong to no guild.
func (w *Worker) Handle(ctx context.Context, method string, args []byte,
	reply func(result []byte, more bool) error) error {
	if method == botwire.MethodInterpret {
		return w.interpret(ctx, args, reply)
	}
	var a poolArgs
	if err := json.Unmarshal(args, &a); err != nil {
		return botwire.NewError(botwire.WordBadArgs)
	}
	if !botwire.ValidType(a.Type) {
		return botwire.NewError(botwire.WordUnknownType)
	}
	guild := a.GuildID
	if a.Type == TypeUser || a.Type == TypeGuild {
		guild = ""
	}
	switch method {
	case botwire.MethodFetch:
		return w.fetch(guild, a, reply)
	case botwire.MethodAll:
		data, err := w.world.All(guild, a.Type)
		if err != nil {
			return err
		}
		return parts(ctx, data, reply)
	case botwire.MethodSearch:
		data, err := w.world.Search(guild, a.Type, a.Query, a.Limit)
		if err != nil {
			return err
		}
		return send(data, nil, false, reply)
	}
	return botwire.NewError(botwire.WordUnknownMethod)
}

func (w *Worker) interpret(ctx context.Context, args []byte, reply func([]byte, bool) error) error {
	if w.bot == nil {
		return botwire.NewError(botwire.WordNoInterpreter)
	}
	result, err := w.bot.InterpretJSON(ctx, args)
	if err != nil {
		return err
	}
	return reply(result, false)
}

func (w *Worker) fetch(guild string, a poolArgs, reply func([]byte, bool) error) error {
	data, nonexistent, err := w.world.Fetch(guild, a.Type, a.IDs)
	if err != nil {
		return err
	}
	return send(data, nonexistent, false, reply)
}

// parts sends data in parts of at most maxPart, and one empty part for none.
func parts(ctx context.Context, data []json.RawMessage, reply func([]byte, bool) error) error {
	for part := range slices.Chunk(data, maxPart) {
		if err := ctx.Err(); err != nil {
			return err
		}
		data = data[len(part):]
		if err := send(part, nil, len(data) > 0, reply); err != nil || len(data) == 0 {
			return err
		}
	}
	return send(nil, nil, false, reply)
}

func send(data []json.RawMessage, nonexistent []string, more bool, reply func([]byte, bool) error) error {
	if data == nil {
		data = []json.RawMessage{}
	}
	if nonexistent == nil {
		nonexistent = []string{}
	}
	b, err := json.Marshal(poolResult{data, nonexistent})
	if err != nil {
		return err
	}
	return reply(b, more)
}
