package redis

import (
	"context"
	"errors"
	"fmt"

	"github.com/architus/guildcast/internal/botwire"
)

// Error is an error with a code and a word for the client: a worker's own, or one of the Err values of this package.
// Unwrap returns its cause, such as an error of Redis.
type Error struct {
	code  int
	word  string
	cause error
}

// Errors that callers branch on, with errors.Is. ErrUnavailable and ErrTimeout come with their cause.
var (
	// ErrUnavailable reports that Redis could not be asked (503).
	ErrUnavailable = newError(botwire.WordRedisUnavailable)
	// ErrTimeout reports that no worker answered before the deadline (504).
	ErrTimeout = newError(botwire.WordBackendTimeout)
	// ErrBusy reports that too many requests of this node are in flight (503).
	ErrBusy = newError(botwire.WordBackendBusy)
	// ErrTooLarge reports an answer that is larger than the node may hold (503).
	ErrTooLarge = newError(botwire.WordBackendAnswerTooLarge)
)

func newError(word string) *Error { return &Error{code: botwire.Code(word), word: word} }

// Code returns the HTTP status code.
func (e *Error) Code() int { return e.code }

// Word returns a stable word for programs. For a worker's error it is the worker's own.
func (e *Error) Word() string { return e.word }

func (e *Error) Error() string {
	if e.cause != nil {
		return e.cause.Error()
	}
	return e.word
}

func (e *Error) Unwrap() error { return e.cause }

// Is reports whether target is an Error with the same code and word, whatever their causes.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.code == e.code && t.word == e.word
}

// because returns e with a cause.
func (e *Error) because(op string, cause error) error {
	return &Error{code: e.code, word: e.word, cause: fmt.Errorf("%s: %w", op, cause)}
}

// unavailable returns ErrUnavailable with err as its cause or, if the caller has given up, err itself.
func unavailable(op string, err error) error {
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s: %w", op, err)
	}
	return ErrUnavailable.because(op, err)
}
