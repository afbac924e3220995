package redis

import (
	"context"
	"errors"
	"fmt"

	"github.com/architus/guildcast/internal/botwire"
)

// Error is an error with a code and a word for whoever asked: a worker's own, or one of the Err values of this package.
// Errors of Redis itself are wrapped in it; Unwrap gives them.
type Error struct {
	code  int
	word  string
	cause error
}

// Errors that callers branch on, with errors.Is. They come with their cause.
var (
	// ErrUnavailable: Redis could not be asked (503).
	ErrUnavailable = newError(botwire.WordRedisUnavailable)
	// ErrTimeout: no worker has answered before the deadline (504).
	ErrTimeout = newError(botwire.WordBackendTimeout)
	// ErrBusy: too many requests of this node are in flight (503).
	ErrBusy = newError(botwire.WordBackendBusy)
	// ErrTooLarge: an answer is larger than the node may hold (503).
	ErrTooLarge = newError(botwire.WordBackendAnswerTooLarge)
)

func newError(word string) *Error { return &Error{code: botwire.Code(word), word: word} }

// Code returns the code, as HTTP has it.
func (e *Error) Code() int { return e.code }

// Word returns a stable word for programs. A worker's error has the worker's own.
func (e *Error) Word() string { return e.word }

func (e *Error) Error() string {
	if e.cause != nil {
		return e.cause.Error()
	}
	return e.word
}

func (e *Error) Unwrap() error { return e.cause }

// Is makes an error equal to the Err value of its code and word.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.code == e.code && t.word == e.word
}

// because gives e a cause.
func (e *Error) because(op string, cause error) error {
	return &Error{code: e.code, word: e.word, cause: fmt.Errorf("%s: %w", op, cause)}
}

// unavailable is an error of Redis: ErrUnavailable, unless it was the caller who gave up.
func unavailable(op string, err error) error {
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s: %w", op, err)
	}
	return ErrUnavailable.because(op, err)
}
