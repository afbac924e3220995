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
	status int
	word   string
	cause  error
}

// Errors that callers branch on, with errors.Is. They come with their cause.
var (
	// ErrUnavailable: Redis could not be asked (503).
	ErrUnavailable = &Error{status: 503, word: botwire.WordRedisUnavailable}
	// ErrTimeout: no worker has answered before the deadline (504).
	ErrTimeout = &Error{status: 504, word: botwire.WordTimeout}
	// ErrBusy: too many requests of this node are in flight (503).
	ErrBusy = &Error{status: 503, word: botwire.WordBusy}
	// ErrTooLarge: an answer is larger than the node may hold (503).
	ErrTooLarge = &Error{status: 503, word: botwire.WordAnswerTooLarge}
)

// Code is the status, as in HTTP.
func (e *Error) Code() int { return e.status }

// Message is a stable, machine-readable word; of a worker's error, what the worker gave.
func (e *Error) Message() string { return e.word }

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
	return ok && t.status == e.status && t.word == e.word
}

// because gives e a cause.
func (e *Error) because(op string, cause error) error {
	return &Error{status: e.status, word: e.word, cause: fmt.Errorf("%s: %w", op, cause)}
}

// unavailable is an error of Redis: ErrUnavailable, unless it was the caller who gave up.
func unavailable(op string, err error) error {
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s: %w", op, err)
	}
	return ErrUnavailable.because(op, err)
}
