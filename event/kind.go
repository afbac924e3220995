package event

// Kinds of events that the default policy knows. A policy file may add others.
const (
	KindGuild         = "guild"
	KindChannel       = "channel"
	KindRole          = "role"
	KindEmoji         = "emoji"
	KindMember        = "member"
	KindUser          = "user"
	KindAutoResponse  = "auto_response"
	KindSetting       = "setting"
	KindMessage       = "message"
	KindReaction      = "reaction"
	KindInvite        = "invite"
	KindWebhook       = "webhook"
	KindIntegration   = "integration"
	KindInteraction   = "interaction"
	KindModeration    = "moderation"
	KindAdministrator = "administrator"
	KindInternal      = "internal"
)

// KindOfAction returns the kind of the Architus log action with this action_number, or "" if it is unknown.
func KindOfAction(number uint64) string {
	in := func(low, high uint64) bool { return low <= number && number <= high }
	switch {
	case number == 1, number == 2000:
		return KindGuild
	case in(10, 15):
		return KindChannel
	case in(20, 23), in(26, 27):
		return KindModeration
	case in(24, 25), in(2001, 2002):
		return KindMember
	case number == 28, in(80, 82):
		return KindIntegration
	case in(30, 32):
		return KindRole
	case in(40, 42):
		return KindInvite
	case in(50, 52):
		return KindWebhook
	case in(60, 62), in(3400, 3403):
		return KindEmoji
	case in(72, 75), in(2003, 2005), in(3001, 3003):
		return KindMessage
	case in(2006, 2008), in(3100, 3101):
		return KindReaction
	case number == 2009:
		return KindInteraction
	case in(3200, 3203):
		return KindAutoResponse
	case in(3300, 3301):
		return KindAdministrator
	}
	return ""
}
