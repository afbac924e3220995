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
	Message string // a stable word for programs
	Human   string // a sentence for people
	Details any    // more, where there is more; encodes to JSON

	cause error // for the log
}

func (e *Error) Error() string { return fmt.Sprintf("%d %s: %s", e.Code, e.Message, e.Human) }

func (e *Error) Unwrap() error { return e.cause }

// Words of Error.Message, beside those of token.Error. They are part of the protocol: docs/reference/protocol.md lists
// them.
const (
	wordMalformed        = "malformed"
	wordTooLarge         = "payload_too_large"
	wordTokenOtherUser   = "token_of_other_user"
	wordNotElevated      = "not_elevated"
	wordDemoted          = "demoted"
	wordNotAMember       = "not_a_member"
	wordPermission       = "permission_missing"
	wordUnknownEvent     = "unknown_event"
	wordRateLimited      = "rate_limited"
	wordTooManyRequests  = botwire.WordTooManyRequests
	wordRedisUnavailable = botwire.WordRedisUnavailable
	wordBackendDown      = "backend_unavailable"
	wordBackendTimeout   = botwire.WordTimeout
	wordBackendFailed    = botwire.WordFailed
	wordInternal         = botwire.WordInternal
)

func malformed(format string, args ...any) *Error {
	return &Error{Code: 400, Message: wordMalformed, Human: fmt.Sprintf(format, args...)}
}

func tooLarge(format string, args ...any) *Error {
	return &Error{Code: 413, Message: wordTooLarge, Human: fmt.Sprintf(format, args...)}
}

func errInternal() *Error {
	return &Error{Code: 500, Message: wordInternal, Human: "Something went wrong on the server."}
}

func errNotElevated() *Error {
	return &Error{Code: 409, Message: wordNotElevated, Human: "Request elevation first."}
}

func errNotAMember() *Error {
	return &Error{Code: 403, Message: wordNotAMember, Human: "You are not a member of this guild."}
}

func errPermission(anyOf ...string) *Error {
	return &Error{
		Code: 403, Message: wordPermission, Human: "You lack a permission in this guild.",
		Details: map[string]any{"any_of": anyOf},
	}
}

func errRedis() *Error {
	return &Error{Code: 503, Message: wordRedisUnavailable, Human: "The event stream is unavailable. Try again soon."}
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
	Message string          `json:"message"`
	Code    int             `json:"code"`
	Human   string          `json:"human"`
	Details any             `json:"details"`
	Context []string        `json:"context"`
	ID      json.RawMessage `json:"_id,omitempty"`
}

// body is the payload of `error`, about the request with this id (nil where there is none). Context begins with the
// event that the error is about.
func (e *Error) body(id []byte, context ...string) []byte {
	return encode(errorBody{e.Message, e.Code, e.Human, e.Details, context, id})
}
