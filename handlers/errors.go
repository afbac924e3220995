package handlers

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/architus/guildcast/internal/botwire"
)

// Error is the one type of error that crosses to a browser: the payload of the event `error`. Whatever else goes wrong
// becomes errInternal and a line in the log.
type Error struct {
	Code    int    // follows HTTP
	Word    string // stable, for programs; "message" in the payload
	Human   string // a sentence for people
	Details any    // more, if there is more; encodes to JSON

	cause error // for the log
}

func (e *Error) Error() string { return fmt.Sprintf("%d %s: %s", e.Code, e.Word, e.Human) }

func (e *Error) Unwrap() error { return e.cause }

// newError returns the error that has this word, one of botwire's.
func newError(word, human string) *Error {
	return &Error{Code: botwire.Code(word), Word: word, Human: human}
}

// because gives e a cause, which is logged and not shown.
func (e *Error) because(cause error) *Error {
	e.cause = cause
	return e
}

func malformed(format string, args ...any) *Error {
	return newError(botwire.WordMalformed, fmt.Sprintf(format, args...))
}

func tooLarge(format string, args ...any) *Error {
	return newError(botwire.WordPayloadTooLarge, fmt.Sprintf(format, args...))
}

func errInternal() *Error {
	return newError(botwire.WordInternal, "Something went wrong on the server.")
}

func errNotElevated() *Error {
	return newError(botwire.WordNotElevated, "Request elevation first.")
}

func errNotAMember() *Error {
	return newError(botwire.WordNotAMember, "You are not a member of this guild.")
}

func errPermission(anyOf ...string) *Error {
	err := newError(botwire.WordPermissionMissing, "You lack a permission in this guild.")
	err.Details = map[string]any{"any_of": anyOf}
	return err
}

func errRedis() *Error {
	return newError(botwire.WordRedisUnavailable, "The event stream is unavailable. Try again soon.")
}

// publicError is err as the browser may see it. What isn't an *Error is logged here, once, and shown as internal.
func (s *session) publicError(event string, err error) *Error {
	var e *Error
	switch {
	case !errors.As(err, &e):
		s.log().Error("handler failed", "event", shown(event), "err", err)
		e = errInternal()
	case e.cause != nil: // whoever caused it is logged and counted where it belongs, not once per request
		s.log().Debug("request failed", "event", shown(event), "code", e.Code, "err", e.cause)
	}
	s.gateway.metrics.errors.WithLabelValues(strconv.Itoa(e.Code)).Inc()
	return e
}

// errorBody is the payload of the event `error`.
type errorBody struct {
	Word    string          `json:"message"`
	Code    int             `json:"code"`
	Human   string          `json:"human"`
	Details any             `json:"details"`
	Context []string        `json:"context"`
	ID      json.RawMessage `json:"_id,omitempty"`
}

// body is the payload of `error`, about the request with this id (nil where there is none). Context begins with the
// event that the error is about.
func (e *Error) body(id []byte, context ...string) []byte {
	return encode(errorBody{e.Word, e.Code, e.Human, e.Details, context, id})
}
