package handlers

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/architus/guildcast/internal/botwire"
)

// Error is the only type of error that a client sees, as the payload of the event `error`. Any other becomes
// errInternal and a line in the log.
type Error struct {
	Code    int    // follows HTTP
	Word    string // stable, for programs; "message" in the payload
	Human   string // a sentence for people
	Details any    // more, if there is more; encodes to JSON

	cause error // logged and not shown; may be nil
}

func (e *Error) Error() string { return fmt.Sprintf("%d %s: %s", e.Code, e.Word, e.Human) }

func (e *Error) Unwrap() error { return e.cause }

// newError returns the error with this word, which is one of botwire's.
func newError(word, human string) *Error {
	return &Error{Code: botwire.Code(word), Word: word, Human: human}
}

// because sets the cause of e and returns e.
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

// publicError returns err as the client may see it. It logs an error that is not an *Error, and returns errInternal.
func (s *session) publicError(event string, err error) *Error {
	var e *Error
	switch {
	case !errors.As(err, &e):
		s.log().Error("handler failed", "event", shown(event), "err", err)
		e = errInternal()
	case e.cause != nil: // its source logs and counts it, and not once per request
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

// body returns the payload of `error` for the request with this id, which may be nil. Context begins with the event
// that the error is about.
func (e *Error) body(id []byte, context ...string) []byte {
	return encode(errorBody{e.Word, e.Code, e.Human, e.Details, context, id})
}
