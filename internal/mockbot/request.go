package mockbot

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/architus/guildcast/internal/botwire"
)

// What a request or a response says has happened.
const (
	ActionMessageSent     = 3001
	ActionMessageEdited   = 3002
	ActionMessageDeleted  = 72
	ActionReactionAdded   = 3100
	ActionReactionRemoved = 3101
)

// Bounds of a request. They are fixed, since nothing that a person types comes near them.
const (
	MaxGuildID         = 10_000_000 // exclusive
	MaxMessageID       = 1<<53 - 1  // what JavaScript holds exactly
	MaxContentBytes    = 16 << 10
	MaxEmojiBytes      = 128
	maxAllowedCommands = 64
	maxRequestBytes    = 8 * MaxContentBytes // JSON escapes take up to 6 bytes for one
)

// Request is the payload of the event `interpret`.
type Request struct {
	Action          int      `json:"action"`
	GuildID         int64    `json:"guild_id"`
	MessageID       int64    `json:"message_id"`
	Content         string   `json:"content,omitempty"` // of a message sent
	Emoji           string   `json:"emoji,omitempty"`   // of a reaction
	AllowedCommands []string `json:"allowed_commands,omitempty"`
	Silent          bool     `json:"silent,omitempty"`
}

// Response is the payload of `interpret_response`. Actions is never nil.
type Response struct {
	GuildID int64    `json:"guild_id"`
	Actions []Action `json:"actions"`
}

// Action is one thing that the bot did. Which fields are set follows from Action: Content for a message sent or edited,
// Emoji for reactions, and TargetsUser if it took back a reaction of the user's.
type Action struct {
	Action      int    `json:"action"`
	MessageID   int64  `json:"message_id"`
	Content     string `json:"content,omitempty"`
	Emoji       string `json:"emoji,omitempty"`
	TargetsUser bool   `json:"targets_user,omitempty"`
}

// Error says what is wrong with a request.
type Error struct {
	word  string
	Human string // a sentence for people
}

func (e *Error) Error() string { return e.word + ": " + e.Human }

// Word returns a stable word for programs.
func (e *Error) Word() string { return e.word }

// Code returns the code of the word, as HTTP has it: 400, 413 or 429.
func (e *Error) Code() int { return botwire.Code(e.word) }

func refuse(word, format string, args ...any) *Error {
	return &Error{word, fmt.Sprintf(format, args...)}
}

// Decode reads a request from the event's payload, a JSON object, and validates it. Its errors are of type *Error. Keys
// that it does not know are ignored.
func Decode(payload []byte) (Request, error) {
	if len(payload) > maxRequestBytes {
		return Request{}, refuse(botwire.WordPayloadTooLarge, "a request has at most %d bytes", maxRequestBytes)
	}
	var p struct {
		Action          *integer  `json:"action"`
		GuildID         *integer  `json:"guild_id"`
		MessageID       *integer  `json:"message_id"`
		Content         *string   `json:"content"`
		Emoji           *string   `json:"emoji"`
		AllowedCommands *[]string `json:"allowed_commands"`
		Silent          *bool     `json:"silent"`
	}
	if !bytes.HasPrefix(bytes.TrimLeft(payload, " \t\r\n"), []byte("{")) {
		return Request{}, refuse(botwire.WordPayloadNotAnObject, "interpret takes an object")
	}
	if err := json.Unmarshal(payload, &p); err != nil {
		return Request{}, refuse(botwire.WordPayloadMalformed, "%s", decodeReason(err))
	}
	var r Request
	switch {
	case p.GuildID == nil:
		return Request{}, refuse(botwire.WordGuildIDMissing, "guild_id is required")
	case p.MessageID == nil:
		return Request{}, refuse(botwire.WordMessageIDMissing, "message_id is required")
	case p.Action == nil:
		return Request{}, refuse(botwire.WordActionMissing, "action is required")
	}
	r.GuildID, r.MessageID, r.Action = int64(*p.GuildID), int64(*p.MessageID), int(*p.Action)
	if p.Content == nil && r.Action == ActionMessageSent {
		return Request{}, refuse(botwire.WordContentMissing, "a message needs content")
	}
	r.Content, r.Emoji, r.Silent = value(p.Content), value(p.Emoji), value(p.Silent)
	r.AllowedCommands = value(p.AllowedCommands)
	return r, r.validate()
}

// decodeReason is a short reason without the payload's own text.
func decodeReason(err error) string {
	switch e := err.(type) {
	case *Error:
		return e.Human
	case *json.UnmarshalTypeError:
		return e.Field + " is a " + e.Value + " where it should not be"
	}
	return "the payload is not valid JSON"
}

func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// validate checks what the types do not.
func (r *Request) validate() error {
	switch {
	case r.GuildID < 0 || r.GuildID >= MaxGuildID:
		return refuse(botwire.WordGuildIDOutOfRange, "mock guild ids are from 0 to %d", MaxGuildID-1)
	case r.MessageID < 0 || r.MessageID > MaxMessageID:
		return refuse(botwire.WordMessageIDOutOfRange, "message ids are from 0 to %d", int64(MaxMessageID))
	case len(r.AllowedCommands) > maxAllowedCommands:
		return refuse(botwire.WordTooManyCommands, "allowed_commands has at most %d names", maxAllowedCommands)
	}
	if len(r.Content) > MaxContentBytes { // with a reaction too, which has no use for it
		return refuse(botwire.WordContentTooLarge, "a message has at most %d bytes", MaxContentBytes)
	}
	switch r.Action {
	case ActionMessageSent:
		if !utf8.ValidString(r.Content) {
			return refuse(botwire.WordContentMalformed, "content is not UTF-8")
		}
	case ActionReactionAdded, ActionReactionRemoved:
		if r.Emoji == "" {
			return refuse(botwire.WordEmojiMissing, "a reaction needs an emoji")
		}
		if len(r.Emoji) > MaxEmojiBytes {
			return refuse(botwire.WordEmojiTooLong, "an emoji has at most %d bytes", MaxEmojiBytes)
		}
	default:
		return refuse(botwire.WordUnknownAction, "action %d is none of 3001, 3100, 3101", r.Action)
	}
	return nil
}

// integer is a whole number, or a string of its digits, that JavaScript can hold exactly.
type integer int64

func (n *integer) UnmarshalJSON(b []byte) error {
	text := strings.Trim(string(b), `"`)
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil || v > MaxMessageID || v < -MaxMessageID || len(b) > 20 {
		return refuse(botwire.WordPayloadMalformed, "a number is not whole or not within what JavaScript holds exactly")
	}
	*n = integer(v)
	return nil
}
