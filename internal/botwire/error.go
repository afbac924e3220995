package botwire

// Words of errors. A word is for programs: it stands in the member "message" of a worker's refusal and of the event
// `error`, and never changes. docs/reference/protocol.md lists those that clients see, with their codes.
const (
	WordMalformed = "malformed"

	WordTokenMissing           = "token_missing"
	WordTokenInvalid           = "token_invalid"
	WordTokenExpired           = "token_expired"
	WordTokenNotYetValid       = "token_not_yet_valid"
	WordTokenRevoked           = "token_revoked"
	WordTokenOfOtherUser       = "token_of_other_user"
	WordKeysUnavailable        = "keys_unavailable"
	WordRevocationsUnavailable = "revocations_unavailable"

	WordNotAMember        = "not_a_member"
	WordPermissionMissing = "permission_missing"
	WordUnknownEvent      = "unknown_event"
	WordNotElevated       = "not_elevated"
	WordDemoted           = "demoted"
	WordPayloadTooLarge   = "payload_too_large"
	WordRateLimited       = "rate_limited"
	WordTooManyRequests   = "too_many_requests"
	WordInternal          = "internal"

	WordRedisUnavailable      = "redis_unavailable"
	WordBackendUnavailable    = "backend_unavailable"
	WordBackendFailed         = "backend_failed" // the answer makes no sense, or the refusal has no word
	WordBackendBusy           = "backend_busy"
	WordBackendAnswerTooLarge = "backend_answer_too_large"
	WordBackendTimeout        = "backend_timeout"
)

// Words of the workers that come with guildcast.
const (
	WordBadArgs       = "bad_args"
	WordUnknownType   = "unknown_type"
	WordUnknownMethod = "unknown_method"
	WordNoInterpreter = "no_interpreter"
)

// Words of the embedded interpreter. docs/reference/interpret.md lists them.
const (
	WordPayloadNotAnObject  = "payload_not_an_object"
	WordPayloadMalformed    = "payload_malformed"
	WordGuildIDMissing      = "guild_id_missing"
	WordGuildIDOutOfRange   = "guild_id_out_of_range"
	WordMessageIDMissing    = "message_id_missing"
	WordMessageIDOutOfRange = "message_id_out_of_range"
	WordActionMissing       = "action_missing"
	WordUnknownAction       = "unknown_action"
	WordContentMissing      = "content_missing"
	WordContentMalformed    = "content_malformed"
	WordContentTooLarge     = "content_too_large"
	WordEmojiMissing        = "emoji_missing"
	WordEmojiTooLong        = "emoji_too_long"
	WordTooManyCommands     = "too_many_commands"
	WordMessageTooCostly    = "message_too_costly"
)

// Codes of errors, as HTTP has them. (Not those of net/http, which a worker need not link.)
const (
	CodeBadRequest      = 400
	CodeUnauthorized    = 401
	CodeForbidden       = 403
	CodeNotFound        = 404
	CodeConflict        = 409
	CodeTooLarge        = 413
	CodeTooManyRequests = 429
	CodeInternal        = 500
	CodeUnavailable     = 503
	CodeTimeout         = 504
)

// Code returns the code of a word, or CodeInternal if the word is not one of this package.
func Code(word string) int {
	switch word {
	case WordMalformed, WordBadArgs, WordUnknownType, WordUnknownMethod, WordPayloadNotAnObject, WordPayloadMalformed,
		WordGuildIDMissing, WordGuildIDOutOfRange, WordMessageIDMissing, WordMessageIDOutOfRange, WordActionMissing,
		WordUnknownAction,
		WordContentMissing, WordContentMalformed, WordEmojiMissing, WordEmojiTooLong, WordTooManyCommands:
		return CodeBadRequest
	case WordTokenMissing, WordTokenInvalid, WordTokenExpired, WordTokenNotYetValid, WordTokenRevoked,
		WordTokenOfOtherUser:
		return CodeUnauthorized
	case WordNotAMember, WordPermissionMissing:
		return CodeForbidden
	case WordUnknownEvent:
		return CodeNotFound
	case WordNotElevated, WordDemoted:
		return CodeConflict
	case WordPayloadTooLarge, WordContentTooLarge:
		return CodeTooLarge
	case WordRateLimited, WordTooManyRequests, WordMessageTooCostly:
		return CodeTooManyRequests
	case WordRedisUnavailable, WordBackendUnavailable, WordBackendFailed, WordBackendBusy, WordBackendAnswerTooLarge,
		WordKeysUnavailable, WordRevocationsUnavailable, WordNoInterpreter:
		return CodeUnavailable
	case WordBackendTimeout:
		return CodeTimeout
	}
	return CodeInternal
}

// ValidCode reports whether code is one that an error may have: 400 to 599.
func ValidCode(code int) bool { return code >= 400 && code < 600 }

// Error is a refusal that is meant for the client that asked.
type Error struct{ word string }

// NewError returns the refusal with this word, one of the constants above.
func NewError(word string) *Error { return &Error{word} }

func (e *Error) Error() string { return e.word }

// Word returns the word.
func (e *Error) Word() string { return e.word }

// Code returns the word's code.
func (e *Error) Code() int { return Code(e.word) }
