package handlers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/internal/botwire"
)

// pools is the cache of entities: redis.Entities. Guild is "" for pools that belong to no guild.
type pools interface {
	// Get returns the values of ids, in their order: a JSON object each, or nil if it is not cached.
	Get(ctx context.Context, guild, kind string, ids []string) (values [][]byte, err error)

	// All calls yield with all portions of a pool, until it returns an error.
	All(ctx context.Context, guild, kind string, yield func(ids []string, values [][]byte) error) error

	// Scan returns a portion of a pool and the cursor of the next portion. The first has the cursor 0, and after the
	// last next is 0. An entity may come twice if the pool changes meanwhile.
	Scan(ctx context.Context, guild, kind string, cursor uint64) (ids []string, values [][]byte, next uint64, err error)

	// Online returns a portion of the ids of the members that are online, in no order. Cursors are as Scan's.
	Online(ctx context.Context, guild string, cursor uint64) (ids []string, next uint64, err error)
}

// backend is the bot's workers: redis.Requests.
type backend interface {
	// Do calls a method of the workers of a guild, or of any worker if guild is "". It calls part with each part of the
	// reply, in order, and returns after the last, at ctx's deadline, or if part returns an error. An error that is a
	// codedError is the worker's own.
	Do(ctx context.Context, guild, method string, args []byte, part func(result []byte) error) error
}

// interpreter is the embedded mock bot, which answers `interpret`. It refuses a request with a codedError.
type interpreter interface {
	InterpretJSON(ctx context.Context, payload []byte) ([]byte, error)
}

// codedError is an error that is meant for the client.
type codedError interface {
	error
	Code() int    // as in HTTP
	Word() string // stable, for programs
}

// ask calls a pool method of the backend.
func (g *Gateway) ask(ctx context.Context, method string, args poolArgs, part func(poolResult) error) error {
	err := g.backend.Do(ctx, args.GuildID, method, encode(args), func(result []byte) error {
		var r poolResult
		if err := json.Unmarshal(result, &r); err != nil {
			return errUnreadable().because(fmt.Errorf("decode result of %s: %w", method, err))
		}
		return part(r)
	})
	return backendError(err)
}

// backendError returns an error of the backend, or on the way to it, as the client sees it.
func backendError(err error) error {
	var own *Error
	var coded codedError
	switch {
	case err == nil, errors.As(err, &own), errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &coded) && botwire.ValidCode(coded.Code()) && coded.Word() != "":
		return &Error{Code: coded.Code(), Word: coded.Word(), Human: humanBackendError(coded.Code()), cause: err}
	case errors.Is(err, context.DeadlineExceeded):
		return newError(botwire.WordBackendTimeout, humanBackendError(botwire.CodeTimeout)).because(err)
	}
	return newError(botwire.WordBackendUnavailable, humanBackendError(botwire.CodeUnavailable)).because(err)
}

func errUnreadable() *Error {
	return newError(botwire.WordBackendFailed, "The backend's answer is unreadable.")
}

func humanBackendError(code int) string {
	switch code {
	case botwire.CodeTooManyRequests:
		return "The bot has too much to do. Try again soon."
	case botwire.CodeUnavailable:
		return "The bot can't be reached. Try again soon."
	case botwire.CodeTimeout:
		return "The bot did not answer in time."
	}
	return "The bot refused the request."
}

// nowhere is the cache or the backend of a node that has none.
type nowhere struct{}

func errNowhere() *Error {
	return newError(botwire.WordBackendUnavailable, "This node has no such backend.")
}

func (nowhere) Get(context.Context, string, string, []string) ([][]byte, error) {
	return nil, errNowhere()
}

func (nowhere) All(context.Context, string, string, func([]string, [][]byte) error) error {
	return errNowhere()
}

func (nowhere) Scan(context.Context, string, string, uint64) ([]string, [][]byte, uint64, error) {
	return nil, nil, 0, errNowhere()
}

func (nowhere) Online(context.Context, string, uint64) ([]string, uint64, error) {
	return nil, 0, errNowhere()
}

func (nowhere) Do(context.Context, string, string, []byte, func([]byte) error) error {
	return errNowhere()
}

func (nowhere) After(context.Context, string, history.Position, int) (history.Page, error) {
	return history.Page{}, errNoHistory
}

func (nowhere) Last(context.Context, []string) ([]history.Last, error) {
	return nil, errNoHistory
}
